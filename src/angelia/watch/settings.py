"""Settings of the watcher: `[[watch]]` tables in TOML, or the JSON configuration of the Sonix+ bot as it is; unknown names are errors."""

import hashlib
import importlib.util
import json
import os
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_type_hints
from zoneinfo import ZoneInfo

from angelia.model.errors import BadSettings
from angelia.model.setting import say
from angelia.watch.lines import bom_of
from angelia.watch.rules import BadPattern, Rule, Rules, compiled

_LENGTHS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZES = {"": 1, "B": 1, "KiB": 1024, "MiB": 1 << 20}
_RATE = re.compile(r"(\d+)\s*/\s*(\d+(?:\.\d+)?)?\s*(ms|s|m|h|d)")
_SOME_DAY = datetime(2026, 1, 31, tzinfo=UTC)
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}", re.IGNORECASE)
_HINT = r"a backslash begins a special letter there: write / or two of them, as in D:/sonix/log or D:\\sonix\\log"
DEDUP_NAMES = ("watch", "kind", "level", "device", "text", "text_normalised")
"""What two records may be compared by."""
FIELDS = r"(?i)\b(?P<kind>user|warning|error|info)[\s:)\]]*(?P<level>[1-5])?[\s:)\]]+(?P<device>\S+)?\s*(?P<text>.*)"
"""What we take a log of Sonix+ for where nothing is said: kind, level, device, text."""


@dataclass(frozen=True, slots=True)
class HubSettings:
    """`[hub]`: where messages go."""

    url: str = say("", "address of the hub; empty means ANGELIA_URL, or no hub at all")
    token: str = say("", "token of a source; better in token_file or ANGELIA_TOKEN")
    token_file: str = say("", "file with the token; where it is relative, beside the settings")
    timeout: float = say(10.0, "seconds that one request may take")


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """One `[[watch]]`. Lengths are texts such as `2s`, `15m`, `2h`; sizes such as `64KiB`."""

    name: str = say("", "what the instrument is called; its messages are about `instrument/<name>`")
    paths: tuple[str, ...] = say((), "files, or patterns such as `D:/sonix/log/*.log`")
    root: str = say("", "links may lead to places below this folder only; empty means the folder before the first wildcard")
    single: bool = say(False, "follow only the newest of the files that match")
    start: str = say("end", "where to begin in a file seen for the first time: `end`, `beginning`, `last:200`")
    encoding: str = say("auto", "`auto` is a byte order mark, then strict UTF-8, then the fallback")
    fallback_encoding: str = say("cp1251", "for what is no UTF-8; also `cp866`, `koi8-r`")
    mixed: bool = say(False, "decide for each line: several programs write into one log")
    record_start: str = say("", "a line that matches begins a record, others continue it; empty means that each line is one")
    fields: str = say(FIELDS, "groups `kind`, `level`, `device`, `text`, `time` of a record")
    time_format: str = say("", "how `time` is written, as strptime has it; empty means that the time of reading counts")
    timezone: str = say("UTC", "zone of the times in the log, and in what is told")
    match: tuple[Any, ...] = say((), "tables with `kind`, `max_level`, `text_regex`: any makes a record worth telling; none at all means all errors")
    ignore: tuple[Any, ...] = say((), "the same: any unmakes it")
    flush_after: str = say("2s", "how long a record without a next one waits")
    max_line: str = say("64KiB", "longer lines are cut and marked")
    max_record: str = say("64KiB", "a longer record is ended")
    max_lines: int = say(200, "a record of more lines is ended")
    dedup_key: tuple[str, ...] = say((), "what makes two records the same; none means watch, kind, device, text_normalised")
    dedup_for: str = say("15m", "how long repeats are only counted; `0s` tells each")
    remind_every: str = say("2h", "how often what goes on is told again")
    rate: str = say("6/10m", "messages for each recipient; empty is no limit")
    burst: int = say(3, "messages at once")
    context: int = say(20, "so many records before one that is told go with it as a file; 0 is none")
    to: tuple[str, ...] = say((), "logins or group:<name>; none means those who follow `instrument/<name>/` or have rules")
    measurement_start: str = say("", "expression on the text that begins a measurement; its group `name` names it")
    measurement_end: str = say("", "expression on the text that ends it")
    silence_alarm: str = say("", "tell when nothing was written for so long while a measurement is on; empty is never")
    missing_after: str = say("10m", "tell when a file could not be read for so long")
    poll: str = say("1s", "how often to look")

    def lengths(self) -> None:
        """Try all that is written as a text. BadSettings names what can't be read."""
        for name in ("flush_after", "dedup_for", "remind_every", "silence_alarm", "missing_after", "poll"):
            seconds(getattr(self, name), f"watch.{name}")
        for name in ("max_line", "max_record"):
            size(getattr(self, name), f"watch.{name}")
        rate(self.rate)


