"""One click ends one thing, another takes it back: pages for people who are not signed in, POST as RFC 8058 says."""

import re
from datetime import timedelta

import pytest
from tests.house.conftest import SITE

from angelia.flow.unsubscribe import make_token

RULES = [{"id": "r1", "type": "obs", "do": {"mail": "daily", "web": "now"}}, {"id": "r2", "do": {"web": "now"}}]
DOCUMENT = {"preferences": {"obs.build": {"mail": "daily", "web": "now"}}, "rules": RULES, "mutes": {"KDE/kate": "full"}}


@pytest.mark.parametrize(
    ("kind", "value"),
    [("type", "obs.build"), ("type", "wiki"), ("rule", "r1"), ("rule", "gone"), ("object", "KDE/okular"), ("object", "KDE/kate")],
)
async def test_an_end_is_taken_back(bench, house, outside, kind, value):
    await bench.person("alice", preferences=DOCUMENT)
    path = f"/unsubscribe/{make_token(house.secret, (await bench.store.person('alice')).person_id, 'mail', kind, value)}"
    asked = await outside.get(path)
    assert asked.status_code == 200 and "Stop them" in asked.text and value in asked.text and '<html lang="en"' in asked.text
    assert asked.headers["referrer-policy"] == "no-referrer"
    assert await bench.call("GET", "/api/v1/people/alice/preferences") == DOCUMENT
    one_click = {"Content-Type": "application/x-www-form-urlencoded"}
    for _ in range(2):  # a mail program's click, then her own
        done = await outside.post(path, content=b"List-Unsubscribe=One-Click", headers=one_click)
        assert done.status_code == 200 and "no longer come" in done.text
    ended = await bench.call("GET", "/api/v1/people/alice/preferences")
    assert (ended == DOCUMENT) is (value in ("gone", "KDE/kate"))
    undo = re.search(r'action="(/unsubscribe/[^"]+/undo)"', done.text)[1]
    assert "These come again" in (await outside.post(undo)).text
    after = await bench.call("GET", "/api/v1/people/alice/preferences")
    if kind == "rule":
        assert all(rule["do"].get("mail") != "off" for rule in after["rules"])
    elif value == "obs.build":
        assert after["preferences"] == {"obs.build": {"web": "now"}}  # what the first click changed is no longer known: back to what is inherited
    else:
        assert after == DOCUMENT | {"mutes": after["mutes"], "preferences": after["preferences"]}
        assert after["mutes"] == DOCUMENT["mutes"] and after["preferences"] == DOCUMENT["preferences"]


async def test_what_waits_by_a_rule_goes_with_the_rule(bench, outside):
    rules = [{"id": "r1", "type": "obs", "do": {"mail": "daily"}}, {"id": "r2", "type": "wiki", "do": {"mail": "now"}}]
    await bench.person("alice", preferences={"rules": rules})
    await bench.call("PATCH", "/api/v1/agents/mail", {"is_paused": True}, 200)
    await bench.post("obs.build")
    await bench.post("wiki.change")
    await bench.work()
    assert await bench.states() == [("held", "schedule"), ("due", "chosen")]
    for rule in ("r1", "r2"):
        token = make_token(bench.house.secret, (await bench.store.person("alice")).person_id, "mail", "rule", rule)
        assert (await outside.post(f"/unsubscribe/{token}")).status_code == 200
    await bench.call("PATCH", "/api/v1/agents/mail", {"is_paused": False}, 200)
    bench.relay._looked_at = 0.0
    await bench.work(bench.now + timedelta(days=1))
    assert not bench.mail.letters and await bench.states() == [("suppressed", "rule_off")] * 2


async def test_after_one_click_all_is_as_it_was(bench, house, outside):
    await bench.person("alice", preferences=DOCUMENT)
    person_id = (await bench.store.person("alice")).person_id
    for kind, value in (("type", "obs.build"), ("rule", "r1"), ("object", "KDE/kate"), ("object", "x")):
        done = await outside.post(f"/unsubscribe/{make_token(house.secret, person_id, 'mail', kind, value)}")
        undo = re.search(r'action="(/unsubscribe/[^"]+/undo)"', done.text)[1]
        assert (await outside.get(undo)).status_code == 405
        await outside.post(undo)
        assert await bench.call("GET", "/api/v1/people/alice/preferences") == DOCUMENT, (kind, value)


