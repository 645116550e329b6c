"""What a group's own address changes for its members: the given rule R8 and nothing else."""

import pytest

from angelia.planning.trial import run

SITE = {"preferences": {"*": {"web": "now", "mail": "now"}}, "schedules": {"daily": {"every": "day"}}}
AT = "2024-03-05T14:00:00+01:00"


def outcome(person, own, **message):
    alice = {"login": "alice", "verified": ["web", "mail", "chat"]} | person
    message = {"type": "a.b", "at": AT, "to": ["group:qa"]} | message
    answer = run({"site": SITE, "users": [alice], "message": message, "groups": own})
    return sorted(answer["alice"]), answer["explain"]["alice"]["agents"]["mail"]["reason"]


@pytest.mark.parametrize(
    ("person", "own", "message", "expected"),
    [
        ({"groups": {"qa": ["mail"]}}, {}, {}, (["mail", "web"], "chosen")),
        ({"groups": {"qa": ["mail"]}}, {"qa": ["mail"]}, {}, (["web"], "group_address")),
        ({"groups": {"qa": ["mail"]}}, {"qa": ["chat"]}, {}, (["mail", "web"], "chosen")),
        ({"groups": {"qa": []}}, {"qa": ["mail"]}, {}, (["web"], "group_not_accepted")),
        ({"groups": {"qa": ["mail"]}}, {"qa": ["mail"]}, {"to": ["group:qa", "alice"]}, (["mail", "web"], "chosen")),
        ({"groups": {"qa": ["mail"], "dev": ["mail"]}}, {"qa": ["mail"]}, {"to": ["group:qa", "group:dev"]}, (["mail", "web"], "chosen")),
        ({"groups": {"qa": ["mail"], "dev": []}}, {"qa": ["mail"]}, {"to": ["group:qa", "group:dev"]}, (["web"], "group_address")),
    ],
)
def test_a_member(person, own, message, expected):
    assert outcome(person, own, **message) == expected


def test_the_group_itself_is_told_once_where_it_can_be_reached():
    group = {"login": "group:qa", "verified": ["mail"]}
    answer = run({"site": SITE, "users": [group], "message": {"type": "a.b", "at": AT, "to": ["group:qa"]}})
    assert answer["group:qa"] == {"mail": {"outcome": "now"}}
    assert answer["explain"]["group:qa"]["because"] == ["group:qa"]