@dataclass(frozen=True, slots=True)
class WatcherSettings:
    """A whole configuration. `direct` are the tables of the bot's own JSON, for where there is no hub; notices only hurry."""

    hub: HubSettings = field(default_factory=HubSettings)
    watches: tuple[WatchSettings, ...] = ()
    state: Path = Path("watch-state")
    direct: Mapping[str, Any] = field(default_factory=dict)
    has_notices: bool = False


def seconds(text: str, name: str = "a length") -> float:
    """`15m` -> 900.0; an empty text is 0."""
    if not text:
        return 0.0
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)", text)
    if found is None:
        raise BadSettings(f"{name} is a length such as 30s, 15m or 2h, not {text!r}")
    return float(found[1]) * _LENGTHS[found[2]]


def size(text: str, name: str = "a size") -> int:
    """`64KiB` -> 65536."""
    found = re.fullmatch(r"(\d+)\s*(B|KiB|MiB)?", text)
    if found is None or not 16 <= int(found[1]) * _SIZES[found[2] or ""] <= 16 << 20:
        raise BadSettings(f"{name} is a size from 16B to 16MiB, such as 64KiB, not {text!r}")
    return int(found[1]) * _SIZES[found[2] or ""]


def rate(text: str) -> tuple[int, float]:
    """`6/10m` -> (6, 600.0); empty is (0, 600.0), no limit."""
    if not text:
        return 0, 600.0
    found = _RATE.fullmatch(text)
    period = float(found[2] or 1) * _LENGTHS[found[3]] if found else 0.0
    if found is None or period <= 0:
        raise BadSettings(f"watch.rate is a number in a length, such as 6/10m, not {text!r}")
    return int(found[1]), period


def rules_of(watch: WatchSettings) -> Rules:
    """The rules of one table, with those for the begin and the end of a measurement. BadSettings for what can't be taken."""
    match = [_rule(table, "match") for table in watch.match] or [Rule(kind="error")]
    match += [Rule(text_regex=pattern) for pattern in (watch.measurement_start, watch.measurement_end) if pattern]
    try:
        return Rules(watch.fields, watch.record_start, match, [_rule(table, "ignore") for table in watch.ignore])
    except BadPattern as error:
        raise BadSettings(f"watch {watch.name}: {error}") from None


def _rule(table: Any, name: str) -> Rule:
    if isinstance(table, Rule):
        return table
    rule: Rule = _section(Rule, f"watch.{name}", table)
    if not rule.kind and rule.max_level is None and not rule.text_regex:
        raise BadSettings(f"watch.{name}: a rule says kind, max_level or text_regex")
    return rule


def _section(kind: type, path: str, table: Any) -> Any:
    if not isinstance(table, Mapping):
        raise BadSettings(f"{path} is a table of settings")
    hints, known = get_type_hints(kind), {item.name for item in fields(kind)}
    for name, value in table.items():
        if name not in known:
            raise BadSettings(f"there is no setting {path}.{name}; there are {', '.join(sorted(known))}")
        wanted = str(hints[name])
        if wanted.startswith("tuple") and not isinstance(value, list | tuple):
            raise BadSettings(f"{path}.{name} is a list, such as [{json.dumps(value, default=str)}]")
        simple = next((one for word, one in (("tuple", (list, tuple)), ("bool", bool), ("float", (int, float)), ("int", int)) if word in wanted), str)
        if not isinstance(value, simple) or (isinstance(value, bool) and simple is not bool):
            raise BadSettings(f"{path}.{name} is of another kind than {value!r}")
        if wanted.startswith("tuple[str") and isinstance(value, list | tuple) and not all(isinstance(item, str) for item in value):
            raise BadSettings(f"{path}.{name} is a list of texts")
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in table.items()})


