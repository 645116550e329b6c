"""The rules of precedence: the site's cases, the given acceptance cases, and properties."""

import copy
import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angelia.model.errors import InvalidInput
from angelia.planning.trial import differences, run

SITE = {
    "preferences": {
        "*": {"web": "now", "mail": "daily"},
        "obs.build": {"web": "now", "mail": "hourly"},
        "obs.build.success": {"web": "off", "mail": "off"},
        "obs.request": {"web": "now", "mail": "now"},
    },
    "audience": {"obs.build.fail": ["maintainer"], "obs.request": ["creator", "reviewer", "watcher"]},
    "locks": {"account.security": ["mail", "web"]},
    "schedules": {"hourly": {"every": "hour"}, "daily": {"every": "day", "at": ["08:00"]}},
    "interruptive": ["chat"],
}
AT = "2024-03-05T14:00:00+01:00"
WEB = {"web": {"outcome": "now"}}
DAILY = {"mail": {"outcome": "digest", "schedule": "daily", "due": "2024-03-06T08:00:00+01:00"}}
HOURLY = {"mail": {"outcome": "digest", "schedule": "hourly", "due": "2024-03-05T15:00:00+01:00"}}
MAIL, CHAT = {"mail": {"outcome": "now"}}, {"chat": {"outcome": "now"}}
NO_CHAT = {"chat": {"outcome": "skipped", "reason": "no_verified_address"}}
WIKI = {"type": "wiki.change", "to": ["kim"]}
FAIL = {"type": "obs.build.fail", "actor": "obs", "object": "KDE/okular", "params": {"project": "KDE", "package": "okular", "arch": "x86_64"}}
MINE, NOBODY = ["maintainer"], []
COMMENT = {"type": "obs.request.comment", "object": "req/1"}
SECURITY = {"type": "account.security", "to": ["kim"]}
KDE = {"type": "obs.build.fail", "when": {"project": ["KDE"]}}
OWN = {"type": "obs.build.fail", "role": "maintainer"}
HOLD = {"hold": {"until": "2024-03-20T00:00:00+01:00", "policy": {"*": "keep", "obs.build": "drop"}},
        "preferences": {"obs.request": {"mail": "now", "chat": "now"}}}  # fmt: skip
QUIET = {"quiet": ["22:00", "07:00"], "preferences": {"obs.request": {"chat": "now"}}}
LATE = COMMENT | {"at": "2024-03-05T23:30:00+01:00"}
LOCKED = {"outcome": "now", "locked": True}

