"""type, source, site, template: what the operator settles."""

from typing import Any

import click

from angelia.cli.outcome import Failure
from angelia.cli.preferences import counted, read_toml, show_changes, show_history, show_schema
from angelia.cli.reach import Reach, part, text_of
from angelia.wire.documents import to_toml


@click.group("type")
def type_group() -> None:
    """Message types."""


@type_group.command("list")
@click.pass_obj
def list_types(reach: Reach) -> None:
    """All types that were ever seen."""
    reach.show(
        reach.call("GET", "/api/v1/types"),
        "key",
        "first_seen_at",
        "aliases",
        "default_severity",
        "collapse_key",
        "thread_key",
        "retention_days",
        "is_public",
        "state",
    )


@type_group.command("set")
@click.argument("key")
@click.option("--alias", "aliases", multiple=True, help="Another name, such as OBS_BUILD_FAIL; may be given several times.")
@click.option("--label", default="", help="What it is called, in English.")
@click.option("--severity", type=click.Choice(["low", "normal", "high", "urgent"]), default=None, help="For messages that come without one.")
@click.option("--collapse-key", default="", help="For messages that come without one: {object}/{params.arch}.")
@click.option("--thread-key", default="", help="For messages that come without a thread: {params.request}.")
@click.option("--retention-days", type=int, default=None)
@click.option(
    "--public/--not-public", "is_public", default=None, help="May anybody read its messages, without signing in? Left out: as the types above."
)
@click.option("--state", type=click.Choice(["auto", "curated", "retired"]), default="curated")
@click.pass_obj
def set_type(reach: Reach, /, key: str, aliases: tuple[str, ...], label: str, severity: str | None, **said: Any) -> None:
    """Curate a type; what is not given is cleared, but its descriptions and its labels in other languages stay.

    What it says holds for the types below, too.
    """
    path = f"/api/v1/types/{part(key)}"
    known = reach.known(path)
    labels = {language: text for language, text in known.get("labels", {}).items() if language != "en"} | ({"en": label} if label else {})
    kept = {"labels": labels, "descriptions": known.get("descriptions", {})}
    reach.show(reach.call("PUT", path, json=kept | {"aliases": list(aliases), "default_severity": severity} | said))


@click.group()
def source() -> None:
    """Systems that post."""


@source.command("list")
@click.pass_obj
def list_sources(reach: Reach) -> None:
    """All sources."""
    reach.show(reach.call("GET", "/api/v1/sources"), "name", "title", "subtrees", "rate_per_second", "is_active")


@source.command("put")
@click.argument("name")
@click.option("--title", default=None)
@click.option("--subtree", "subtrees", multiple=True, help="A type subtree that it may post; --subtree '' for all, as a new source may.")
@click.option("--rate", "rate_per_second", type=float, default=None, help="Messages a second at most; 0 means no cap, as a new source has it.")
@click.option("--urgent/--not-urgent", "may_be_urgent", default=None, help="May it send urgent messages? A new source may.")
@click.option("--active/--inactive", "is_active", default=None)
@click.option("--contact", default=None)
@click.pass_obj
def put_source(reach: Reach, /, name: str, subtrees: tuple[str, ...], **given: Any) -> None:
    """Create or change a source; what is not given stays as it is."""
    path = f"/api/v1/sources/{part(name)}"
    known = reach.known(path)
    said = {field: value for field, value in given.items() if value is not None}
    if subtrees:
        said["subtrees"] = [tree for tree in subtrees if tree]
    kept = {field: known[field] for field in (*given, "subtrees") if field in known}
    reach.show(reach.call("PUT", path, json=kept | said))


@source.command("token")
@click.argument("name")
@click.option("--title", default="")
@click.option("--days", type=int, default=None, help="Expires after so many days.")
@click.option("--publish", is_flag=True, help="It may also publish events on exchanges.")
@click.option("--transitions", is_flag=True, help="It may also report transitions of experiments and resources.")
@click.pass_obj
def source_token(reach: Reach, name: str, title: str, days: int | None, publish: bool, transitions: bool) -> None:
    """Make a token for a source; its secret is shown this once."""
    more = [scope for scope, is_wanted in (("publish", publish), ("transitions", transitions)) if is_wanted]
    body = {"title": title, "scopes": ["post", *more], "expires_in_days": days}
    reach.show(reach.call("POST", f"/api/v1/sources/{part(name)}/tokens", json=body))


@source.command("revoke")
@click.argument("name")
@click.argument("token_id", type=int)
@click.pass_obj
def revoke(reach: Reach, name: str, token_id: int) -> None:
    """Revoke a source's token."""
    reach.call("DELETE", f"/api/v1/sources/{part(name)}/tokens/{token_id}")
    click.echo("revoked")


@click.group()
def site() -> None:
    """The site's defaults, audiences, locks, schedules and presets as a TOML document."""


@site.command()
@click.pass_obj
def export(reach: Reach) -> None:
    """Print it."""
    answer = reach.call("GET", "/api/v1/site")
    if reach.as_json:
        reach.show(answer)
    else:
        click.echo(to_toml(answer), nl=False)


@site.command()
@click.argument("file")
@click.option("--days", default=30, show_default=True, help="How far back to try it.")
@click.pass_obj
def plan(reach: Reach, file: str, days: int) -> None:
    """What FILE would change, and how many deliveries of the last days would have differed, for a sample of people. Saves nothing."""
    document = read_toml(file)
    answer = reach.call("POST", "/api/v1/site/plan", json=document, params={"days": days})
    if reach.as_json:
        reach.show(answer)
        return
    show_changes(answer["changes"], document, reach.call("GET", "/api/v1/site") if answer["changes"] else {})
    tried = answer["history"]
    show_history(
        f"of {counted(tried['messages'], 'message', 'messages')} to {counted(tried['people'], 'person', 'people')} in the last {answer['days']} days",
        tried,
    )


@site.command()
def schema() -> None:
    """Print the JSON Schema of the document: editors complete and check with it."""
    show_schema("Site")


@site.command()
@click.argument("file")
@click.pass_obj
def apply(reach: Reach, file: str) -> None:
    """Replace it by FILE."""
    reach.call("PUT", "/api/v1/site", json=read_toml(file))
    click.echo("applied")


@click.group()
def template() -> None:
    """The site's own templates."""


@template.command("list")
@click.pass_obj
def list_templates(reach: Reach) -> None:
    """Their keys."""
    reach.show(reach.call("GET", "/api/v1/templates"), "key")


@template.command("put")
@click.argument("key")
@click.argument("file")
@click.pass_obj
def put_template(reach: Reach, key: str, file: str) -> None:
    """Add or replace the template KEY (`obs.build/mail/full/en/subject`) by FILE."""
    reach.call("PUT", "/api/v1/templates", json={"key": key, "source": text_of(file)})
    click.echo("stored")


@template.command("remove")
@click.argument("key")
@click.pass_obj
def remove_template(reach: Reach, key: str) -> None:
    """Back to the built-in one."""
    if key not in {one["key"] for one in reach.call("GET", "/api/v1/templates")["items"]}:
        raise Failure(f"the site has no template {key} of its own")
    reach.call("DELETE", "/api/v1/templates", params={"key": key})
    click.echo("removed")


commands = {"type": type_group, "source": source, "site": site, "template": template}
