"""What can be set, and what it may be: checked at the start. Where settings are read from is in layers.py."""

import hashlib
import math
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from angelia.broker import ExchangeSettings
from angelia.dialects.brainlife_settings import BrainlifeSettings
from angelia.dialects.oda_settings import OdaSettings
from angelia.inlets.bindings import LOOKS_LIKE, AmqpInletSettings, is_broker_url
from angelia.inlets.hook_settings import HookSettings
from angelia.inlets.mail.settings import MailInletSettings
from angelia.layers import from_environment, from_file, merged, section
from angelia.model.errors import BadSettings
from angelia.model.setting import say
from angelia.web.scraping import Scrapers, scrapers_of
from angelia.web.signin.providers import OidcSettings

LONGEST_LIFETIME = 3_650 * 86_400
LONGEST_RETENTION = 36_500
EXCHANGE = "events"
"""The exchange of a hub whose settings name none."""
_SECRET_NAMES = frozenset({"secret", "url", "database", "password", "token", "client_secret", "metrics_token"})


@dataclass(frozen=True, slots=True)
class HouseSettings:
    """Where things are kept, and how the hub is reached."""

    data_dir: str = say("var", "folder for everything that the hub writes")
    database: str = say("", "database URL; empty means SQLite in the data folder")
    base_url: str = say("http://127.0.0.1:8080", "how people reach the hub; links in mails begin with it")
    secret: str = say("", "key that signs links, at least 32 characters; empty means one is made in the data folder")
    title: str = say("Angelia", "what this site is called")
    disk_reserve: int = say(16, "megabytes of the data folder's disk that stay free: with less nothing new is taken; 0 for none")
    overdue_after: int = say(3_600, "seconds after which a message that nobody has decided makes the hub not ready; 0 for never")


@dataclass(frozen=True, slots=True)
class WebSettings:
    """The HTTP side."""

    host: str = say("127.0.0.1", "address to listen on")
    port: int = say(8080, "port to listen on")
    open_posting: bool = say(False, "may anybody post messages without a token?")
    post_rate: float = say(20.0, "messages a second that one person may post with her tokens, and ten seconds' worth at once; 0 for any number")
    max_body: int = say(16_777_216, "largest request body in bytes, also after unpacking")
    proxies: str = say("", "addresses of the proxies in front, with commas; only their X-Forwarded-For is believed, for limits on tries")
    metrics_from: str = say("127.0.0.0/8, ::1/128", "networks from which /metrics may be read, with commas; * for any")
    metrics_token: str = say("", "token with which it may be read from anywhere, as Authorization: Bearer, at least 16 characters; empty means none")
    passwords: bool = say(True, "may people sign in with a password of the hub's own? off where all sign in at a provider")
    allow_public_bind: bool = say(False, "listen on other than loopback without a proxy in front")
    hosts: str = say("", "names that a request's Host may have beside that of house.base_url and loopback, with commas; * for any")
    head_timeout: int = say(10, "seconds in which the head of a request must have come")
    body_timeout: int = say(15, "seconds in which 16 KiB more of a body, or its end, must come")
    answer_timeout: int = say(30, "seconds after which a client that takes nothing of its answer is cut off")


@dataclass(frozen=True, slots=True)
class DeliverySettings:
    """How long and how often deliveries are tried. Lengths are in seconds."""

    lifetime: int = say(432_000, "how long a delivery is tried before it expires")
    chat_lifetime: int = say(86_400, "the same for interruptive agents")
    seen_once: bool = say(True, "is what somebody has read in one place withheld from the others, as long as it waits there?")
    seen_wait: int = say(0, "seconds that what does not press waits before it goes by mail and the like to somebody who has it in her inbox already")
    retention_days: int = say(90, "how long messages are kept where their type says nothing")


@dataclass(frozen=True, slots=True)
class LogSettings:
    """Logs, on stderr."""

    form: str = say("json", "json or text")
    level: str = say("info", "debug, info, warning or error")


@dataclass(frozen=True, slots=True)
class OutboundSettings:
    """Requests that the hub makes itself."""

    allow: str = say("", "networks that the hub may call although they are not public, separated by commas")
    ca_file: str = say("", "certificates to trust in place of the system's")


@dataclass(frozen=True, slots=True)
class TelemetrySettings:
    """Traces; logs have a section of their own, metrics are at /metrics."""

    otlp_endpoint: str = say("", "collector for traces, OTLP over HTTP: http://127.0.0.1:4318/v1/traces; empty means none")


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """Where events flow."""

    url: str = say("", "RabbitMQ: amqp://user:password@host:5672/vhost, or amqps://; empty means that events stay in the hub's own store")
    outgoing: str = say("", "exchange on which the hub tells what it does with messages, deliveries and jobs; empty means none")
    outgoing_kept: int = say(100_000, "how many of these events wait in the store while the broker is away; the oldest go first")


