"""people, address, group, relation: who can be told, and where."""

import sys
import warnings
from getpass import GetPassWarning
from typing import Any

import click

from angelia.cli.outcome import Failure
from angelia.cli.reach import Reach, part, plain


@click.group()
def people() -> None:
    """People who can be told."""


@people.command("list")
@click.pass_obj
def list_people(reach: Reach) -> None:
    """Everybody, by login."""
    reach.show(reach.call("GET", "/api/v1/people", params={"limit": 1000}), "login", "name", "time_zone", "language", "is_active")


@people.command("add")
@click.argument("login")
@click.option("--name", default="")
@click.option("--zone", default="UTC", show_default=True, help="Time zone, such as Europe/Berlin.")
@click.option("--language", default="en", show_default=True)
@click.option("--mail", default="", help="A mail address that you vouch for.")
@click.option("--admin", is_flag=True, help="An administrator.")
@click.pass_obj
def add_person(reach: Reach, login: str, name: str, zone: str, language: str, mail: str, admin: bool) -> None:
    """A new person."""
    body = {"login": login, "name": name, "time_zone": zone, "language": language, "is_admin": admin}
    made = reach.call("POST", "/api/v1/people", json=body)
    if mail:
        address = {"agent": "mail", "value": mail, "is_default": True, "is_verified": True}
        try:
            reach.call("POST", _addresses(login), json=address)
        except Failure as error:
            way_on = f"`angelia address add {login} mail ADDRESS --default --verified`"
            raise Failure(f"{error}; {login} is there now, but without an address: go on with {way_on}", error.exit_code) from None
    reach.show(made)


@people.command("show")
@click.argument("login")
@click.pass_obj
def show_person(reach: Reach, login: str) -> None:
    """One person."""
    reach.show(reach.call("GET", f"/api/v1/people/{part(login)}"))


@people.command("set")
@click.argument("login")
@click.option("--name", default=None)
@click.option("--zone", "time_zone", default=None)
@click.option("--language", default=None)
@click.option("--active/--inactive", "is_active", default=None)
@click.option("--admin/--no-admin", "is_admin", default=None)
@click.pass_obj
def set_person(reach: Reach, /, login: str, **changes: Any) -> None:
    """Change a person."""
    body = {name: value for name, value in changes.items() if value is not None}
    reach.show(reach.call("PATCH", f"/api/v1/people/{part(login)}", json=body))


def _piped() -> str:
    return sys.stdin.readline().rstrip("\r\n")


def _asked() -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("error", GetPassWarning)
        try:
            answer: str = click.prompt("New password", hide_input=True, confirmation_prompt=True)
        except GetPassWarning:
            raise Failure("there is no terminal to ask at: give the new password on standard input, with --stdin", 2) from None
    return answer


@people.command("password")
@click.argument("login")
@click.option("--stdin", "is_piped", is_flag=True, help="Read the new password from standard input, one line.")
@click.pass_obj
def set_password(reach: Reach, login: str, is_piped: bool) -> None:
    """Set the password with which LOGIN signs in to the pages; all sessions of LOGIN end."""
    password = _piped() if is_piped else _asked()
    reach.call("PUT", f"/api/v1/people/{part(login)}/password", json={"password": password})
    click.echo(f"{login} can sign in.")


@click.group()
def address() -> None:
    """Addresses of a person."""


def _addresses(login: str, rest: str = "") -> str:
    return f"/api/v1/people/{part(login)}/addresses{rest}"


@address.command("list")
@click.argument("login")
@click.pass_obj
def list_addresses(reach: Reach, login: str) -> None:
    """Where LOGIN can be reached."""
    reach.show(reach.call("GET", _addresses(login)), "id", "agent", "value", "state", "is_default")


@address.command("add")
@click.argument("login")
@click.argument("agent")
@click.argument("value")
@click.option("--default", "is_default", is_flag=True)
@click.option("--verified", "is_verified", is_flag=True, help="You vouch for it.")
@click.pass_obj
def add_address(reach: Reach, login: str, agent: str, value: str, is_default: bool, is_verified: bool) -> None:
    """A new address; unless you vouch for it, it gets a code first."""
    body = {"agent": agent, "value": value, "is_default": is_default, "is_verified": is_verified}
    made = reach.call("POST", _addresses(login), json=body)
    if not is_verified:
        reach.call("POST", _addresses(login, f"/{made['id']}/code"))
    reach.show(made)