def load(path: Path, logs: tuple[str, ...] = (), environment: Mapping[str, str] | None = None, *, is_trial: bool = False) -> WatcherSettings:
    """From TOML or, by its name, the bot's JSON. `logs` are files to follow by the rules for Sonix+ where no `watch` says which.

    For a trial of the rules nobody to tell is needed, nor the token.
    """
    try:
        text = _text_of(path.read_bytes())
        document = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except OSError as error:
        raise BadSettings(f"{path} can't be read: {error.strerror or error}") from None
    except ValueError as error:
        hint = f"; {_HINT}" if "\\" in str(error) or "escape" in str(error).lower() else ""
        raise BadSettings(f"{path} can't be read: {error}{hint}") from None
    if not isinstance(document, dict):
        raise BadSettings(f"{path} holds no settings")
    return settings_of(document, path, logs, os.environ if environment is None else environment, is_trial=is_trial)


def _text_of(data: bytes) -> str:
    """UTF-8, or what editors on Windows write where they are asked for Unicode."""
    encoding, length = bom_of(data)
    return data[length:].decode(encoding or "utf-8").replace("\r\n", "\n")


def name_of(log: Path) -> str:
    """What a log is called where nobody gave it a name."""
    plain = re.sub(r"[^\w-]+", "-", log.stem, flags=re.ASCII).strip("-_")
    return plain[:64] or "log"


def _watches_of(logs: Iterable[str]) -> list[WatchSettings]:
    """One for each; logs that would have the same name are told apart by their places, which stay the same from start to start."""
    names = {log: name_of(Path(log)) for log in logs}
    counts = Counter(names.values())
    for log, name in names.items():
        if counts[name] > 1:
            names[log] = f"{name[:50]}-{hashlib.blake2b(log.encode('utf-8', 'replace'), digest_size=4).hexdigest()}"
    return [_watch({"name": name, "paths": (log,)}) for log, name in names.items()]


def _check_shape(document: Mapping[str, Any]) -> None:
    for name in document:
        if name not in ("hub", "watch", "state", "notices", "mail", "telegram"):
            raise BadSettings(f"there is no section {name}; there are hub, watch, state, notices, mail, telegram")
    if not isinstance(document.get("watch", []), list):
        raise BadSettings("each watch is a table of a list: write [[watch]], with two brackets")
    for name in ("mail", "telegram"):
        if not isinstance(document.get(name) or {}, Mapping):
            raise BadSettings(f"{name} is a table of settings")
    if not isinstance(document.get("state", ""), str):
        raise BadSettings("state is the name of a folder")


def settings_of(
    document: dict[str, Any], path: Path, logs: tuple[str, ...], environment: Mapping[str, str], *, is_trial: bool = False
) -> WatcherSettings:
    """The settings in a document that was read from `path`."""
    _check_shape(document)
    hub: HubSettings = _section(HubSettings, "hub", document.get("hub", {}))
    if hub.url and not hub.url.startswith(("http://", "https://")):
        raise BadSettings(f"hub.url begins with https:// or http://, unlike {hub.url!r}")
    if not hub.timeout > 0:
        raise BadSettings("hub.timeout is more than 0 seconds")
    direct = {name: _beside(document[name], name, path.parent) for name in ("mail", "telegram") if document.get(name)}
    if any(table.get(name) for table in (document.get("hub", {}), *direct.values()) for name in ("token", "password", "bot-id")):
        check_private(path)
    token = "" if is_trial else _token(hub, environment, path.parent)
    hub = HubSettings(hub.url or environment.get("ANGELIA_URL", ""), token, hub.token_file, hub.timeout)
    watches = [_watch(table) for table in document.get("watch", [])]
    watches += _watches_of(logs)
    if not watches:
        raise BadSettings(f"{path} names no log: give [[watch]] with paths, or --log FILE")
    if len({watch.name for watch in watches}) < len(watches):
        raise BadSettings("two watches have the same name; the ids of their messages begin with it")
    if not hub.url and not direct and not is_trial:
        raise BadSettings(f"{path} says nobody to tell: give [hub] with url, or mail or telegram")
    state = Path(document.get("state", "watch-state"))
    return WatcherSettings(hub, tuple(watches), state if state.is_absolute() else path.parent / state, direct, _notices(document))