@dataclass(frozen=True, slots=True)
class TransitionsSettings:
    """What is done with reported transitions of experiments and their resources. Lengths are in seconds."""

    experiments: str = say("experiments", "exchange on which each experiment has a key of its own; empty means none")
    usage: str = say("resourceUsage", "exchange for those who watch all resources; empty means none")
    form: str = say("both", "form of what is published: simple, detailed or both")
    messages: bool = say(True, "are people also told by messages of types below bonfire?")
    shutdown_after: int = say(300, "from the end of an experiment's time until its computes are shut down, as people are told")
    destroy_after: int = say(300, "from then until its resources are destroyed")


@dataclass(frozen=True, slots=True)
class JobSettings:
    """Jobs of instruments. Lengths are in seconds."""

    keep_days: int = say(30, "how long ended jobs and their results are kept")
    most_waiting: int = say(200, "how many jobs of one person may be under way at once; 0 for any number")
    most_bytes: int = say(0, "how many bytes the results of one person's jobs may take before she can ask for no more; 0 for any number")
    most_uploaded: int = say(
        1_073_741_824, "how many bytes the files may take that one person gives to jobs, and those of the public; 0 for any number"
    )
    silent_after: int = say(3_600, "how long an instrument that has a job may say nothing before the job counts as lost")
    unreachable_after: int = say(43_200, "how long a job waits for an instrument that takes nothing before it fails")
    progress_every: float = say(60.0, "seconds between two words on how far a job is, for people who are told of that; 0 for none")
    copies_to: str = say("", "logins or group:<name> who get a copy of what people are told of their jobs, with commas")


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """Live streams."""

    origins: str = say("", "pages of other sites that may follow streams, with commas: https://portal.example.org")
    public_key: str = say("", "public key of a service whose signed tokens open streams too: the PEM text, or the path of its file")
    algorithms: str = say("RS256,RS384,RS512,PS256,PS384,PS512", "how those tokens may be signed, with commas")


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings. `agents` holds a table for each agent, read by its own room, as is `instruments`; `directories` one for each relation source,
    `oidc` one for each sign-in provider, `exchanges` one for each exchange that the hub knows.
    """

    house: HouseSettings = HouseSettings()
    web: WebSettings = WebSettings()
    delivery: DeliverySettings = DeliverySettings()
    log: LogSettings = LogSettings()
    outbound: OutboundSettings = OutboundSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    broker: BrokerSettings = BrokerSettings()
    transitions: TransitionsSettings = TransitionsSettings()
    streams: StreamSettings = StreamSettings()
    jobs: JobSettings = JobSettings()
    brainlife: BrainlifeSettings = field(default_factory=BrainlifeSettings)
    oda: OdaSettings = field(default_factory=OdaSettings)
    agents: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    instruments: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    directories: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    oidc: Mapping[str, OidcSettings] = field(default_factory=dict)
    exchanges: Mapping[str, ExchangeSettings] = field(default_factory=lambda: {EXCHANGE: ExchangeSettings(access="signed-in")})
    amqp_inlets: Mapping[str, AmqpInletSettings] = field(default_factory=dict)
    hooks: Mapping[str, HookSettings] = field(default_factory=dict)
    mail_inlet: MailInletSettings = field(default_factory=MailInletSettings)

    @property
    def data_dir(self) -> Path:
        """The data folder."""
        return Path(self.house.data_dir)

    @property
    def database(self) -> str:
        """The database's URL."""
        return self.house.database or f"sqlite:///{self.data_dir.resolve() / 'angelia.db'}"

    @property
    def local_socket(self) -> Path:
        """Where commands on the same data folder and database find a hub that runs."""
        which = hashlib.blake2s(self.database.encode(), digest_size=4).hexdigest()
        return self.data_dir / f"hub-{which}.sock"

    @property
    def hosts(self) -> frozenset[str]:
        """Whom a request's Host may name."""
        named = (name.strip().lower() for name in self.web.hosts.split(","))
        bound = f"[{self.web.host}]" if ":" in self.web.host else self.web.host
        base = urlsplit(self.house.base_url).netloc.rpartition("@")[2].lower()
        name = base if base.endswith("]") or ":" not in base else base.rpartition(":")[0]
        return frozenset({"127.0.0.1", "localhost", "[::1]", bound.lower(), name, *named} - {""})

    @property
    def proxies(self) -> frozenset[str]:
        """Addresses of the proxies in front."""
        return frozenset(filter(None, (part.strip() for part in self.web.proxies.split(","))))

    @property
    def scrapers(self) -> Scrapers:
        """Who may read the metrics."""
        return scrapers_of(self.web.metrics_from, self.web.metrics_token)

    @property
    def lifetimes(self) -> tuple[timedelta, timedelta]:
        """Of ordinary and of interruptive agents."""
        return timedelta(seconds=self.delivery.lifetime), timedelta(seconds=self.delivery.chat_lifetime)