async def test_an_end_holds_for_single_addresses_too(bench, house, outside):
    document = {"preferences": {"obs.build": {"mail:alice@example.org": "now", "mail": {"when": "now", "form": "short"}, "web": "now"}}}
    await bench.person("alice", preferences=document)
    done = await outside.post(f"/unsubscribe/{make_token(house.secret, (await bench.store.person('alice')).person_id, 'mail', 'type', 'obs.build')}")
    await bench.post("obs.build", to=["alice"])
    await bench.work()
    assert bench.mail.letters == []
    await outside.post(re.search(r'action="(/unsubscribe/[^"]+/undo)"', done.text)[1])
    assert await bench.call("GET", "/api/v1/people/alice/preferences") == document


async def test_a_schedule_that_was_taken_away_keeps_nobody_from_an_end(bench, house, outside):
    await bench.person("alice", preferences={"preferences": {"obs": {"mail": "hourly"}}})
    await bench.call("PUT", "/api/v1/site", SITE | {"schedules": {"daily": {"every": "day"}}}, 200)
    token = make_token(house.secret, (await bench.store.person("alice")).person_id, "mail", "type", "obs.build")
    assert (await outside.post(f"/unsubscribe/{token}")).status_code == 200
    kept = await bench.call("GET", "/api/v1/people/alice/preferences")
    assert kept["preferences"] == {"obs": {"mail": "hourly"}, "obs.build": {"mail": "off"}}
    refused = await bench.call("PUT", "/api/v1/people/alice/preferences", kept, 422)
    assert refused["errors"][0]["field"] == "preferences.obs.mail"  # a whole document that she hands in names what there is


