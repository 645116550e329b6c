"""delivery, agent, parked, check, audit: what operators look at and act on."""

import click

from angelia.cli.outcome import Failure
from angelia.cli.reach import Reach, part


@click.group()
def delivery() -> None:
    """Deliveries and dead letters."""


@delivery.command("list")
@click.option("--state", default="dead,bounced", show_default=True, help="Comma-separated.")
@click.option("--agent", default="")
@click.option("--login", default="")
@click.option("--limit", default=50, show_default=True)
@click.pass_obj
def list_deliveries(reach: Reach, state: str, agent: str, login: str, limit: int) -> None:
    """Newest first; by default the dead letters."""
    params = {"state": state, "agent": agent, "login": login, "limit": limit}
    reach.show(reach.call("GET", "/api/v1/deliveries", params=params), "id", "agent", "state", "reason", "attempts", "last_error")


@delivery.command()
@click.argument("ids", nargs=-1, required=True)
@click.pass_obj
def replay(reach: Reach, ids: tuple[str, ...]) -> None:
    """Try dead letters again."""
    answer = reach.call("POST", "/api/v1/deliveries/replay", json={"ids": list(ids)})
    reach.show(answer)
    _all_of(ids, answer["replayed"], "are dead letters")


def _all_of(ids: tuple[str, ...], done: int, what: str) -> None:
    if done < len(set(ids)):
        raise Failure(f"{done} of {len(set(ids))} {what}")


@click.group()
def agent() -> None:
    """Agents."""


@agent.command("list")
@click.pass_obj
def list_agents(reach: Reach) -> None:
    """All agents."""
    reach.show(reach.call("GET", "/api/v1/agents"), "name", "is_pull", "is_interruptive", "is_paused")


def _pause(reach: Reach, name: str, *, is_paused: bool) -> None:
    reach.show(reach.call("PATCH", f"/api/v1/agents/{part(name)}", json={"is_paused": is_paused}))


@agent.command()
@click.argument("name")
@click.pass_obj
def pause(reach: Reach, name: str) -> None:
    """Keep its backlog back."""
    _pause(reach, name, is_paused=True)


@agent.command()
@click.argument("name")
@click.pass_obj
def resume(reach: Reach, name: str) -> None:
    """Let it go."""
    _pause(reach, name, is_paused=False)


@agent.command()
@click.pass_obj
def backlog(reach: Reach) -> None:
    """What waits, by agent."""
    reach.show(reach.call("GET", "/api/v1/backlog"), "agent", "due", "held", "sending", "oldest_due_at")


@click.group()
def parked() -> None:
    """Messages that planning can't get past."""


@parked.command("list")
@click.pass_obj
def list_parked(reach: Reach) -> None:
    """Oldest first."""
    reach.show(reach.call("GET", "/api/v1/parked"), "message.id", "message.type", "attempts", "error")


@parked.command()
@click.argument("ids", nargs=-1, required=True)
@click.pass_obj
def release(reach: Reach, ids: tuple[str, ...]) -> None:
    """Plan them again."""
    answer = reach.call("POST", "/api/v1/parked/release", json={"ids": list(ids)})
    reach.show(answer)
    _all_of(ids, answer["released"], "were parked")


@click.command()
@click.pass_obj
def check(reach: Reach) -> None:
    """Deliveries by state (their sum is all that were planned), and faults, if there are any."""
    answer = reach.call("GET", "/api/v1/conservation")
    reach.show(answer if reach.as_json else {"planned": answer["planned"]} | answer["states"])
    for fault in answer["faults"]:
        click.echo(fault, err=True)
    if answer["faults"]:
        raise Failure(f"{len(answer['faults'])} faults")


@click.command()
@click.option("--limit", default=50, show_default=True)
@click.pass_obj
def audit(reach: Reach, limit: int) -> None:
    """Who did what, newest first."""
    reach.show(reach.call("GET", "/api/v1/audit", params={"limit": limit}), "at", "actor", "action", "target")


commands = {"delivery": delivery, "agent": agent, "parked": parked, "check": check, "audit": audit}