CASES = {
    "A1": ({}, WIKI, NOBODY, WEB | DAILY),
    "A2": ({"unknown": {"mail": "off", "chat": "now"}}, WIKI, NOBODY, WEB | CHAT),
    "A3": ({"unknown": {"mail": "now"}}, FAIL, MINE, WEB | HOURLY),
    "A4": ({"preferences": {"*": {"mail": "off"}}}, FAIL, MINE, WEB),
    "A5": ({"preferences": {"obs.build.fail": {"mail": "now"}}}, FAIL, MINE, WEB | MAIL),
    "A6": ({"preferences": {"obs": {"mail": "daily"}}}, FAIL, MINE, WEB | DAILY),
    "A7": ({"preferences": {"obs.build": {"mail": "off"}, "obs.build.fail": {"mail": "now"}}}, FAIL, MINE, WEB | MAIL),
    "A8": ({"preferences": {"obs.build": {"mail": "off"}}}, {"type": "obs.build.success", "to": ["kim"]}, NOBODY, {}),
    "A9": ({"preferences": {"obs.build": {"mail": "daily"}, "obs.build.fail": {"chat": "now"}}}, FAIL, MINE, WEB | DAILY | CHAT),
    "A10": ({}, FAIL, NOBODY, None),
    "A11": ({}, FAIL, MINE, WEB | HOURLY),
    "A12": ({"rules": [KDE | {"do": {"chat": "now"}}]}, FAIL, NOBODY, WEB | CHAT),
    "A13": ({"rules": [KDE | {"do": {"chat": "now"}, "final": False}]}, FAIL, NOBODY, WEB | HOURLY | CHAT),
    "A14": ({"rules": [OWN | {"do": {"mail": "now"}}, KDE | {"do": {"mail": "daily"}}]}, FAIL, MINE, WEB | MAIL),
    "A15": ({"rules": [KDE | {"do": {"mail": "daily"}}, OWN | {"do": {"mail": "now"}}]}, FAIL, MINE, WEB | DAILY),
    "A16": (
        {"rules": [{"type": "obs.build", "when": {"arch": ["s390x"]}, "do": {"web": "off", "mail": "off"}}, OWN | {"do": {"mail": "now"}}]},
        FAIL | {"params": {"project": "KDE", "arch": "s390x"}}, MINE, {},
    ),
    "A17": ({"preferences": {"obs.build.fail": {"mail": "now"}}}, FAIL | {"actor": "kim"}, MINE, {}),
    "A18": ({"rules": [OWN | {"do": {"mail": "now"}, "include_own": True}]}, FAIL | {"actor": "kim"}, MINE, WEB | MAIL),
    "A19": ({}, {"type": "report.done", "to": ["kim"], "actor": "kim"}, NOBODY, WEB | DAILY),
    "A20": ({"mutes": {"req/1": "normal"}}, COMMENT, ["watcher"], {}),
    "a mute that lasts": ({"mutes": {"req/1": {"level": "normal", "until": "2024-03-05T14:00:01+01:00"}}}, COMMENT, ["watcher"], {}),
    "a mute that is over": ({"mutes": {"req/1": {"level": "full", "until": "2024-03-05T14:00:00+01:00"}}}, COMMENT, ["watcher"], WEB | MAIL),
    "a mute that is over does not hide a wider one": (
        {"mutes": {"req/1": {"until": "2024-03-01T00:00:00Z"}, "req/": "full"}}, COMMENT | {"to": ["kim"]}, NOBODY, {},
    ),
    "A21": ({"mutes": {"req/1": "normal"}}, COMMENT | {"to": ["kim"]}, NOBODY, WEB | MAIL),
    "A22": ({"mutes": {"req/1": "normal"}}, COMMENT | {"cc": ["kim"]}, NOBODY, {}),
    "A23": ({"mutes": {"req/1": "full"}}, COMMENT | {"to": ["kim"]}, NOBODY, {}),
    "A24": (
        {"preferences": {"*": {"mail": "off"}}, "paused": ["mail"], "hold": {"until": "2024-03-20T00:00:00+01:00", "policy": {"*": "drop"}}},
        SECURITY, NOBODY, {"web": LOCKED, "mail": LOCKED},
    ),
    "A25": (HOLD, COMMENT, ["watcher"], WEB | {"mail": {"outcome": "held", "due": "2024-03-20T00:00:00+01:00"}}),
    "A26": (HOLD, FAIL, MINE, {}),
    "A27": (HOLD, COMMENT | {"severity": "urgent"}, ["watcher"], WEB | MAIL | CHAT),
    "A28": (QUIET, LATE, ["watcher"], WEB | MAIL | {"chat": {"outcome": "deferred", "due": "2024-03-06T07:00:00+01:00"}}),
    "A29": (QUIET, LATE | {"severity": "urgent"}, ["watcher"], WEB | MAIL | CHAT),
    "A30": ({"preferences": {"*": {"chat": "now"}}, "verified": ["web", "mail"]}, WIKI, NOBODY, WEB | DAILY | NO_CHAT),
    "A31": ({"groups": {"qa": []}}, WIKI | {"to": ["group:qa"]}, NOBODY, WEB),
    "A32": ({"groups": {"qa": ["mail"]}}, WIKI | {"to": ["group:qa"]}, NOBODY, WEB | DAILY),
    "A33": ({"rules": [{"type": "obs.build.fail", "do": {"mail": "now"}}]}, FAIL | {"restricted": True}, NOBODY, None),
    "A34": ({"active": False, "preferences": {"obs.build.fail": {"mail": "now"}}}, FAIL, MINE, None),
    "A35": ({"follows": ["KDE/okular"]}, FAIL, NOBODY, WEB | HOURLY),
    "A36": ({"rules": [{"min_severity": "high", "do": {"chat": "now"}, "final": False}]}, FAIL, MINE, WEB | HOURLY),
    "A37": (
        {"preferences": {"obs.build.fail": {"mail": "daily"}}, "time_zone": "America/New_York"},
        FAIL | {"at": "2024-03-05T13:30:00+01:00"}, MINE,
        WEB | {"mail": {"outcome": "digest", "schedule": "daily", "due": "2024-03-05T08:00:00-05:00"}},
    ),
    "A38": ({"rules": [{"type": "obs.build.fail", "do": {"web": "off", "mail": "off"}}]}, FAIL, NOBODY, None),
    "A39": ({"paused": ["mail"]}, FAIL, MINE, WEB),
    "A40": (
        {"rules": [{"min_severity": "high", "do": {"chat": "now"}, "final": False}]}, FAIL | {"severity": "high"}, MINE, WEB | HOURLY | CHAT,
    ),
    "A41": (
        {"verified": ["web", "chat"]}, SECURITY, NOBODY,
        {"web": LOCKED, "mail": {"outcome": "skipped", "reason": "no_verified_address"}},
    ),
    "A42": ({"rules": [OWN | {"do": {"mail": "now"}}, KDE | {"do": {"chat": "now"}}]}, FAIL, MINE, WEB | MAIL),
    "A43": (
        {"rules": [OWN | {"do": {"mail": "daily"}, "final": False}, KDE | {"do": {"mail": "now", "chat": "now"}}]}, FAIL, MINE,
        WEB | DAILY | CHAT,
    ),
    "a parameter is no field of the message": (
        {"rules": [{"when": {"message.source": ["ci"]}, "do": {"mail": "now"}}]}, FAIL | {"source": "x", "params": {"message.source": "ci"}}, NOBODY, None,
    ),
    "a parameter hides no field of the message": (
        {"rules": [{"when": {"message.source": ["ci"]}, "do": {"mail": "now"}}]}, FAIL | {"source": "ci", "params": {"message.source": "x"}}, NOBODY,
        WEB | MAIL,
    ),
    "a parameter is no tag": (
        {"rules": [{"when": {"tag.arch": ["s390x"]}, "do": {"mail": "now"}}]}, FAIL | {"params": {"tag.arch": "s390x"}, "tags": [["os", "linux"]]}, NOBODY,
        None,
    ),
    "a hold that is over when it may go": (
        HOLD, COMMENT | {"not_before": "2024-03-21T00:00:00+01:00"}, ["watcher"],
        {agent: {"outcome": "deferred", "due": "2024-03-21T00:00:00+01:00"} for agent in ("web", "mail", "chat")},
    ),
    "a hold that has begun when it may go": (
        {"hold": {"since": "2024-03-06T00:00:00+01:00", "until": "2024-03-20T00:00:00+01:00"}},
        COMMENT | {"not_before": "2024-03-10T00:00:00+01:00"}, ["watcher"],
        {"web": {"outcome": "deferred", "due": "2024-03-10T00:00:00+01:00"}, "mail": {"outcome": "held", "due": "2024-03-20T00:00:00+01:00"}},
    ),
    "a lock does not hurry the sender": (
        {}, SECURITY | {"not_before": "2024-03-10T00:00:00+01:00"}, NOBODY,
        {agent: {"outcome": "deferred", "due": "2024-03-10T00:00:00+01:00", "locked": True} for agent in ("web", "mail")},
    ),
    "A44": ({"preferences": {"*": {"mail": "off"}, "obs.build": {"mail": "now"}}}, FAIL, MINE, WEB | MAIL),
}  # fmt: skip