_SECTIONS: Mapping[str, type] = {
    "house": HouseSettings,
    "web": WebSettings,
    "delivery": DeliverySettings,
    "log": LogSettings,
    "outbound": OutboundSettings,
    "telemetry": TelemetrySettings,
    "broker": BrokerSettings,
    "transitions": TransitionsSettings,
    "streams": StreamSettings,
    "jobs": JobSettings,
    "brainlife": BrainlifeSettings,
    "oda": OdaSettings,
}


Inlet = TypeVar("Inlet", AmqpInletSettings, HookSettings)
_ROOMS = ("agents", "instruments", "directories", "oidc", "exchanges", "inlets")
_INSTRUMENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_PROVIDER_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


def load(config: str = "", environment: Mapping[str, str] | None = None, overrides: Mapping[str, Mapping[str, Any]] | None = None) -> Settings:
    """Later wins: file (`config`, ANGELIA_CONFIG, or the first of PLACES), environment, systemd credentials, command line.

    Raises BadSettings that names the setting.
    """
    environment = os.environ if environment is None else environment
    tables = merged(from_file(config or environment.get("ANGELIA_CONFIG", "")), from_environment(environment), overrides or {})
    agents, instruments, directories, oidc, exchanges, inlets = (tables.pop(name, {}) for name in _ROOMS)
    for name in tables:
        if name not in _SECTIONS:
            raise BadSettings(f"there is no section [{name}]; there are {', '.join([*_SECTIONS, *_ROOMS])}")
    values = {name: section(kind, name, tables.get(name, {})) for name, kind in _SECTIONS.items()}
    known = _exchanges(exchanges) | _exchanges_of(values["transitions"], exchanges)
    mail_inlet = section(MailInletSettings, "inlets.mail", inlets.pop("mail", {}))
    rooms: dict[str, Any] = {
        "agents": agents,
        "instruments": _instruments(instruments),
        "directories": directories,
        "oidc": _providers(oidc),
        "exchanges": known,
        "amqp_inlets": _inlets(inlets, "amqp", AmqpInletSettings),
        "hooks": _inlets(inlets, "hook", HookSettings),
    }
    settings = Settings(**values | rooms, mail_inlet=mail_inlet)
    _check(settings)
    return settings


def _providers(tables: Mapping[str, Any]) -> dict[str, OidcSettings]:
    made = {name: section(OidcSettings, f"oidc.{name}", table) for name, table in tables.items()}
    for name in made:
        if not _PROVIDER_NAME.fullmatch(name):
            raise BadSettings(f"[oidc.{name}]: the name stands in URLs: small letters, digits and '-'")
    if len({entry.issuer for entry in made.values()}) < len(made):
        raise BadSettings("oidc: two providers have the same issuer; people are told apart by it")
    return made


