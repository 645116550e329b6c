"""Rules and why as pages, and the routes of the API behind them."""

import itertools
import json
import re
from collections import Counter
from dataclasses import replace

import httpx2
import pytest

from angelia.flow.profiles import profile_of
from angelia.front import app_of
from angelia.planning.decision import Standing
from angelia.planning.document import parse_wants
from angelia.planning.resolve import resolve

OWN = {"Sec-Fetch-Site": "same-origin"}
PLACES = itertools.cycle(range(1, 100))
"""Each browser at a place of its own: signing in is rate-limited by place."""
FAIL = {"type": "obs.build.fail", "params": {"project": "KDE", "package": "okular"}, "tags": [["team", "desktop"]], "object": "KDE/okular"}
KDE = {"id": "kde", "name": "KDE builds", "type": "obs.build.fail", "when": {"project": ["KDE"]}, "min_severity": "high", "do": {"mail": "now"}}


@pytest.fixture
async def alice(bench, house):
    """A browser in which alice is signed in; she has three messages, two of them failed builds."""
    await bench.person("alice")
    await bench.person("bob")
    for login in ("alice", "bob"):
        await bench.call("PUT", f"/api/v1/people/{login}/password", {"password": f"pass-of-{login}"}, 204)
    await bench.post(**FAIL, to=["alice"], subject="okular failed", severity="high")
    await bench.post(**FAIL | {"params": {"project": "GNOME", "package": "gedit"}}, to=["alice"], subject="gedit failed")
    await bench.post("wiki.change", to=["alice"], subject="a page changed")
    await bench.work()
    async with browser(house) as page:
        await sign_in(page, "alice")
        yield page


def browser(house):
    return httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app_of(house), client=(f"192.0.2.{next(PLACES)}", 1)), base_url="http://hub", headers=OWN
    )


async def sign_in(page, login):
    answer = await page.post("/sign-in", data={"login": login, "password": f"pass-of-{login}"})
    assert answer.status_code == 303, answer.text


async def put_rules(bench, *rules):
    await bench.call("PUT", "/api/v1/people/alice/preferences", {"rules": list(rules)}, 200)


async def ids(bench, login="alice"):
    return [rule["id"] for rule in (await bench.call("GET", f"/api/v1/people/{login}/rules", status=200))["items"]]


