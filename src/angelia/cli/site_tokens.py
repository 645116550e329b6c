"""token inspect, modify, new: tokens that the site signs for jobs; they are worked on here, without a hub."""

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from angelia.cli.outcome import Failure
from angelia.model.claims import read_moment, read_options
from angelia.wire.site_tokens import Found, SiteTokens, discover, unverified

_QUIET_MAIL = {"mssub": False, "msdone": False}
_QUIET_CHAT = {"mxsub": False, "mxdone": False}


def _wishes(command: Any) -> Any:
    """The options on how to be told, and for how long a token is good."""
    options = [
        click.option("--disable-email", is_flag=True, help="No mail when a job is submitted or done; a failure is still told."),
        click.option("--disable-matrix", is_flag=True, help="No chat message when a job is submitted or done; a failure is still told."),
        click.option("--matrix-room-id", default="", help="The chat room where to be told."),
        click.option("--new-validity-hours", type=float, default=None, help="Good for so many hours from now."),
        click.option("--set", "claims", multiple=True, metavar="NAME=VALUE", help="Any other wish, such as tem=600 or msfail=false."),
        click.option("--save", "save_to", default="", metavar="FILE", help="Write the token there, readable by you alone."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _secret(command: Any) -> Any:
    """The site's secret: after the command, before it, or from the environment."""
    return click.option(
        "-s", "--secret", envvar="ANGELIA_SITE_SECRET", default=_given_before, help="The site's secret; better in ANGELIA_SITE_SECRET."
    )(command)


def _given_before() -> str:
    context = click.get_current_context().parent
    return str((context.params.get("secret") if context is not None else "") or "")


_invalid = click.option("--allow-invalid", is_flag=True, help="Take an expired one as well.")


def token_group(command: Any) -> Any:
    """The options that may stand before a command of `token`, or without one: that means modify."""
    command = click.option("-s", "--secret", envvar="ANGELIA_SITE_SECRET", default="", help="The site's secret, for inspect, modify and new.")(
        command
    )
    for option in ("--disable-email", "--disable-matrix"):
        command = click.option(option, is_flag=True, help="As of modify.")(command)
    command = click.option("--matrix-room-id", default="", help="As of modify.")(command)
    return click.option("--allow-invalid", is_flag=True, help="As of modify.")(command)


def modify_at_once(context: click.Context) -> None:
    """What `token` does without a command; without options it shows its help."""
    given = {name: value for name, value in context.params.items() if value}
    if not given:
        click.echo(context.get_help())
        return
    context.invoke(modify_token, given="", save_to="", new_validity_hours=None, claims=(), **context.params)


@click.command("inspect")
@_secret
@_invalid
@click.argument("given", metavar="[TOKEN]", default="")
def inspect_token(secret: str, given: str, *, allow_invalid: bool) -> None:
    """What a token says: TOKEN, or the first in ODA_TOKEN, ./.oda-token, ~/.oda-token, ./.oda_api_context."""
    found = _found(given, secret, allow_invalid=allow_invalid)
    click.echo(json.dumps(found.payload, indent=2, sort_keys=True, ensure_ascii=False))
    click.echo(f"found in: {found.place}")
    click.echo(f"signature: {'good' if secret else 'not checked, there is no secret'}")
    end = read_moment(found.payload.get("exp"))
    click.echo("expires: never" if end is None else f"expires: {end.isoformat()}, in {(end - _now()).total_seconds() / 3600:.2f} hours")


@click.command("modify")
@_secret
@_invalid
@_wishes
@click.argument("given", metavar="[TOKEN]", default="")
def modify_token(secret: str, given: str, *, allow_invalid: bool, save_to: str, **wishes: Any) -> None:
    """Sign a token anew with other wishes. It needs the site's secret; without it, change your wishes in the app or by its API."""
    if not secret:
        raise Failure("unable to update token without valid secret key", 2)
    found = _found(given, secret, allow_invalid=allow_invalid)
    _give(SiteTokens(secret), {**found.payload, **_changes(**wishes)}, save_to)


@click.command("new")
@_secret
@click.option("--sub", required=True, help="Whose it is: an e-mail address or a login.")
@click.option("--name", default="")
@click.option("--role", "roles", multiple=True, help="May be given several times.")
@_wishes
def new_token(secret: str, sub: str, name: str, roles: tuple[str, ...], save_to: str, **wishes: Any) -> None:
    """Sign a new token; it is good for 24 hours where nothing else is said."""
    if not secret:
        raise Failure("a token can't be signed without the site's secret", 2)
    if not sub.strip():
        raise Failure("--sub says whose it is: an e-mail address or a login", 2)
    payload = {"sub": sub, "name": name or sub, "roles": ",".join(roles), "exp": _now().timestamp() + 24 * 3600}
    _give(SiteTokens(secret), {**payload, **_changes(**wishes)}, save_to)


def _changes(
    *, disable_email: bool, disable_matrix: bool, matrix_room_id: str, new_validity_hours: float | None, claims: tuple[str, ...]
) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if disable_email:
        changes |= _QUIET_MAIL
    if disable_matrix:
        changes |= _QUIET_CHAT
    if matrix_room_id:
        changes["mxroomid"] = matrix_room_id
    if new_validity_hours is not None:
        if not 0 < new_validity_hours < math.inf:
            raise Failure("--new-validity-hours is a number above 0", 2)
        changes["exp"] = _now().timestamp() + new_validity_hours * 3600
    if bad := [claim for claim in claims if "=" not in claim]:
        raise Failure(f"--set wants NAME=VALUE, not {bad[0]!r}", 2)
    return changes | read_options(dict(claim.split("=", 1) for claim in claims))


def _found(given: str, secret: str, *, allow_invalid: bool) -> Found:
    tokens = SiteTokens(secret) if secret else None
    if not given:
        found = discover(_now(), tokens, allow_invalid=allow_invalid)
        if found is None:
            raise Failure("no valid token was found in ODA_TOKEN, ./.oda-token, ~/.oda-token or ./.oda_api_context")
        return found
    payload = unverified(given) if tokens is None else _read(tokens, given, allow_invalid=allow_invalid)
    return Found(given, "the command line", payload)


def _read(tokens: SiteTokens, given: str, *, allow_invalid: bool) -> Mapping[str, Any]:
    return tokens.read_any(given) if allow_invalid else tokens.read(given, _now())


def _give(tokens: SiteTokens, payload: Mapping[str, Any], save_to: str) -> None:
    token = tokens.sign(payload)
    if save_to:
        path = Path(save_to)
        try:
            path.unlink(missing_ok=True)  # one that is there may be readable by others
            path.touch(mode=0o400)
            path.chmod(0o600)
            path.write_text(token, encoding="ascii")
            path.chmod(0o400)
        except OSError as error:
            raise Failure(f"{path}: {error.strerror or error}") from None
    click.echo(json.dumps(payload, indent=2, sort_keys=True, ensure_ascii=False))
    click.echo(token)


def _now() -> datetime:
    return datetime.now(UTC)