def _beside(table: Mapping[str, Any], section: str, folder: Path) -> dict[str, Any]:
    """The table, its files looked for in the folder of the configuration; an absolute path stays what it is."""
    files = {name: value for name, value in table.items() if name.endswith("_file") and value}
    for name, value in files.items():
        if not isinstance(value, str):
            raise BadSettings(f"{section}.{name} is the name of a file")
    return {**table, **{name: str(folder / value) for name, value in files.items()}}


def _notices(document: Mapping[str, Any]) -> bool:
    wanted = document.get("notices", False)
    if not isinstance(wanted, bool):
        raise BadSettings("notices is true or false")
    if wanted and sys.platform != "linux" and importlib.util.find_spec("watchfiles") is None:
        raise BadSettings("notices need the extra: pip install 'angelia[watch]'")
    return wanted


def _watch(table: Any) -> WatchSettings:
    watch: WatchSettings = _section(WatchSettings, "watch", table)
    if not _NAME.fullmatch(watch.name) or not watch.paths:
        raise BadSettings("each watch has a name (letters, digits, '-' or '_') and paths")
    if any(letter < " " for path in watch.paths for letter in path):
        # "D:\temp\new.log" in double quotes is a tab and a new line, and no error anywhere.
        raise BadSettings(f"watch {watch.name}: paths hold a control character; {_HINT}")
    if not re.fullmatch(r"end|beginning|last:\d{1,6}", watch.start):
        raise BadSettings("watch.start is end, beginning or last:<lines>")
    if unknown := set(watch.dedup_key) - set(DEDUP_NAMES):
        # All records are the same by what none of them has: one would be told, and the rest counted.
        raise BadSettings(f"watch.dedup_key knows no {min(unknown)}; there are {', '.join(DEDUP_NAMES)}")
    try:
        ZoneInfo(watch.timezone)
        for encoding in (watch.fallback_encoding, *([watch.encoding] if watch.encoding != "auto" else [])):
            " ".encode(encoding)  # nothing to encode would be done without a look at the name
        datetime.strptime(_SOME_DAY.strftime(watch.time_format), watch.time_format)  # noqa: DTZ007 - it is only tried
        for pattern in (watch.measurement_start, watch.measurement_end):
            _check_groups(watch, pattern, {"name"})
        _check_groups(watch, watch.fields, {"kind", "level", "device", "text", "time"})
    except (KeyError, ValueError, LookupError, OSError) as error:
        raise BadSettings(f"watch {watch.name}: {error}") from None
    watch.lengths()
    rules_of(watch)
    return watch


def _check_groups(watch: WatchSettings, pattern: str, known: set[str]) -> None:
    """A group with a name that nobody asks for is one with a slip in it."""
    if strange := set(compiled(pattern).groupindex) - known:
        raise BadSettings(f"watch {watch.name}: there is no group {min(strange)}; there are {', '.join(sorted(known))}")


def _token(hub: HubSettings, environment: Mapping[str, str], folder: Path) -> str:
    if hub.token or not hub.token_file:
        return hub.token or environment.get("ANGELIA_TOKEN", "")
    return secret_in(folder / hub.token_file)  # an absolute path stays what it is


def secret_in(path: Path) -> str:
    """The secret that a file holds; the file must be private."""
    check_private(path)
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeError) as error:
        raise BadSettings(f"{path} can't be read: {error}") from None


def check_private(path: Path) -> None:
    """BadSettings where everybody on this machine may read a file with a secret."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise BadSettings(f"{path} can't be read: {error.strerror}") from None
    if os.name != "nt" and mode & 0o004:
        raise BadSettings(f"{path} holds a secret, and everybody may read it: chmod 600 it")


def all_settings() -> list[tuple[str, Any, str]]:
    """(name, default, help) of every setting, for the reference."""
    return [
        (f"{section}.{item.name}", item.default, item.metadata.get("help", ""))
        for section, kind in (("hub", HubSettings), ("watch", WatchSettings))
        for item in fields(kind)
    ]
