"""The page that says why, or why not."""

import itertools
import re

import httpx2
import pytest

from angelia.front import app_of
from angelia.model.delivery import Reason
from angelia.web.pages.kit import environment
from angelia.web.pages.why import place_of

OWN = {"Sec-Fetch-Site": "same-origin"}
PLACES = itertools.cycle(range(100, 200))
"""Each browser at a place of its own: signing in is rate-limited by place."""


@pytest.fixture
async def people(bench, house):
    """Browsers by login, signed in; alice got one message, and one she only was a candidate of."""
    rules = [{"id": "no-wiki", "name": "No wiki", "type": "wiki", "do": {"mail": "off", "web": "off", "feed": "off"}}]
    await bench.person("alice", preferences={"rules": rules})
    await bench.person("bob")
    await bench.person("root", is_admin=True)
    clients = {}
    for login in ("alice", "bob", "root"):
        await bench.call("PUT", f"/api/v1/people/{login}/password", {"password": f"pass-of-{login}"}, 204)
        clients[login] = httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app_of(house), client=(f"192.0.2.{next(PLACES)}", 1)), base_url="http://hub", headers=OWN
        )
        assert (await clients[login].post("/sign-in", data={"login": login, "password": f"pass-of-{login}"})).status_code == 303
    yield clients
    for client in clients.values():
        await client.aclose()


@pytest.fixture
async def messages(bench, people):
    made = {
        "build": await bench.post("obs.build.fail", to=["alice"], subject="okular failed", object="KDE/okular"),
        "wiki": await bench.post("wiki.change", to=["alice"], subject="a page changed"),
        "secret": await bench.post("obs.x", to=["alice"], subject="only for alice", restricted=True),
    }
    await bench.work()
    return made


def words(answer):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", answer.text)).replace("&#39;", "'")


async def test_the_list_and_its_filters(people, messages):
    alice = people["alice"]
    everything = await alice.get("/why")
    for subject in ("okular failed", "a page changed", "only for alice"):
        assert subject in everything.text
    shown = {query: re.findall(r'class="subject" href="/why/(msg_\w+)"', (await alice.get(f"/why?{query}")).text)
             for query in ("delivered=no", "delivered=yes", "type=wiki", "text=OKULAR", "text=nothing-like-it")}  # fmt: skip
    assert shown["delivered=no"] == shown["type=wiki"] == [messages["wiki"]]
    assert shown["delivered=yes"] == [messages["secret"], messages["build"]]
    assert shown["text=OKULAR"] == [messages["build"]]
    assert shown["text=nothing-like-it"] == []
    assert (await alice.get("/why?delivered=perhaps")).status_code == 422
    assert "No message has concerned you" in (await people["bob"].get("/why")).text


async def test_pages_of_the_list_go_on_where_they_ended(bench, people, messages):
    first = await bench.call("GET", "/api/v1/people/alice/decisions?limit=2", status=200)
    assert [item["message"]["id"] for item in first["items"]] == [messages["secret"], messages["wiki"]]
    rest = await bench.call("GET", f"/api/v1/people/alice/decisions?limit=2&after={first['next']}", status=200)
    assert [item["message"]["id"] for item in rest["items"]] == [messages["build"]]
    assert rest["next"] is None


async def test_an_id_or_a_url_leads_to_the_answer(bench, people, messages):
    alice = people["alice"]
    (entry,) = [item for item in (await bench.call("GET", "/api/v1/people/alice/inbox"))["items"] if item["message"]["id"] == messages["build"]]
    for text in (messages["build"], f" http://hub/inbox/{entry['id']}?x=1", entry["id"], f"http://hub/api/v1/messages/{messages['build']}"):
        assert (await alice.get("/why", params={"message": text})).headers["location"] == f"/why/{messages['build']}", text
    assert (await alice.get(f"/why/{entry['id']}")).headers["location"] == f"/why/{messages['build']}"
    wrong = await alice.get("/why", params={"message": '"><b>okular'})
    assert wrong.status_code == 404
    assert "no message is named there" in wrong.text
    assert "<b>okular" not in wrong.text
    assert (await people["bob"].get("/why", params={"message": entry["id"]})).status_code == 404