def scenario(person, message, roles):
    kim = {"login": "kim", "time_zone": "Europe/Berlin", "active": True, "verified": ["web", "mail", "chat", "feed"]} | person
    access = [] if message.get("restricted") else ["kim"]
    return {"site": SITE, "users": [kim], "message": {"at": AT} | message, "relations": {"kim": roles}, "access": access}


@pytest.mark.parametrize("case", CASES)
def test_case(case):
    person, message, roles, expected = CASES[case]
    assert differences({"kim": expected}, run(scenario(person, message, roles))) == []


GIVEN = Path(__file__).parents[3] / "shared" / "acceptance" / "preferences.jsonl"
LINES = GIVEN.read_text().splitlines() if GIVEN.exists() else []


@pytest.mark.parametrize("line", LINES, ids=[json.loads(line)["id"] for line in LINES])
def test_given_case(line):
    case = json.loads(line)
    assert differences(case["expect"], run(case["scenario"])) == []


@given(st.sampled_from(sorted(CASES)), st.dictionaries(st.sampled_from(["web", "mail", "chat"]), st.sampled_from(["off", "now", "daily"])))
def test_a_rule_below_a_final_one_that_matches_changes_nothing(case, do):
    person, message, roles, _ = CASES[case]
    first = copy.deepcopy(person)
    first["rules"] = [{"id": "final", "do": {"mail": "now"}}]
    more = copy.deepcopy(first)
    more["rules"].append({"id": "below", "do": do, "include_own": True})
    one, two = (run(scenario(wants, message, roles))["kim"] for wants in (first, more))
    assert one == two