def words(answer):
    """The text of a page, without tags and with single spaces."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", answer.text)).replace("&#39;", "'")


async def test_without_rules_the_page_says_how_to_begin(alice):
    answer = await alice.get("/rules")
    assert answer.status_code == 200
    assert 'href="/rules/new"' in answer.text
    assert "You have no rules" in answer.text


async def test_each_rule_is_said_in_plain_language(bench, alice):
    more = {"id": "b", "type": "obs.*.fail", "role": "maintainer", "when": {"tag.team": {"not": ["desktop"]}, "message.subject": {"contains": "x"}},
            "include_own": True, "final": False, "do": {"mail": {"when": "daily", "form": "short"}, "web": "off"}}  # fmt: skip
    await put_rules(bench, KDE, more)
    said = words(await alice.get("/rules"))
    assert (
        "When obs.build.fail or anything below it happens and project is KDE and the severity is at least high, tell me by mail at once, and stop"
        in said
    )
    assert (
        "When something like obs.*.fail happens and I am maintainer of it and the tag team is not desktop and the subject contains x even if I did"
        in said
    )
    assert "put it into the daily digest by mail in short form and keep it out of my inbox, and go on with the next rules." in said


async def test_order_by_buttons_and_by_drag(bench, alice):
    await put_rules(bench, KDE, KDE | {"id": "b"}, KDE | {"id": "c"})
    assert (await alice.post("/rules/c/move", data={"by": "-1"})).status_code == 303
    assert await ids(bench) == ["kde", "c", "b"]
    assert (await alice.post("/rules/kde/move", data={"by": "-1"})).status_code == 303
    assert await ids(bench) == ["kde", "c", "b"]
    dragged = await alice.post("/rules/order", data={"order": json.dumps(["b", "kde", "c"])}, headers={"HX-Request": "true"})
    assert dragged.status_code == 200
    assert dragged.text.index('id="rule-b"') < dragged.text.index('id="rule-kde"')
    assert await ids(bench) == ["b", "kde", "c"]
    for wrong in ('["b", "kde"]', '["b", "kde", "kde"]', "b,kde,c", '{"b": 1}', "[1, 2, 3]"):
        assert (await alice.post("/rules/order", data={"order": wrong})).status_code == 422, wrong
    await bench.call("POST", "/api/v1/people/alice/rules/order", {"ids": ["b", "c"]}, 422)
    assert await ids(bench) == ["b", "kde", "c"]


async def test_a_rule_is_switched_copied_deleted_and_brought_back(bench, alice):
    await put_rules(bench, KDE, KDE | {"id": "b", "name": "second"})
    await alice.post("/rules/kde/switch", data={"enabled": "no"})
    document = (await bench.store.wants("alice"))[0]
    assert [rule.get("enabled") for rule in document["rules"]] == [False, None]
    copied = await alice.post("/rules/kde/copy")
    made = copied.headers["location"].rsplit("/", 1)[1]
    assert await ids(bench) == ["kde", made, "b"]
    before = (await bench.store.wants("alice"))[0]
    gone = await alice.post("/rules/kde/delete")
    assert await ids(bench) == [made, "b"]
    found = dict(re.findall(r'name="(rule|position)" value="([^"]*)"', gone.text))
    rule = found["rule"].replace("&#34;", '"')
    assert (await alice.post("/rules/restore", data={"rule": rule, "position": found["position"]})).status_code == 303
    assert (await bench.store.wants("alice"))[0] == before
    assert (await alice.post("/rules/none/delete")).headers["location"] == "/rules"
    assert (await alice.post("/rules/restore", data={"rule": "[]", "position": "1"})).status_code == 422


async def test_hits_and_what_is_never_reached(bench, alice):
    await put_rules(
        bench, KDE | {"min_severity": "low"}, KDE | {"id": "b", "min_severity": "low", "when": {"package": ["okular"]}, "do": {"web": "off"}}
    )
    await bench.post(**FAIL, subject="again")
    await bench.work()
    hits = (await bench.call("GET", "/api/v1/people/alice/rules/hits", status=200))["items"]
    assert (hits["kde"]["hits"], hits["b"]["hits"], hits["b"]["last_at"]) == (1, 0, None)
    assert hits["b"]["reach"] == {"matched": 2, "reached": 0, "hidden_by": {"kde": 2}}
    said = words(await alice.get("/rules"))
    assert "matched 1 in the last 7 days" in said
    assert "never matched in the last 90 days" in said
    assert "never reached: of the newest messages 2 would match, but “KDE builds” comes first" in said
    matches = await alice.get("/rules/kde/matches")
    assert "again" in matches.text
    assert "okular failed" not in matches.text
    assert (await alice.get("/rules/b/matches")).text.count("<li data-row") == 0
    assert (await alice.get("/rules/none/matches")).status_code == 404


async def test_what_she_may_not_see_counts_for_no_rule_of_hers(bench, alice):
    secret = {"id": "secret", "type": "*", "when": {"message.subject": {"contains": ["carol"]}}, "do": {"mail": "now"}}
    await put_rules(bench, secret)
    await bench.post(to=["bob"], subject="All about carol", restricted=True)
    await bench.work()
    hits = (await bench.call("GET", "/api/v1/people/alice/rules/hits", status=200))["items"]
    assert hits["secret"]["reach"]["matched"] == 0
    tried = await bench.call("POST", "/api/v1/people/alice/rules/preview", {"rule": secret, "rule_id": "secret"}, 200)
    assert (tried["messages"], tried["matches"]) == (3, 0)
    await bench.post(to=["alice"], subject="All about carol", restricted=True)
    await bench.work()
    hits = (await bench.call("GET", "/api/v1/people/alice/rules/hits", status=200))["items"]
    assert hits["secret"]["reach"]["matched"] == 1


async def test_a_new_rule_from_a_message(bench, alice):
    (entry,) = [item for item in (await bench.call("GET", "/api/v1/people/alice/inbox"))["items"] if item["message"]["subject"] == "okular failed"]
    for source in (entry["id"], entry["message"]["id"]):
        filled = await alice.get(f"/rules/new?from={source}")
        assert 'value="obs.build.fail"' in filled.text
        assert re.search(r'name="name-0" value="project".*?>KDE</textarea>', filled.text, re.DOTALL)
        assert 'data-adds="GNOME"' in filled.text
    params = {"job": "job_1", "seconds": "0.085", "bytes": "58000", "attempt": "1", "states": ["a", "1.5"]}
    once = await bench.post("job.echo.done", to=["alice"], object="job_1", params=params)
    await bench.work()
    # What was measured, and what names this one job, will hardly come again.
    assert re.findall(r'name="name-\d+" value="(\w+)"', (await alice.get(f"/rules/new?from={once}")).text) == ["attempt", "states"]
    for place in ("/rules/new?from=msg_0000000000000", "/rules/new?from=x"):
        assert (await alice.get(place)).status_code == 404
    made = {"type": "obs.build", "name": "mine", "name-0": "project", "kind-0": "contains", "values-0": "KD\nGN", "name-1": "", "values-1": "",
            "severity": "high", "role": "", "final": "no", "enabled": "yes", "when:mail": "daily", "form:mail": "short", "when:web": "", "position": "last"}  # fmt: skip
    assert (await alice.post("/rules/new", data=made)).headers["location"] == "/rules"
    (rule,) = (await bench.store.wants("alice"))[0]["rules"]
    assert rule == {"id": rule["id"], "name": "mine", "type": "obs.build", "when": {"project": {"contains": ["KD", "GN"]}}, "min_severity": "high",
                    "final": False, "enabled": True, "do": {"mail": {"when": "daily", "form": "short"}}}  # fmt: skip
    assert (await alice.post(f"/rules/{rule['id']}", data=made | {"note": " until the release "})).status_code == 303
    assert (await bench.store.wants("alice"))[0]["rules"] == [rule | {"note": "until the release"}]
    assert "until the release" in (await alice.get("/rules")).text and 'value="until the release"' in (await alice.get(f"/rules/{rule['id']}")).text
    assert (await alice.post(f"/rules/{rule['id']}", data=made)).status_code == 303
    opened = await alice.get(f"/rules/{rule['id']}")
    assert 'value="mine"' in opened.text
    assert "KD\nGN</textarea>" in opened.text
    assert (await alice.post(f"/rules/{rule['id']}", data=made | {"name": "changed"})).status_code == 303
    assert (await bench.store.wants("alice"))[0]["rules"] == [rule | {"name": "changed"}]


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ({"type": "a..b"}, "type"),
        ({"severity": "loud"}, "min_severity"),
        ({"name-0": "project", "kind-0": "regexp", "values-0": "(x"}, "when.project"),
        ({"name-0": "project", "kind-0": "near", "values-0": "x"}, "when.project"),
        ({"name-0": "", "values-0": "<b>x</b>"}, "when."),
        ({"name-0": "project", "values-0": ""}, "when.project"),
        ({"name-0": "a", "values-0": "1", "name-1": "a", "values-1": "2"}, "when.a"),
        ({"when:mail": "sometimes"}, "do.mail"),
        ({"when:mail": ""}, "do"),
        ({"name": "\x00"}, "name"),
    ],
)
async def test_wrong_input_names_the_field_and_keeps_what_was_typed(bench, alice, typed, field):
    form = {"type": "obs", "name": "kept name", "final": "yes", "enabled": "yes", "when:mail": "now"} | typed
    refused = await alice.post("/rules/new", data=form)
    assert refused.status_code == 422
    assert f"<code>{field}</code>" in refused.text
    for value in (form["type"], form["name"]):
        assert f'value="{value}"' in refused.text
    assert "<b>x</b>" not in refused.text
    assert await ids(bench) == []
    shown = await alice.post("/rules/preview", data=form, headers={"HX-Request": "true"})
    assert shown.status_code == (422 if field != "do" else 200)


async def test_the_preview_counts_before_and_after(bench, alice):
    trial = {"rule": {"type": "obs", "do": {"mail": "daily"}}}
    answer = await bench.call("POST", "/api/v1/people/alice/rules/preview", trial, 200)
    assert (answer["messages"], answer["matches"], answer["stopped"]) == (3, 2, 0)
    assert answer["agents"]["mail"] == {
        "before": {"now": 3, "later": 0, "digested": 0, "digests": 0},
        "after": {"now": 1, "later": 0, "digested": 2, "digests": 1},
    }
    assert [sample["subject"] for sample in answer["samples"]] == ["gedit failed", "okular failed"]
    assert await ids(bench) == []
    await bench.call("POST", "/api/v1/people/alice/rules/preview", {"rule": {"tpye": "x"}}, 422)
    await bench.call("POST", "/api/v1/people/alice/rules/preview", {"rule": {}, "rule_id": "none"}, 404)
    form = {"type": "obs", "final": "yes", "enabled": "yes", "when:mail": "daily"}
    said = words(await alice.post("/rules/preview", data=form, headers={"HX-Request": "true"}))
    assert "It matches 2 of 3 messages." in said
    assert "1 and a digest with 2" in said
    whole = await alice.post("/rules/new", data=form | {"intent": "preview"})
    assert whole.status_code == 200
    assert "It matches 2 of 3 messages." in words(whole)
    assert (await alice.post("/rules/new", data=form | {"intent": "more"})).text.count('name="kind-') == 2
    assert await ids(bench) == []


async def test_the_preview_says_which_rule_stops_before(bench, alice):
    await put_rules(bench, KDE)
    form = {"type": "obs", "final": "yes", "enabled": "yes", "when:mail": "daily"}
    said = words(await alice.post("/rules/preview", data=form, headers={"HX-Request": "true"}))
    assert "For 1 of them an earlier rule comes first" in said
    assert "“KDE builds” stops before it" in said
    first = words(await alice.post("/rules/preview", data=form | {"position": "first"}, headers={"HX-Request": "true"}))
    assert "stops before it" not in first


async def test_a_rule_that_cannot_be_read_is_shown_as_such(bench, alice):
    old = {"rules": [KDE, {"id": "old", "typ": "<i>x</i>", "do": {"mail": "now"}}, "junk", {"id": "gone", "do": {"mail": "fortnightly"}}]}
    await bench.store.put_wants("alice", old, follows=[], rules=[])
    answer = await alice.get("/rules")
    assert answer.status_code == 200
    assert answer.text.count("can&#39;t be read</span>") + answer.text.count("can't be read</span>") == 3
    assert "<i>x</i>" not in answer.text
    opened = await alice.get("/rules/gone")
    assert opened.status_code == 200
    assert '<option value="fortnightly" selected>' in opened.text
    assert (await bench.call("GET", "/api/v1/people/alice/rules/hits", status=200))["items"].keys() == {"kde"}
    refused = await alice.post("/rules/old/delete")
    assert refused.status_code == 422  # the others still can't be read
    assert (await alice.post("/rules/clean")).status_code == 303
    assert await ids(bench) == ["kde"]


async def test_nobody_else_sees_or_changes_her_rules(bench, house, alice, outside):
    await put_rules(bench, KDE)
    async with browser(house) as bob:
        await sign_in(bob, "bob")
        assert (await bob.get("/rules/kde")).status_code == 404
        for act in ("", "/switch", "/move", "/copy"):
            assert (await bob.post(f"/rules/kde{act}", data={"enabled": "no", "by": "1"})).status_code == 404, act
        await bob.post("/rules/kde/delete")
        (message,) = [item for item in (await bench.call("GET", "/api/v1/messages"))["items"] if item["subject"] == "okular failed"]
        assert (await bob.get(f"/rules/new?from={message['id']}")).status_code == 404
    assert await ids(bench) == ["kde"]
    assert (await outside.get("/rules")).headers["location"].startswith("/sign-in")
    assert (await outside.post("/rules/kde/delete", headers=OWN)).headers["location"].startswith("/sign-in")
    assert (await alice.post("/rules/kde/delete", headers={"Sec-Fetch-Site": "cross-site"})).status_code == 403
    assert await ids(bench) == ["kde"]


async def test_trying_takes_short_cuts_that_change_nothing(bench, house):
    """Rules that can't speak are left out and messages that no changed rule touches are decided once: the counts are those of deciding all."""
    rules = [
        {"id": "a", "type": "obs.build", "when": {"project": ["KDE"]}, "final": False, "do": {"mail": "daily"}},
        {"id": "b", "type": "obs.*.fail", "when": {"tag.team": ["desktop"]}, "do": {"mail": "now", "web": "off"}},
        {"id": "c", "type": "wiki", "when": {"page": ["Main"], "message.source": ["operator"]}, "do": {"mail": "off"}},
    ]
    await bench.person("alice", preferences={"rules": rules, "follows": ["KDE/okular"]})
    for number in range(12):
        kind = ("obs.build.fail", "obs.request.fail", "wiki.change")[number % 3]
        params = {"project": ("KDE", "GNOME")[number % 2], "page": ["Main", "x"] if number % 4 else "y"}
        await bench.post(
            kind, params=params, tags=[["team", "desktop"]] if number % 7 else [], to=["alice"] if number % 2 else [], object="KDE/okular"
        )
    await bench.work()
    tried = [*rules[:2], {"id": "new", "type": "obs", "when": {"project": ["GNOME"]}, "do": {"mail": "hourly"}}, rules[2]]
    history = (await bench.call("POST", "/api/v1/people/alice/preferences/plan", {"rules": tried, "follows": ["KDE/okular"]}, 200))["history"]
    (row,) = await bench.store.profiles([(await bench.store.person("alice")).person_id])
    site = house.people.site
    for name, document in (("before", {"rules": rules, "follows": ["KDE/okular"]}), ("after", {"rules": tried, "follows": ["KDE/okular"]})):
        profile = replace(profile_of(row, site), wants=parse_wants(document, known_schedules=site.schedules))
        counts = Counter()
        for message in await bench.store.list_messages(person_id=None):
            for decision in resolve(message, profile, Standing(), site, message.received_at).decisions:
                if decision.verdict.is_delivery:
                    counts[f"{decision.agent} {decision.schedule or decision.verdict.value}"] += 1
        assert history[name] == counts, name
    assert history["before"] != history["after"]


async def test_a_rule_that_says_nothing_yet_is_not_judged(alice, bench):
    """Who just opened the editor is not told that all her mail would be gone."""
    await bench.post("obs.build.fail", to=["alice"])
    await bench.work()
    shown = words(await alice.post("/rules/preview", data={"type": "obs", "final": "yes"}))
    assert "Messages that it matches" in shown and "Choose under “Then” what shall happen" in shown
    assert "with this rule" not in shown and "→" not in shown and "stop here" not in shown
    assert "with this rule" in words(await alice.post("/rules/preview", data={"type": "obs", "final": "yes", "when:mail": "off"}))
