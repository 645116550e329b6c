"""What the API takes: strict models."""

from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, StringConstraints

from angelia.model.errors import InvalidInput
from angelia.model.moments import number_of
from angelia.web.context import Context


def _somebody(login: str) -> str:
    if login == "me":
        raise ValueError("me is whoever asks; nobody can be called so")
    return login


Login = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._@+-]*$"), AfterValidator(_somebody)]
Line = Annotated[str, StringConstraints(max_length=255, pattern=r"^[^\x00-\x1f\x7f]*$")]
Word = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")]
Place = Annotated[str, StringConstraints(min_length=1, max_length=1_024, pattern=r"^[^\x00-\x1f\x7f]+$")]
Language = Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$", max_length=35)]


def _digits(text: object) -> object:
    """ASCII digits only: int() itself takes underscores, spaces and other scripts."""
    if isinstance(text, str) and not (text.isascii() and text.isdigit()):
        raise ValueError("a whole number in ASCII digits")
    return text


Limit = Annotated[int, BeforeValidator(_digits), Field(ge=1, le=1_000)]
RowId = Annotated[int, BeforeValidator(_digits), Field(ge=0, lt=1 << 63)]


class Strict(BaseModel):
    """Unknown fields are errors, and nothing is converted."""

    model_config = ConfigDict(extra="forbid", strict=True)


class NewPerson(Strict):
    """A person to be."""

    login: Login
    name: Line = ""
    time_zone: Line = "UTC"
    language: Language = "en"
    is_admin: bool = False


class PersonChange(Strict):
    """What may change of a person; what is left out stays. The last two are for administrators."""

    name: Line | None = None
    time_zone: Line | None = None
    language: Language | None = None
    is_active: bool | None = None
    is_admin: bool | None = None


class NewAddress(Strict):
    """An address to be; it gets nothing until it is verified."""

    agent: Word
    value: Place
    is_default: bool = False
    is_verified: bool = False


class NewLink(Strict):
    """For which agent she wants a code to write at the other end."""

    agent: Word


class AddressChange(Strict):
    """Pause, resume, make default."""

    state: Literal["ok", "paused"] | None = None
    is_default: bool | None = None


class Code(Strict):
    """A verification code."""

    code: Word


class Marking(Strict):
    """A bulk change of an inbox; without ids it goes over the whole view. What is put off (`snooze`) comes back `until` then, with its zone."""

    change: Literal["read", "unread", "archive", "unarchive", "snooze", "unsnooze"]
    until: Annotated[AwareDatetime, Field(strict=False)] | None = None
    ids: list[Word] | None = Field(default=None, max_length=10_000)


class Acknowledging(Strict):
    """Messages that she takes over: ids of messages, or of entries of her inbox."""

    ids: list[Word] = Field(min_length=1, max_length=1_000)


class Undoing(Strict):
    """A bulk change that is to be taken back."""

    undo: Word


class NewFeed(Strict):
    """A feed of a saved query."""

    title: Line = "Messages"
    query: dict[Word, Line] = Field(default_factory=dict, max_length=10)


class NewToken(Strict):
    """A token to be; its secret is shown once."""

    title: Line = ""
    scopes: list[Literal["read", "write", "post", "publish", "transitions", "admin"]] = Field(default=["read"], max_length=6)
    expires_in_days: int | None = Field(default=None, ge=1, le=3_650)


class NewEvent(Strict):
    """An event to publish: its routing key, and a body of JSON, or a plain text."""

    key: str = Field(default="", max_length=255)
    body: JsonValue = None
    text: str | None = Field(default=None, max_length=1_048_576)


class PasswordForm(Strict):
    """A new password; the old one where she changes her own."""

    password: Annotated[str, StringConstraints(min_length=1, max_length=512)]
    old_password: Annotated[str, StringConstraints(max_length=512)] = ""


class GroupForm(Strict):
    """A group as a whole. `addresses` (agent -> value) are its own, vouched for by whoever puts them; left out, they stay as they are."""

    title: Line = ""
    members: list[Login] = Field(max_length=10_000)
    addresses: dict[Word, Word] | None = Field(default=None, max_length=20)


class RelationsForm(Strict):
    """Roles on an object: logins and `group:<name>`."""

    roles: dict[Word, Annotated[list[Word], Field(max_length=10_000)]] = Field(max_length=100)


class SourceForm(Strict):
    """A system that posts."""

    title: Line = ""
    subtrees: list[Word] = Field(default_factory=list, max_length=100)
    may_be_urgent: bool = True
    rate_per_second: float = Field(default=0.0, ge=0, le=1_000_000)
    contact: Line = ""
    is_active: bool = True


class TypeForm(Strict):
    """What an operator says of a type. The keys are templates such as `{object}/{params.arch}`, for messages that have none, types below included.

    `is_public`: anybody may read its messages, those of the types below included; false ends that for a subtree, null leaves it to the types above.
    """

    labels: dict[Word, Line] = Field(default_factory=dict, max_length=50)
    descriptions: dict[Word, Line] = Field(default_factory=dict, max_length=50)
    default_severity: Literal["low", "normal", "high", "urgent"] | None = None
    collapse_key: Line = ""
    thread_key: Line = ""
    retention_days: int | None = Field(default=None, ge=1, le=36_500)
    aliases: list[Word] = Field(default_factory=list, max_length=50)
    is_public: bool | None = None
    state: Literal["auto", "curated", "retired"] = "curated"


TemplateKey = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9_:.*-]+/[a-z]+/(full|short|digest)/[A-Za-z-]{2,35}/(subject|text|html)$", max_length=300)
]
TemplateSource = Annotated[str, StringConstraints(max_length=64_000)]


class TemplateForm(Strict):
    """A site template: `<type or *>/<agent>/<form>/<language>/<part>`."""

    key: TemplateKey
    source: TemplateSource


class RestoreForm(Strict):
    """An old version of a template, to be the newest again."""

    key: TemplateKey
    version: Annotated[int, Field(ge=0, lt=1 << 63)]


class PreviewForm(Strict):
    """A template to try: `source` in the place of the stored one, on `message`, or on the newest of its type."""

    key: TemplateKey
    source: TemplateSource | None = None
    message: Line = ""


class Ids(Strict):
    """Ids to act on."""

    ids: Annotated[list[Word], Field(min_length=1, max_length=10_000)]


class ReplayForm(Strict):
    """Deliveries to try again; without ids it goes over the whole view."""

    ids: Annotated[list[Word], Field(min_length=1, max_length=10_000)] | None = None


class AgentChange(Strict):
    """Pause an agent (its backlog is kept), or let it go."""

    is_paused: bool


def checked_zone(name: str, field: str) -> str:
    """A time zone that there is; InvalidInput where there is none."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise InvalidInput("not a time zone such as Europe/Berlin", field) from None
    return name


def checked_address(house: Context, name: str, value: str, field: str) -> str:
    """The address in its agent's form; InvalidInput where the agent takes none, or not this one."""
    agent = house.agents.get(name)
    if agent is None or agent.is_pull:
        raise InvalidInput("there is no agent of that name that needs an address", "agent")
    checked = agent.check_address(value)
    if checked is None:
        raise InvalidInput(f"this is no address for {name}", field)
    return checked


def number(prefix: str, text: str, field: str = "id") -> int:
    """The number behind a public id; InvalidInput, which names the field, if it is none."""
    found = number_of(prefix, text)
    if found is None:
        raise InvalidInput(f"an id looks like {prefix}_0123456789abc", field)
    return found
