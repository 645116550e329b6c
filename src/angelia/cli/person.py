"""inbox, token, feed: what belongs to one person."""

from collections.abc import Callable, Sequence
from typing import Any

import click

from angelia.cli.outcome import Failure
from angelia.cli.reach import Reach, cell, headed, part, plain, show_rows
from angelia.cli.site_tokens import inspect_token, modify_at_once, modify_token, new_token, token_group


def _path(login: str, rest: str) -> str:
    return f"/api/v1/people/{part(login)}/{rest}"


@click.group()
def inbox() -> None:
    """Read and sort an inbox."""


def _somebody(context: click.Context, _: click.Parameter, login: str) -> str:
    if login == "me" and not context.obj.url:
        raise Failure("say whose with --login: beside the data folder you are the operator, who has no inbox", 2)
    return login


_login = click.option("--login", default="me", show_default=True, callback=_somebody, help="Whose.")


_FILTERS = {
    "type": "A type with all below it.",
    "source": "Who posted it.",
    "object": "What it is about.",
    "thread": "What it belongs to.",
    "tag": "name=value.",
    "severity": "Of this severity or above: normal, high, urgent.",
    "reason": "Why it came: to, cc, group, role, rule, follow, or one with its value, as role:maintainer.",
    "text": "Text in subject or body.",
}
_STATES = ["unread", "read", "archived", "snoozed", "back", "all"]


def _filtered(*others: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Options for the filters of an inbox (and `others`, as filters of a feed): they come as keywords."""

    def with_options(command: Callable[..., None]) -> Callable[..., None]:
        for name, text in reversed(_FILTERS.items()):
            command = click.option(f"--{name}", default="", help=text)(command)
        if "state" in others:
            command = click.option("--state", type=click.Choice(_STATES), default=None, help="Else all but archived and snoozed.")(command)
        return command

    return with_options


def _said(filters: dict[str, Any]) -> dict[str, Any]:
    """Those that were given."""
    return {name: value for name, value in filters.items() if value}


@inbox.command("list")
@_login
@_filtered("state")
@click.option("--sort", default="", help="received or severity, with - before it falling; else -received.")
@click.option("--group", default="", help="object, thread or tag:<name>: what belongs together, with the first three of each.")
@click.option("--limit", default=20, show_default=True)
@click.pass_obj
def list_inbox(reach: Reach, /, login: str, sort: str, group: str, limit: int, **filters: str) -> None:
    """Newest first."""
    params = _said(filters | {"sort": sort, "group": group}) | {"limit": limit}
    answer = reach.call("GET", _path(login, "inbox"), params=params)
    if reach.as_json:
        reach.show(answer)
    elif not group:
        _show_entries(answer["items"])
    elif not answer["groups"]:
        click.echo("nothing")
    else:
        for found in answer["groups"]:
            click.echo(plain(f"{found['title'] or '-'}: {found['total']}, {found['unread']} unread"))
            _show_entries(found["items"])


def _show_entries(items: Sequence[dict[str, Any]]) -> None:
    columns = ("id", "delivered_at", "message.type", "message.subject", "read_at")
    entries = [item | {"message": headed(item["message"])} for item in items]
    show_rows([[cell(entry, column) for column in columns] for entry in entries], columns)


@inbox.command("show")
@_login
@click.argument("entry")
@click.pass_obj
def show_entry(reach: Reach, login: str, entry: str) -> None:
    """One ENTRY by its id: what it says, and why it came. It stays as unread as it is."""
    answer = reach.call("GET", _path(login, f"inbox/{part(entry)}"))
    if reach.as_json:
        reach.show(answer)
        return
    message = headed(answer["message"])
    for name in ("subject", "type", "source", "severity", "object", "object_url", "thread", "occurred_at"):
        if message.get(name):
            click.echo(f"{name}: {plain(message[name])}")
    for name, value in message.get("tags", ()):
        click.echo(f"tag: {plain(name)}={plain(value)}")
    click.echo()
    for line in str(message.get("body", "")).split("\n"):
        click.echo(plain(line))
    click.echo()
    for because in answer["why"]["because"]:
        click.echo(f"because {plain(because)}")


@inbox.command()
@_login
@_filtered("state")
@click.option("--by", default="", help="type, source, object, thread, severity, reason or tag:<name>.")
@click.pass_obj
def count(reach: Reach, /, login: str, by: str, **filters: str) -> None:
    """Total and unread, or counts by something."""
    reach.show(reach.call("GET", _path(login, "inbox/counts"), params=_said(filters | {"by": by})))


@inbox.command()
@_login
@click.argument("change", type=click.Choice(["read", "unread", "archive", "unarchive", "snooze", "unsnooze"]))
@click.argument("ids", nargs=-1)
@_filtered("state")
@click.option("--until", default=None, help="For snooze: when they come back, as 2026-03-20T08:00:00+01:00.")
@click.pass_obj
def mark(reach: Reach, /, login: str, change: str, ids: tuple[str, ...], until: str | None, **filters: str) -> None:
    """Mark entries by their IDS, or all that the filters leave, or all."""
    body = {"change": change, "ids": list(ids) or None, "until": until}
    reach.show(reach.call("POST", _path(login, "inbox/mark"), json=body, params=_said(filters)))


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
@_filtered()
@click.pass_obj
def add_feed(reach: Reach, /, login: str, title: str, **query: str) -> None:
    """Make a feed of what the filters leave; its addresses are shown this once."""
    reach.show(reach.call("POST", _path(login, "feeds"), json={"title": title, "query": _said(query)}))


@feed.command("rotate")
@click.argument("login")
@click.argument("feed_id", type=int)
@click.pass_obj
def rotate_feed(reach: Reach, login: str, feed_id: int) -> None:
    """Give one new addresses, shown this once; the old ones are void."""
    reach.show(reach.call("POST", _path(login, f"feeds/{feed_id}/rotate")))


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
