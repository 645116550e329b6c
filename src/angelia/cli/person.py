"""inbox, token, feed: what belongs to one person."""

from typing import Any
from urllib.parse import quote

import click

from angelia.cli.outcome import Failure
from angelia.cli.reach import Reach
from angelia.cli.site_tokens import inspect_token, modify_at_once, modify_token, new_token, token_group


def _path(login: str, rest: str) -> str:
    return f"/api/v1/people/{quote(login)}/{rest}"


@click.group()
def inbox() -> None:
    """Read and sort an inbox."""


def _somebody(context: click.Context, _: click.Parameter, login: str) -> str:
    if login == "me" and not context.obj.url:
        raise Failure("say whose with --login: beside the data folder you are the operator, who has no inbox", 2)
    return login


_login = click.option("--login", default="me", show_default=True, callback=_somebody, help="Whose.")


@inbox.command("list")
@_login
@click.option("--state", default="", help="unread, read, archived or snoozed.")
@click.option("--type", "subtree", default="", help="A type with all below it.")
@click.option("--text", default="", help="Text in subject or body.")
@click.option("--tag", default="", help="name=value.")
@click.option("--limit", default=20, show_default=True)
@click.pass_obj
def list_inbox(reach: Reach, login: str, state: str, subtree: str, text: str, tag: str, limit: int) -> None:
    """Newest first."""
    params = {"state": state, "type": subtree, "text": text, "tag": tag, "limit": limit}
    answer = reach.call("GET", _path(login, "inbox"), params=params)
    reach.show(answer, "id", "delivered_at", "message.type", "message.subject", "read_at")


@inbox.command()
@_login
@click.option("--by", default="", help="type, source, object, thread, severity or tag:<name>.")
@click.pass_obj
def count(reach: Reach, login: str, by: str) -> None:
    """Total and unread, or counts by something."""
    reach.show(reach.call("GET", _path(login, "inbox/counts"), params={"by": by}))


@inbox.command()
@_login
@click.argument("change", type=click.Choice(["read", "unread", "archive", "unarchive", "snooze", "unsnooze"]))
@click.argument("ids", nargs=-1)
@click.option("--type", "subtree", default="", help="Instead of ids: a type with all below it.")
@click.option("--until", default=None, help="For snooze: when they come back, as 2026-03-20T08:00:00+01:00.")
@click.pass_obj
def mark(reach: Reach, login: str, change: str, ids: tuple[str, ...], subtree: str, until: str | None) -> None:
    """Mark entries by their IDS, or all of a type, or all."""
    body = {"change": change, "ids": list(ids) or None, "until": until}
    reach.show(reach.call("POST", _path(login, "inbox/mark"), json=body, params={"type": subtree}))


@inbox.command("ack")
@_login
@click.argument("ids", nargs=-1, required=True)
@click.pass_obj
def acknowledge(reach: Reach, login: str, ids: tuple[str, ...]) -> None:
    """Take messages over, by their IDS or those of entries: they are read everywhere, and nobody else is called for them."""
    reach.show(reach.call("POST", _path(login, "inbox/acknowledge"), json={"ids": list(ids)}))


@click.group(invoke_without_command=True)
@token_group
@click.pass_context
def token(context: click.Context, /, **said: Any) -> None:
    """Tokens of a person; inspect, modify and new are for those that the site signs for jobs."""
    del said
    if context.invoked_subcommand is None:
        modify_at_once(context)


for command in (inspect_token, modify_token, new_token):
    token.add_command(command)


@token.command("add")
@click.argument("login")
@click.option("--scope", multiple=True, default=("read", "write"), help="read, write, post or admin.", show_default=True)
@click.option("--title", default="")
@click.option("--days", type=int, default=None, help="Expires after so many days.")
@click.pass_obj
def add_token(reach: Reach, login: str, scope: tuple[str, ...], title: str, days: int | None) -> None:
    """Make a token for LOGIN; its secret is shown this once."""
    body = {"title": title, "scopes": list(scope), "expires_in_days": days}
    reach.show(reach.call("POST", _path(login, "tokens"), json=body))


@token.command("list")
@click.argument("login")
@click.pass_obj
def list_tokens(reach: Reach, login: str) -> None:
    """LOGIN's tokens."""
    reach.show(reach.call("GET", _path(login, "tokens")), "id", "title", "scopes", "last_used_at", "is_revoked")


@token.command("revoke")
@click.argument("login")
@click.argument("token_id", type=int)
@click.pass_obj
def revoke_token(reach: Reach, login: str, token_id: int) -> None:
    """Revoke one."""
    reach.call("DELETE", _path(login, f"tokens/{token_id}"))
    click.echo("revoked")


@click.group()
def feed() -> None:
    """Feeds of a person."""


@feed.command("add")
@click.argument("login")
@click.option("--title", default="Messages")
@click.option("--type", "subtree", default="", help="A type with all below it.")
@click.pass_obj
def add_feed(reach: Reach, login: str, title: str, subtree: str) -> None:
    """Make a feed; its addresses are shown this once."""
    body = {"title": title, "query": {"type": subtree} if subtree else {}}
    reach.show(reach.call("POST", _path(login, "feeds"), json=body))


@feed.command("list")
@click.argument("login")
@click.pass_obj
def list_feeds(reach: Reach, login: str) -> None:
    """LOGIN's feeds."""
    reach.show(reach.call("GET", _path(login, "feeds")), "id", "title", "query", "created_at")


@feed.command("revoke")
@click.argument("login")
@click.argument("feed_id", type=int)
@click.pass_obj
def revoke_feed(reach: Reach, login: str, feed_id: int) -> None:
    """Revoke one."""
    reach.call("DELETE", _path(login, f"feeds/{feed_id}"))
    click.echo("revoked")


commands = {"inbox": inbox, "token": token, "feed": feed}