async def test_what_decided_is_linked_to_where_it_is_changed(people, messages):
    alice = people["alice"]
    got = await alice.get(f"/why/{messages['build']}")
    said = words(got)
    for text in ("the sender named you", "the site's default for everything", "delivered", "wanted at once"):
        assert text in said
    assert 'href="/types?type=obs.build.fail"' in got.text
    assert f'href="/rules/new?from={messages["build"]}"' in got.text
    not_got = await alice.get(f"/why/{messages['wiki']}")
    assert 'href="/rules/no-wiki"' in not_got.text
    assert "a rule switched it off" in words(not_got)
    assert "the rule “No wiki”" in words(not_got)


async def test_who_may_ask(bench, people, messages, outside):
    bob, root = people["bob"], people["root"]
    assert "It did not concern you" in (await bob.get(f"/why/{messages['build']}")).text
    assert (await bob.get(f"/why/{messages['secret']}")).status_code == 404
    for login in ("alice", "nobody"):
        assert (await bob.get(f"/why/{messages['build']}?login={login}")).status_code == 404
    assert (await bob.get("/why/msg_0000000000000")).status_code == 404
    assert (await bob.get("/why/x")).status_code == 422
    assert (await outside.get(f"/why/{messages['build']}")).headers["location"].startswith("/sign-in")
    before = len(await bench.store.audit_log())
    asked = await root.get("/why", params={"message": messages["secret"], "login": "alice"})
    answer = await root.get(asked.headers["location"])
    assert "the sender named you" in words(answer)
    assert "noted in the audit log" in answer.text
    log = await bench.store.audit_log()
    assert len(log) == before + 1
    assert (log[0]["actor"], log[0]["action"], log[0]["target"]) == ("person:root", "explain", "alice")
    assert "It did not concern bob" in (await root.get(f"/why/{messages['secret']}?login=bob")).text
    assert (await root.get(f"/why/{messages['secret']}?login=nobody")).status_code == 404


@pytest.mark.parametrize(
    ("decided_by", "reason", "place"),
    [
        ("rule:a b", "rule_off", "/rules/a%20b"),
        ("preference:obs.build", "off", "/types?type=obs.build"),
        ("preference:*", "chosen", "/preferences"),
        ("site:obs", "chosen", "/types?type=obs.build.fail"),
        ("mute:KDE/okular", "muted", "/follows"),
        ("site:*", "hold_kept", "/away"),
        ("preference:obs", "quiet_hours", "/schedules"),
        ("lock:obs", "locked", ""),
    ],
)
def test_places(decided_by, reason, place):
    assert place_of({"decided_by": decided_by, "reason": reason}, "obs.build.fail") == place


def test_every_reason_has_words():
    macro = environment("en").get_template("parts/why-words.html").module.reason
    assert [reason for reason in Reason if str(macro(reason.value)).strip() == reason.value] == []


async def test_what_the_other_side_called_a_letter_is_no_error(bench, people, messages):
    why = await bench.why(messages["build"], "alice")
    (by_mail,) = [one for one in why["deliveries"] if one["agent"] == "mail"]
    assert (by_mail["state"], by_mail["last_error"], by_mail["receipt"]) == ("delivered", "", "recorded")
    (listed,) = [one for one in (await bench.call("GET", "/api/v1/deliveries?state=delivered&agent=mail"))["items"] if one["id"] == by_mail["id"]]
    assert (listed["last_error"], listed["receipt"]) == ("", "recorded")
    for path in (f"/why/{messages['build']}", f"/inbox/{messages['build']}"):
        shown = await people["alice"].get(path, follow_redirects=True)
        assert shown.status_code == 200 and "okular failed" in shown.text and "recorded" not in shown.text


async def test_the_summary_is_in_words(bench, messages):
    assert (await bench.why(messages["wiki"], "alice"))["summary"] == "A candidate, but nothing is delivered: a rule switched it off."
