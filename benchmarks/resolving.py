"""How long does it take to decide for one person with 20 preferences and 20 rules?"""

import statistics
import time
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from angelia.model.message import Message, Recipient
from angelia.model.person import Person
from angelia.planning.decision import Profile, Standing
from angelia.planning.document import parse_site, parse_wants
from angelia.planning.resolve import resolve

SITE = parse_site(
    {
        "preferences": {"*": {"web": "now", "mail": "daily"}, "obs.build": {"mail": "hourly"}},
        "audience": {"obs.build.fail": ["maintainer"]},
        "schedules": {"hourly": {"every": "hour"}, "daily": {"every": "day", "at": ["08:00"]}},
    }
)
NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)


def profile(last: dict[str, object]) -> Profile:
    rules = [{"id": str(n), "type": f"other{n}.type", "when": {"project": [f"P{n}"]}, "do": {"mail": "now"}} for n in range(19)]
    wants = {
        "preferences": {f"type{n}.x": {"mail": "daily"} for n in range(19)} | {"obs": {"mail": "daily"}},
        "rules": [*rules, {"id": "last"} | last],
    }
    person = Person(person_id=1, login="alice", time_zone="Europe/Berlin")
    return Profile(person, parse_wants(wants, known_schedules=SITE.schedules), ZoneInfo("Europe/Berlin"), frozenset({"web", "mail"}))


def main() -> None:
    message = Message(
        message_id=1, source="ci", type="obs.build.fail", received_at=NOW, occurred_at=NOW, recipients=(Recipient("alice"),),
        object="KDE/okular", params={"project": "KDE", "arch": "x86_64"},
    )  # fmt: skip
    print("| rules | median us | p99 us |\n|---|---|---|")
    for name, last in (
        ("none of 20 matches", {"type": "none", "do": {"mail": "now"}}),
        ("the last of 20 matches, final", {"type": "obs.build", "when": {"project": ["KDE"]}, "do": {"mail": "now"}}),
        ("the last of 20 matches, with a pattern", {"type": "obs.*.fail", "final": False, "do": {"mail": "now"}}),
    ):
        made, standing, times = profile(last), Standing(frozenset({"maintainer"})), []
        for _ in range(20_000):
            began = time.perf_counter_ns()
            resolve(message, made, standing, SITE, NOW)
            times.append((time.perf_counter_ns() - began) / 1e3)
        print(f"| {name} | {statistics.median(times):.1f} | {statistics.quantiles(times, n=100)[98]:.1f} |")


if __name__ == "__main__":
    main()