async def test_one_click_in_a_digest_ends_all_that_is_in_it_and_is_taken_back(bench, outside):
    rules = [{"id": "r1", "type": "obs", "do": {"mail": "daily", "web": "now"}}]
    document = {"preferences": {"*": {"mail": "daily"}, "wiki.change": {"mail": "daily", "web": "now"}}, "rules": rules}
    await bench.person("alice", preferences=document)
    await bench.person("bob", preferences={"preferences": {"*": {"mail": "daily"}}})
    for kind in ("wiki.change", "wiki.change", "obs.build", "news.item"):
        await bench.post(kind, to=["alice", "bob"])
    await bench.work()
    later = bench.now + timedelta(days=1)
    await bench.work(later)
    letter = next(letter for letter in bench.mail.letters if letter.person.login == "alice")
    path = letter.unsubscribe_url.removeprefix("http://hub")
    asked = await outside.get(path)
    assert all(f"<strong>{value}</strong>" in asked.text for value in ("wiki.change", "news.item", "r1")) and asked.text.count("<li>") == 3
    assert await bench.call("GET", "/api/v1/people/alice/preferences") == document
    await bench.post("wiki.change", to=["alice"])
    await bench.work(later)
    assert ("held", "schedule") in await bench.states()
    done = await outside.post(path, content=b"List-Unsubscribe=One-Click", headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert done.status_code == 200 and "no longer come" in done.text
    ended = await bench.call("GET", "/api/v1/people/alice/preferences")
    assert ended["preferences"]["wiki.change"] == {"mail": "off", "web": "now"} and ended["preferences"]["news.item"] == {"mail": "off"}
    assert ended["preferences"]["*"] == {"mail": "daily"} and ended["rules"][0]["do"] == {"mail": "off", "web": "now"}
    assert (await bench.states())[-1] == ("suppressed", "unsubscribed")  # what already waited goes with it
    assert (await bench.call("GET", "/api/v1/people/bob/preferences"))["preferences"] == {"*": {"mail": "daily"}}
    undone = await outside.post(re.search(r'action="(/unsubscribe/[^"]+/undo)"', done.text)[1])
    assert "These come again" in undone.text
    assert await bench.call("GET", "/api/v1/people/alice/preferences") == document
    gone = make_token(bench.house.secret, (await bench.store.person("alice")).person_id, "mail", "digest", "1")
    for method in ("GET", "POST"):
        assert (await outside.request(method, f"/unsubscribe/{gone}")).status_code == 404


async def test_tokens_of_one_purpose_serve_no_other(bench, house, outside):  # E91
    await bench.person("alice")
    token = make_token(house.secret, (await bench.store.person("alice")).person_id, "mail", "type", "obs")
    assert (await outside.post(f"/unsubscribe/{token}/undo")).status_code == 403
    done = await outside.post(f"/unsubscribe/{token}")
    undo = re.search(r'action="(/unsubscribe/[^"]+)/undo"', done.text)[1]
    assert (await outside.post(undo)).status_code == 403
    for bad in ("x", "x" * 9_000, "%ff", "ä"):
        answer = await outside.get(f"/unsubscribe/{bad}")
        assert answer.status_code == 403 and "not one of ours" in answer.text


A, B = ({"type": kind, "do": {"mail": "now", "web": "now"}} for kind in ("a", "b"))
ENDED = B | {"do": {"mail": "off", "web": "now"}}


@pytest.mark.parametrize(
    ("before", "after", "ended"),
    [
        ([A, B], [B, A], [ENDED, A]),
        ([A, B], [A, B], [A, ENDED]),
        ([A, B], [A | {"id": "2"}, B | {"id": "1"}], [A | {"id": "2"}, ENDED | {"id": "1"}]),  # a page gave them ids
        ([A, B | {"id": "b"}], [B | {"id": "b"}, A], [ENDED | {"id": "b"}, A]),
        ([A, B], [A, B | {"min_severity": "high"}], None),
        ([A, B], [A], None),
    ],
)
@pytest.mark.parametrize("is_digest", [False, True])
async def test_a_link_ends_the_rule_that_sent_it_wherever_it_stands(bench, outside, before, after, ended, is_digest):
    when = "daily" if is_digest else "now"
    await bench.person("alice", preferences={"rules": _by_mail(before, when)})
    await bench.post("b.x")
    await bench.work()
    await bench.work(bench.now + timedelta(days=1))
    (letter,) = bench.mail.letters
    link = letter.unsubscribe_url.removeprefix("http://hub")
    saved = {"rules": _by_mail(after, when)}
    await bench.call("PUT", "/api/v1/people/alice/preferences", saved, 200)
    for _ in range(2):
        done = await outside.post(link)
    now = await bench.call("GET", "/api/v1/people/alice/preferences")
    if ended is None and is_digest:  # no rule sends it now: its type ends
        assert done.status_code == 200 and now == saved | {"preferences": {"b.x": {"mail": "off"}}}
    elif ended is None:
        assert done.status_code == 404 and 'href="/rules"' in done.text and now == saved
    else:
        assert done.status_code == 200 and now == {"rules": _by_mail(ended, when)}
        place = next(place for place, rule in enumerate(ended, 1) if rule["do"]["mail"] == "off")
        assert f"<strong>{ended[place - 1].get('id', place)}</strong>" in done.text and "~" not in re.sub('/unsubscribe/[^"]+', "", done.text)
        await outside.post(re.search(r'action="(/unsubscribe/[^"]+/undo)"', done.text)[1])
        assert (await bench.call("GET", "/api/v1/people/alice/preferences"))["rules"][place - 1]["do"]["mail"] != "off"


def _by_mail(rules, when):
    return [rule | {"do": {"mail": when if rule["do"]["mail"] == "now" else "off", "web": "now"}} for rule in rules]


async def test_a_letter_that_waited_ends_the_rule_that_sends_such_messages_now(bench, outside):
    await bench.person("alice", preferences={"rules": [A, B]})
    await bench.call("PATCH", "/api/v1/agents/mail", {"is_paused": True}, 200)
    await bench.post("b.x")
    await bench.work()
    await bench.call("PUT", "/api/v1/people/alice/preferences", {"rules": [B, A]}, 200)
    await bench.call("PATCH", "/api/v1/agents/mail", {"is_paused": False}, 200)
    bench.relay._looked_at = 0.0
    await bench.work()
    await outside.post(bench.mail.letters[0].unsubscribe_url.removeprefix("http://hub"))
    assert (await bench.call("GET", "/api/v1/people/alice/preferences"))["rules"] == [ENDED, A]


@pytest.mark.parametrize(("rules", "status"), [([A, B], 404), ([A, B | {"id": "2"}], 200), ([], 200)])
async def test_a_link_that_knows_a_number_only_ends_no_rule_without_an_id(bench, outside, rules, status):
    await bench.person("alice", preferences={"rules": rules})
    link = f"/unsubscribe/{make_token(bench.house.secret, (await bench.store.person('alice')).person_id, 'mail', 'rule', '2')}"
    assert (await outside.get(link)).status_code == status
    done = await outside.post(link)
    assert done.status_code == status and ('href="/rules"' in done.text) is (status == 404)
    assert (await bench.call("GET", "/api/v1/people/alice/preferences"))["rules"] == ([A, ENDED | {"id": "2"}] if status == 200 and rules else rules)