@address.command("verify")
@click.argument("login")
@click.argument("address_id", type=int)
@click.argument("code")
@click.pass_obj
def verify(reach: Reach, login: str, address_id: int, code: str) -> None:
    """The code that came there."""
    reach.show(reach.call("POST", _addresses(login, f"/{address_id}/verify"), json={"code": code}))


@address.command("set")
@click.argument("login")
@click.argument("address_id", type=int)
@click.option("--state", type=click.Choice(["ok", "paused"]), default=None)
@click.option("--default", "is_default", is_flag=True, default=None)
@click.pass_obj
def set_address(reach: Reach, login: str, address_id: int, state: str | None, is_default: bool | None) -> None:
    """Pause, resume, make default."""
    body = {name: value for name, value in (("state", state), ("is_default", is_default)) if value is not None}
    reach.show(reach.call("PATCH", _addresses(login, f"/{address_id}"), json=body))


@address.command("remove")
@click.argument("login")
@click.argument("address_id", type=int)
@click.pass_obj
def remove_address(reach: Reach, login: str, address_id: int) -> None:
    """Forget an address."""
    reach.call("DELETE", _addresses(login, f"/{address_id}"))
    click.echo("removed")


@click.group()
def group() -> None:
    """Groups of people."""


@group.command("list")
@click.pass_obj
def list_groups(reach: Reach) -> None:
    """All groups."""
    reach.show(reach.call("GET", "/api/v1/groups"), "name", "title", "members", "addresses")


@group.command("put")
@click.argument("name")
@click.argument("members", nargs=-1)
@click.option("--title", default=None)
@click.option("--address", "addresses", multiple=True, help="An address of its own that you vouch for: mail=qa@example.org; --address '' for none.")
@click.pass_obj
def put_group(reach: Reach, name: str, members: tuple[str, ...], title: str | None, addresses: tuple[str, ...]) -> None:
    """Create a group with these MEMBERS, or give it these instead. Without --title and --address, its title and its own addresses stay."""
    path = f"/api/v1/groups/{part(name)}"
    body: dict[str, Any] = {"title": reach.known(path).get("title", "") if title is None else title, "members": list(members)}
    if addresses:
        body["addresses"] = dict(_agent_and_value(text) for text in addresses if text)
    reach.show(reach.call("PUT", path, json=body))


def _agent_and_value(text: str) -> tuple[str, str]:
    agent, sign, value = text.partition("=")
    if not sign:
        raise Failure(f"{text!r} is not agent=address", 2)
    return agent, value


@group.command("delete")
@click.argument("name")
@click.pass_obj
def delete_group(reach: Reach, name: str) -> None:
    """Remove a group."""
    reach.call("DELETE", f"/api/v1/groups/{part(name)}")
    click.echo("removed")


@click.group()
def relation() -> None:
    """Who has which role on an object."""


@relation.command("show")
@click.argument("object")
@click.pass_obj
def show_relations(reach: Reach, object: str) -> None:
    """The roles on OBJECT."""
    reach.show(reach.call("GET", "/api/v1/relations", params={"object": object})["roles"])


@relation.command("put")
@click.argument("object")
@click.argument("roles", nargs=-1)
@click.pass_obj
def put_relations(reach: Reach, object: str, roles: tuple[str, ...]) -> None:
    """Replace the roles on OBJECT: maintainer=alice,group:qa watcher=bob. Names that nobody has yet are kept, and told on standard error."""
    table = {}
    for text in roles:
        role, sign, names = text.partition("=")
        if not sign:
            raise Failure(f"{text!r} is not role=login,login", 2)
        table[role] = [name for name in names.split(",") if name]
    answer = reach.call("PUT", "/api/v1/relations", params={"object": object}, json={"roles": table})
    reach.show(answer["roles"])
    for name in answer.get("unknown", []):
        click.echo(f"nobody is called {plain(name)} yet; a group is written group:<name>", err=True)


commands = {"people": people, "address": address, "group": group, "relation": relation}