@given(st.sampled_from(sorted(CASES)))
def test_a_lock_never_adds_a_recipient(case):
    person, message, roles, expected = CASES[case]
    site = copy.deepcopy(SITE)
    site["locks"]["*"] = ["mail"]
    answer = run(scenario(person, message, roles) | {"site": site})
    assert (answer["kim"] is None) == (expected is None)


_HOURS = st.integers(-30, 600)


@given(
    st.sampled_from(sorted(CASES)),
    _HOURS,
    st.one_of(st.none(), st.tuples(_HOURS, _HOURS)),
    st.booleans(),
    st.sampled_from(["now", "daily", "hourly"]),
)
def test_nothing_is_due_before_its_sender_wants(case, hours, hold, is_quiet, when):
    person, message, roles, _ = CASES[case]
    not_before = _after(hours)
    wants = {"preferences": {"*": {"mail": when, "chat": "now"}}} | copy.deepcopy(person)
    if hold is not None:
        wants["hold"] = {"since": _after(min(hold)).isoformat(), "until": _after(max(hold) + 1).isoformat()}
    if is_quiet:
        wants["quiet"] = ["22:00", "07:00"]
    answer = run(scenario(wants, message | {"not_before": not_before.isoformat()}, roles))["kim"] or {}
    is_early = datetime.fromisoformat(message.get("at", AT)) < not_before
    for told in answer.values():
        if told["outcome"] != "skipped" and is_early:
            assert datetime.fromisoformat(told["due"]) >= not_before


def _after(hours):
    return datetime.fromisoformat(AT) + timedelta(hours=hours)


@pytest.mark.parametrize(
    ("person", "field"),
    [
        ({"preferences": {"*": {"mail": "sometimes"}}}, "preferences.*.mail"),
        ({"rules": [{"do": {"mail": "now"}, "when": {"x": {"regexp": ["(a)\\1"]}}}]}, "rules.0.when.x"),
        ({"quiet": ["25:00", "07:00"]}, "quiet"),
        ({"hold": {}}, "hold.until"),
        ({"preferencs": {}}, "preferencs"),
    ],
)
def test_a_document_that_is_wrong_names_its_field(person, field):
    with pytest.raises(InvalidInput) as caught:
        run(scenario(person, WIKI, NOBODY))
    assert caught.value.field.endswith(field)