def _instruments(tables: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    for name, table in tables.items():
        if not _INSTRUMENT_NAME.fullmatch(name) or not isinstance(table, Mapping):
            raise BadSettings(f"[instruments.{name}] is a table; its name has letters, digits, '_' and '-', at most 64")
    return dict(tables)


def _inlets(tables: Mapping[str, Any], kind: str, made_by: type[Inlet]) -> dict[str, Inlet]:
    if other := set(tables) - {"amqp", "hook"}:
        raise BadSettings(f"there are no inlets.{', '.join(sorted(other))}; there are [inlets.amqp.<name>], [inlets.hook.<name>] and [inlets.mail]")
    made = {}
    for name, table in tables.get(kind, {}).items():
        if not _PROVIDER_NAME.fullmatch(name):
            raise BadSettings(f"[inlets.{kind}.{name}]: the name stands in that of its queue or address: small letters, digits and '-'")
        made[name] = section(made_by, f"inlets.{kind}.{name}", table).checked(name)
    return made


def _exchanges(tables: Mapping[str, Any]) -> dict[str, ExchangeSettings]:
    made = {name: section(ExchangeSettings, f'exchanges."{name}"', table) for name, table in tables.items()}
    for name, entry in made.items():
        if not 0 < len(name.encode()) <= 127 or not name.isprintable():
            raise BadSettings(f"[exchanges.{name!r}]: a name has 1 to 127 bytes, all of them printable")
        if entry.kind not in ("topic", "direct"):
            raise BadSettings(f'exchanges."{name}".kind is topic or direct')
        if entry.access not in ("public", "signed-in", "admin", "claim", "check"):
            raise BadSettings(f'exchanges."{name}".access is public, signed-in, admin, claim or check')
        if (entry.access == "claim" and not entry.claim) or (entry.access == "check" and "{word}" not in entry.check_url):
            raise BadSettings(f'exchanges."{name}": claim needs the name of a claim, check a check_url with {{word}}')
        if entry.word < 1 or name == "me" or name.startswith("me/"):
            raise BadSettings(f'exchanges."{name}": word is 1 or more, and the name me is that of a person\'s own stream')
        if entry.keep_seconds <= 0 or entry.keep_bytes <= 0:
            raise BadSettings(f'exchanges."{name}".keep_seconds and .keep_bytes are above 0')
    return made or {EXCHANGE: ExchangeSettings(access="signed-in")}


def _exchanges_of(transitions: TransitionsSettings, told: Mapping[str, Any]) -> dict[str, ExchangeSettings]:
    """Those that transitions are published on, where no table says more of them. A key of an experiment is met by itself only: direct."""
    kinds = {transitions.experiments: "direct", transitions.usage: "topic"}
    return {name: ExchangeSettings(kind=kind) for name, kind in kinds.items() if name and name not in told}


def _check_broker(settings: Settings) -> None:
    if settings.broker.outgoing_kept < 1:
        raise BadSettings("broker.outgoing_kept is 1 or more")
    if settings.broker.outgoing and settings.broker.outgoing not in settings.exchanges:
        raise BadSettings('broker.outgoing names an exchange that has a table [exchanges."<name>"]')
    for name, entry in settings.amqp_inlets.items():
        if not (entry.url or settings.broker.url) and entry.exchange not in settings.exchanges:
            raise BadSettings(f'inlets.amqp.{name}.exchange is one that has a table [exchanges."<name>"], or needs a broker')
        is_ours = entry.url in ("", settings.broker.url) and entry.exchange in (settings.transitions.experiments, settings.transitions.usage)
        if entry.transitions and is_ours:
            # It would take what it publishes itself, again and again.
            raise BadSettings(f"inlets.amqp.{name}: transitions are published on {entry.exchange}; take them from another, or publish elsewhere")
    if settings.broker.url and not is_broker_url(settings.broker.url):
        raise BadSettings(f"broker.url is {LOOKS_LIKE}")


def _check(settings: Settings) -> None:
    if not 0 <= settings.web.port <= 65_535:
        raise BadSettings("web.port is 0 to 65535")
    _check_house(settings.house)
    if min(settings.web.head_timeout, settings.web.body_timeout, settings.web.answer_timeout) <= 0:
        raise BadSettings("web.head_timeout, web.body_timeout and web.answer_timeout are above 0")
    if settings.log.form not in ("json", "text") or settings.log.level not in ("debug", "info", "warning", "error"):
        raise BadSettings("log.form is json or text, log.level debug, info, warning or error")
    if not 0 <= settings.web.post_rate < math.inf:
        raise BadSettings("web.post_rate is 0 or more")
    if settings.web.max_body <= 0:
        raise BadSettings("web.max_body is above 0")
    _check_proxies(settings.proxies)
    scrapers_of(settings.web.metrics_from, settings.web.metrics_token)
    _check_transitions(settings.transitions)
    _check_broker(settings)
    if settings.telemetry.otlp_endpoint and not settings.telemetry.otlp_endpoint.startswith(("http://", "https://")):
        raise BadSettings("telemetry.otlp_endpoint starts with http:// or https://")
    _check_jobs(settings.jobs)
    if not 0 <= settings.delivery.seen_wait <= 86_400:
        raise BadSettings("delivery.seen_wait is 0 seconds to a day")
    _check_lengths(settings.delivery)


def _check_lengths(told: DeliverySettings) -> None:
    if not (0 < told.lifetime <= LONGEST_LIFETIME and 0 < told.chat_lifetime <= LONGEST_LIFETIME):
        raise BadSettings("delivery.lifetime and delivery.chat_lifetime are above 0 seconds, and at most ten years")
    if not 0 < told.retention_days <= LONGEST_RETENTION:
        raise BadSettings("delivery.retention_days is above 0, and at most a hundred years")


def _check_proxies(proxies: frozenset[str]) -> None:
    for address in proxies:
        try:
            ip_address(address)
        except ValueError:
            # One that never matches would let all who come through it share one limit, and nobody would know.
            raise BadSettings(f"web.proxies holds addresses such as 10.2.0.7, not {address!r}") from None


def _check_house(house: HouseSettings) -> None:
    if house.secret and len(house.secret) < 32:
        raise BadSettings("house.secret has at least 32 characters; leave it out and one is made")
    if not house.base_url.startswith(("http://", "https://")) or house.base_url.endswith("/"):
        raise BadSettings("house.base_url starts with http:// or https:// and does not end in /")
    try:
        is_url = bool(urlsplit(house.base_url).hostname) and urlsplit(house.base_url).port != 0 and not any(map(str.isspace, house.base_url))
    except ValueError:
        is_url = False
    if not is_url:
        raise BadSettings("house.base_url is a URL with a host, as in https://hub.example.org")
    if min(house.disk_reserve, house.overdue_after) < 0:
        raise BadSettings("house.disk_reserve and house.overdue_after are 0 or more")


def _check_jobs(jobs: JobSettings) -> None:
    if min(jobs.keep_days, jobs.silent_after, jobs.unreachable_after) <= 0:
        raise BadSettings("jobs.keep_days, jobs.silent_after and jobs.unreachable_after are above 0")
    if min(jobs.most_waiting, jobs.most_bytes, jobs.progress_every) < 0:
        raise BadSettings("jobs.most_waiting, jobs.most_bytes and jobs.progress_every are 0 or more")


def _check_transitions(transitions: TransitionsSettings) -> None:
    if transitions.form not in ("simple", "detailed", "both"):
        raise BadSettings("transitions.form is simple, detailed or both")
    if transitions.experiments and transitions.experiments == transitions.usage:
        raise BadSettings("transitions.experiments and transitions.usage are two exchanges: whoever reads one must not read the other")
    if min(transitions.shutdown_after, transitions.destroy_after) < 0:
        raise BadSettings("transitions.shutdown_after and transitions.destroy_after are 0 or more")


def secret_of(settings: Settings) -> bytes:
    """The key that signs links; made once, readable by the owner alone, where none is set."""
    if settings.house.secret:
        return settings.house.secret.encode()
    path = settings.data_dir / "secret"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(32))
            # A hub that lost it in a power cut could not start, and links in old mails would be void.
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        pass
    secret = path.read_bytes().strip()
    if len(secret) < 32:
        raise BadSettings(f"{path} holds less than 32 characters; remove it and a new one is made")
    return secret


def described(settings: Settings, *, is_redacted: bool = True) -> Iterator[tuple[str, Any, str]]:
    """(name, value, help) of each setting in force; what may hold a secret is not shown."""
    for name in _SECTIONS:
        part = getattr(settings, name)
        for item in fields(part):
            yield f"{name}.{item.name}", _shown(item.name, getattr(part, item.name), is_redacted), item.metadata.get("help", "")
    providers = {name: asdict(entry) for name, entry in settings.oidc.items()}
    exchanges = {name: asdict(entry) for name, entry in settings.exchanges.items()}
    tables = {
        "agents": settings.agents,
        "instruments": settings.instruments,
        "directories": settings.directories,
        "oidc": providers,
        "exchanges": exchanges,
    }
    tables["inlets.amqp"] = {name: asdict(entry) for name, entry in settings.amqp_inlets.items()}
    tables["inlets.hook"] = {name: asdict(entry) for name, entry in settings.hooks.items()}
    tables["inlets"] = {"mail": asdict(settings.mail_inlet)}
    for kind, rooms in tables.items():
        for room, table in rooms.items():
            for key, value in table.items():
                yield f"{kind}.{room}.{key}", _shown(key, value, is_redacted), ""


def _shown(name: str, value: Any, is_redacted: bool) -> Any:
    if is_redacted and name in _SECRET_NAMES and value and ("@" in str(value) or name not in ("url", "database")):
        return "(not shown)"
    return value


def all_settings() -> Iterator[tuple[str, str, Any, str]]:
    """(name, kind, default, help) of every setting, for the reference."""
    for name, kind in _SECTIONS.items():
        assert is_dataclass(kind)
        for item in fields(kind):
            assert item.default is not MISSING
            yield f"{name}.{item.name}", str(getattr(item.type, "__name__", item.type)), item.default, item.metadata.get("help", "")
