"""The life of a message, from acceptance to its end, on a store in a folder."""

from datetime import UTC, datetime, timedelta

import pytest
from tests.house.conftest import SITE

from angelia.directory import Failed
from angelia.flow import digest_items
from angelia.flow.unsubscribe import make_token, read_token
from angelia.model.delivery import Later, Refused, Sent

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)


async def test_each_gets_it_the_way_she_chose(bench):
    await bench.person("alice")
    await bench.person("bob", preferences={"preferences": {"*": {"mail": "daily"}}})
    await bench.person("carol", mail=False)
    message = await bench.post(to=["alice", "bob", "carol", "nobody"], subject="hello", tags=[["x", "y"]])
    await bench.work()
    assert [letter.person.login for letter in bench.mail.letters] == ["alice"]
    assert (await bench.call("GET", "/api/v1/people/bob/inbox"))["items"][0]["message"]["subject"] == "hello"
    why = await bench.why(message, "bob")
    assert why["agents"]["mail"]["decided_by"] == "preference:*"
    assert why["agents"]["mail"]["due_at"] == "2026-11-25T08:00:00Z"
    assert (await bench.why(message, "carol"))["agents"]["mail"]["reason"] == "no_verified_address"
    for _ in range(2):
        await bench.post(to=["bob"], subject="again")
    await bench.work()
    assert len(bench.mail.letters) == 1
    await bench.work(datetime(2026, 11, 25, 8, 0, 1, tzinfo=UTC))
    digest = bench.mail.letters[-1].digest
    assert digest.messages == 3
    assert {line.subject for group in digest.groups for line in group.lines} == {"hello", "again"}
    await bench.work(datetime(2026, 11, 25, 8, 30, tzinfo=UTC))
    assert len(bench.mail.letters) == 2
    assert await bench.store.check() == []
    assert (await bench.call("GET", "/api/v1/conservation"))["states"]["delivered"] == 15


async def test_roles_rules_follows_and_those_whom_it_does_not_concern(bench):
    await bench.person("alice")
    await bench.person("bob", preferences={"rules": [{"type": "obs.*.fail", "when": {"arch": ["s390x"]}, "do": {"mail": "now"}}]})
    await bench.person("carol", preferences={"follows": ["KDE/okular"]})
    await bench.person("dave")
    await bench.call("PUT", "/api/v1/relations?object=KDE/okular", {"roles": {"maintainer": ["alice"]}}, 200)
    message = await bench.post("obs.build.fail", object="KDE/okular", params={"arch": "s390x"})
    await bench.work()
    assert sorted(letter.person.login for letter in bench.mail.letters) == ["alice", "bob", "carol"]
    assert (await bench.why(message, "alice"))["because"] == ["you are maintainer of KDE/okular"]
    assert (await bench.why(message, "bob"))["because"] == ["your rule 1 matches"]
    assert "not a candidate" in (await bench.why(message, "dave"))["summary"]
    await bench.post("obs.build.fail", object="KDE/kate", params={"arch": "x86_64"})
    await bench.work()
    assert len(bench.mail.letters) == 3


async def test_the_summary_says_what_came_of_it(bench):
    await bench.person("carol")
    expired = await bench.post(to=["carol"], expires_at="2020-01-01T00:00:00Z")
    bench.mail.answer = lambda _: Refused("550 too much")
    refused = await bench.post(to=["carol"], subject="refused")
    await bench.work()
    said = (await bench.why(expired, "carol"))["summary"]
    assert "Delivered" not in said
    assert "mail (expired: it expired before it could go)" in said
    said = (await bench.why(refused, "carol"))["summary"]
    assert said.startswith("Delivered by ") and "mail" not in said.partition(".")[0]
    assert "Not delivered: mail (bounced: the receiving side refused it for good)." in said


async def test_what_waits_is_under_way(bench):
    await bench.person("carol", preferences={"preferences": {"*": {"web": "now", "feed": "off", "mail": "daily"}}})
    message = await bench.post(to=["carol"])
    await bench.work()
    assert (await bench.why(message, "carol"))["summary"] == "Delivered by web. Under way: mail in the daily digest at 2026-11-25T08:00:00Z."


async def test_one_who_is_named_and_may_not_see_it_is_told_why(bench):
    await bench.person("bob")
    await bench.person("carol")
    message = await bench.post(to=["carol"], restricted=True, access=["bob"])
    await bench.work()
    said = (await bench.why(message, "carol"))["summary"]
    assert "does not name her" not in said
    assert "restricted" in said


async def test_a_changed_rule_counts_from_the_next_message(bench):
    await bench.person("bob", preferences={"rules": [{"type": "x", "do": {"mail": "now"}}]})
    await bench.post("x.one")
    await bench.work()
    await bench.call("PUT", "/api/v1/people/bob/preferences", {"rules": [{"type": "y", "do": {"mail": "now"}}]}, 200)
    await bench.post("x.two")
    await bench.post("y.three")
    await bench.work()
    assert [letter.message.type for letter in bench.mail.letters] == ["x.one", "y.three"]


async def test_many_followers_are_planned_in_chunks(bench, monkeypatch):
    monkeypatch.setattr("angelia.flow.planner.CHUNK", 7)
    for number in range(30):
        await bench.person(f"p{number}", mail=False, preferences={"follows": ["thing"]})
    message = await bench.post(object="thing", to=["p3"])
    await bench.work()
    assert len(await bench.store.ledger_rows((await bench.store.list_messages(person_id=None))[0].message_id)) == 30
    assert (await bench.why(message, "p3"))["because"] == ["the sender named you (to)", "you follow thing"]


@pytest.mark.parametrize("answer", [lambda: Failed("no answer"), lambda: {}["a bug of a directory"]])
async def test_a_silent_relation_source_is_asked_again_and_the_named_are_served(bench, answer):  # case B9
    await bench.person("alice")
    await bench.person("bob")

    class Down:
        name = "down"

        async def relations(self, ref):
            return answer()

    directory, bench.planner._directory = bench.planner._directory, Down()
    await bench.call("PUT", "/api/v1/relations?object=o", {"roles": {"maintainer": ["alice"]}}, 200)
    await bench.post("obs.build.fail", object="o", to=["bob"])
    await bench.work()
    assert [letter.person.login for letter in bench.mail.letters] == ["bob"]
    bench.planner._directory = directory
    await bench.work(NOW + timedelta(minutes=1))
    assert [letter.person.login for letter in bench.mail.letters] == ["bob", "alice"]


async def test_who_is_served_is_not_served_again_while_a_relation_source_is_silent(bench):
    await bench.person("carol")

    class Down:
        name = "down"

        async def relations(self, ref):
            return Failed("no answer")

    directory, bench.planner._directory = bench.planner._directory, Down()
    await bench.post("obs.build.fail", object="o", to=["carol"], subject="one")
    await bench.work()
    another = {"agent": "mail", "value": "carol2@example.org", "is_verified": True, "is_default": True}
    await bench.call("POST", "/api/v1/people/carol/addresses", another, 201)
    for times in range(1, 8):
        await bench.work(NOW + timedelta(seconds=31 * times))
    bench.planner._directory = directory
    await bench.post(to=["carol"], subject="two")
    await bench.work()
    assert [(letter.message.subject, letter.address.value) for letter in bench.mail.letters] == [
        ("one", "carol@example.org"),
        ("two", "carol2@example.org"),
    ]
    assert await bench.states("carol") == [("delivered", "chosen")] * 2
    assert {one["key"]: one["messages"] for one in (await bench.call("GET", "/api/v1/people/carol/types"))["items"]}["obs.build.fail"] == 1
    assert await bench.store.check() == []


async def test_a_temporary_failure_is_tried_again_and_a_refusal_ends_the_address(bench):
    await bench.person("alice")
    answers = [Later("451 not now", blames_destination=False), Sent("250")]
    bench.mail.answer = lambda _: answers.pop(0)
    await bench.post(to=["alice"])
    await bench.work()
    assert await bench.states() == [("due", "chosen")]
    await bench.work(NOW + timedelta(seconds=3))
    assert len(bench.mail.letters) == 1
    await bench.work(NOW + timedelta(seconds=7))
    assert await bench.states() == [("delivered", "chosen")]
    first, second = bench.mail.letters
    assert first.delivery.delivery_id == second.delivery.delivery_id
    bench.mail.answer = lambda _: Refused("550 no such user", is_address_bad=True)
    await bench.post(to=["alice"], subject="two")
    await bench.work()
    assert (await bench.states())[1] == ("bounced", "refused")
    (address,) = (await bench.call("GET", "/api/v1/people/alice/addresses"))["items"]
    assert address["state"] == "bouncing"
    await bench.work()
    inbox = await bench.call("GET", "/api/v1/people/alice/inbox?type=angelia")
    assert "does not work" in inbox["items"][0]["message"]["subject"]


async def test_poison_dies_after_five_tries_and_can_be_replayed(bench):  # figure R9
    await bench.person("alice")
    await bench.person("bob")

    def answer(letter):
        if letter.person.login == "alice":
            raise RuntimeError("boom")
        return Sent()

    bench.mail.answer = answer
    await bench.post(to=["alice", "bob"])
    for day in range(8):
        await bench.work(NOW + timedelta(hours=6 * day))
    assert await bench.states() == [("dead", "poison")]
    assert await bench.states("bob") == [("delivered", "chosen")]
    assert len([letter for letter in bench.mail.letters if letter.person.login == "alice"]) == 5
    (dead,) = (await bench.call("GET", "/api/v1/deliveries"))["items"]
    bench.mail.answer = lambda _: Sent()
    assert await bench.call("POST", "/api/v1/deliveries/replay", {"ids": [dead["id"]]}) == {"replayed": 1}
    await bench.work(NOW + timedelta(days=9))
    assert await bench.states() == [("delivered", "chosen")]


async def test_a_lifetime_ends(bench):
    await bench.person("alice")
    bench.mail.answer = lambda _: Later("down", blames_destination=False)
    await bench.post(to=["alice"])
    for hours in range(0, 24 * 7, 5):
        await bench.work(NOW + timedelta(hours=hours))
    assert (await bench.states())[0] == ("expired", "lifetime_over")


async def test_a_dead_destination_is_left_alone(bench):
    await bench.person("alice")
    bench.mail.answer = lambda _: Later("refused")
    await bench.call("PUT", "/api/v1/site", {"preferences": {"*": {"mail": "now"}}, "hourly_cap": 1000}, 200)
    for number in range(50):
        await bench.post(to=["alice"], subject=str(number))
    await bench.work()
    assert 5 <= len(bench.mail.letters) <= 25
    tried = len(bench.mail.letters)
    await bench.work(NOW + timedelta(seconds=6))
    assert len(bench.mail.letters) == tried
    bench.mail.answer = lambda _: Sent()
    for minutes in range(1, 60):
        await bench.work(NOW + timedelta(minutes=minutes))
    assert {state for state, _ in await bench.states()} == {"delivered"}
    assert await bench.store.conservation() is not None


async def test_a_flood_becomes_one_digest_with_one_notice(bench):  # case B4 at this site's cap
    await bench.person("alice")
    for number in range(12):
        await bench.post(to=["alice"], subject=str(number), body="a body")
    await bench.work()
    singles = [letter.message.subject for letter in bench.mail.letters if letter.message.source != "angelia"]
    notices = [letter for letter in bench.mail.letters if letter.message.type == "angelia.overflow"]
    assert singles == ["0", "1", "2", "3", "4"]
    assert len(notices) == 1
    await bench.work(datetime(2026, 11, 24, 10, 0, 1, tzinfo=UTC))
    assert bench.mail.letters[-1].digest.messages == 7
    assert {line.body for group in bench.mail.letters[-1].digest.groups for line in group.lines} == {""}
    await bench.post(to=["alice"], subject="quiet again")
    await bench.work(datetime(2026, 11, 24, 10, 1, tzinfo=UTC))
    assert bench.mail.letters[-1].message.subject == "quiet again"


@pytest.mark.parametrize("severities, cap", [(["normal", "urgent"], 5), ([], 3)])
async def test_the_first_that_is_held_back_is_told_whatever_reached_the_cap(bench, severities, cap):
    await bench.person("alice")
    for severity in ["normal"] * 4 + severities:
        await bench.post(to=["alice"], severity=severity)
    await bench.work()
    await bench.call("PUT", "/api/v1/site", SITE | {"hourly_cap": cap}, 200)
    for minute in range(2):
        for _ in range(2):
            await bench.post(to=["alice"], subject="waits")
        await bench.work(NOW + timedelta(minutes=minute))
    assert "waits" not in [letter.message.subject for letter in bench.mail.letters]
    assert [letter.message.type for letter in bench.mail.letters].count("angelia.overflow") == 1


async def test_the_cap_holds_where_the_clock_went_back(bench):
    await bench.person("alice")
    for _ in range(7):
        await bench.post(to=["alice"])
    await bench.work()
    bench.mail.letters.clear()
    for subject in map(str, range(8)):
        await bench.post(to=["alice"], subject=subject)
        await bench.work(NOW - timedelta(hours=3))
    assert [letter.message.subject for letter in bench.mail.letters if letter.message.source != "angelia"] == ["0", "1", "2", "3", "4"]


async def test_repeats_of_one_key_are_folded(bench):  # case B3
    await bench.person("alice")
    for minutes in (0, 5, 20):
        message = await bench.post(to=["alice"], collapse_key="k")
        await bench.work(NOW + timedelta(minutes=minutes))
        if minutes == 5:
            assert (await bench.why(message, "alice"))["agents"]["mail"]["reason"] == "repeat_folded"
    assert len(bench.mail.letters) == 2


async def test_a_missed_slot_is_made_up_once_and_restarts_repeat_nothing(bench):  # case B11
    await bench.person("alice", preferences={"preferences": {"*": {"mail": "hourly"}}})
    await bench.post(to=["alice"])
    await bench.work()
    await bench.work(NOW + timedelta(hours=5))
    assert len(bench.mail.letters) == 1
    bench.house.people._profiles.clear()
    await bench.work(NOW + timedelta(hours=5, minutes=7))
    assert len(bench.mail.letters) == 1


async def test_what_waits_and_is_muted_or_unsubscribed_goes_no_more(bench):
    await bench.person("alice", preferences={"preferences": {"*": {"mail": "daily"}}})
    await bench.post(to=["alice"], object="o")
    await bench.post("c.d", to=["alice"])
    await bench.work()
    await bench.call("PUT", "/api/v1/people/alice/mutes?object=o&level=full", status=200)
    person = await bench.store.person("alice")
    token = make_token(bench.house.secret, person.person_id, "mail", "type", "c")
    assert "Stop them" in await bench.call("GET", f"/unsubscribe/{token}", status=200)
    assert (await bench.states())[1] == ("held", "schedule")
    assert "no longer come" in await bench.call("POST", f"/unsubscribe/{token}", status=200)
    await bench.call("POST", f"/unsubscribe/{token}", status=200)
    assert await bench.states() == [("suppressed", "muted"), ("suppressed", "unsubscribed")]
    await bench.call("POST", f"/unsubscribe/{'xy'[token[0] == 'x']}{token[1:]}", status=403)
    assert read_token(b"x" * 32, token) is None


async def test_a_mute_leaves_what_waits_and_names_her(bench):  # R4
    document = {"preferences": {"*": {"mail": "daily"}}, "follows": ["KDE/"], "mutes": {"KDE/okular": "normal"}}
    await bench.person("alice", preferences=document)
    await bench.post(to=["alice"], object="KDE/okular")
    for ref in ("KDE/kate", "other"):
        await bench.post(to=["alice"] if ref == "other" else [], object=ref)
    await bench.work()
    assert await bench.states() == [("held", "schedule")] * 3
    await bench.call("PUT", "/api/v1/people/alice/preferences", document | {"quiet": ["22:00", "07:00"]}, 200)
    assert await bench.states() == [("held", "schedule")] * 3
    places = {"KDE/okular": "normal", "KDE/": "full"}  # the nearest speaks
    await bench.call("PUT", "/api/v1/people/alice/preferences", document | {"mutes": places}, 200)
    assert await bench.states() == [("held", "schedule"), ("suppressed", "muted"), ("held", "schedule")]
    await bench.call("PUT", "/api/v1/people/alice/mutes?object=KDE/okular&level=full", status=200)
    assert await bench.states() == [("suppressed", "muted"), ("suppressed", "muted"), ("held", "schedule")]


RULED = {"rules": [{"id": "r1", "type": "obs", "do": {"mail": "daily"}}]}
DAILY = {"preferences": {"obs": {"mail": "daily"}}, "follows": ["inst/yumo/"]}


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (DAILY, DAILY | {"preferences": {"obs": {"mail": "off"}}}, "off"),
        (DAILY, DAILY | {"mutes": {"inst/yumo/": "full"}}, "muted"),
        (RULED, {"rules": [{"id": "r1", "type": "obs", "do": {"mail": "off"}}]}, "rule_off"),
        (RULED, {"preferences": {"*": {"mail": "off"}}}, "off"),
        (RULED, {"rules": []}, None),  # nothing is said against it
        (RULED, {"rules": [{"id": "r1", "type": "obs", "do": {"mail": "hourly"}}]}, None),
    ],
)
@pytest.mark.parametrize("is_made", [False, True])
async def test_a_digest_leaves_out_what_is_unwanted_by_now(bench, before, after, reason, is_made):  # promise P10
    await bench.person("alice", preferences=before)
    for number in range(2):
        message = await bench.post("obs.x", object=f"inst/yumo/run-{number}")
    await bench.work()
    slot = NOW + timedelta(days=1)
    if is_made:  # and could not go yet
        bench.mail.answer = lambda _: Later("down", blames_destination=False)
        await bench.work(slot)
    await bench.call("PUT", "/api/v1/people/alice/preferences", after, 200)
    bench.mail.answer, bench.mail.letters = lambda _: Sent(), []
    await bench.work(slot + timedelta(hours=1))
    assert [letter.digest.messages for letter in bench.mail.letters] == ([2] if reason is None else [])
    if reason is not None and not is_made:
        assert [one["reason"] for one in (await bench.why(message, "alice"))["deliveries"] if one["agent"] == "mail"] == [reason]


async def test_a_paused_agent_keeps_its_backlog(bench):
    await bench.person("alice")
    await bench.call("PATCH", "/api/v1/agents/mail", {"is_paused": True}, 200)
    await bench.post(to=["alice"])
    await bench.work()
    assert not bench.mail.letters
    (backlog,) = (await bench.call("GET", "/api/v1/backlog"))["items"]
    assert backlog["due"] == 1
    await bench.call("PATCH", "/api/v1/agents/mail", {"is_paused": False}, 200)
    bench.relay._looked_at = 0.0
    await bench.work()
    assert len(bench.mail.letters) == 1


async def test_expiry_not_before_and_test_traffic(bench):
    await bench.person("alice")
    later = (NOW + timedelta(hours=2)).isoformat()
    message = await bench.post(to=["alice"], not_before=later)
    await bench.post(to=["alice"], test=True)
    await bench.work()
    assert not bench.mail.letters
    assert (await bench.why(message, "alice"))["agents"]["web"]["outcome"] == "deferred"
    await bench.work(NOW + timedelta(hours=2, seconds=1))
    assert len(bench.mail.letters) == 1
    bench.mail.answer = lambda _: Later("down", blames_destination=False)
    await bench.post(to=["alice"], expires_at=(bench.now + timedelta(minutes=1)).isoformat())
    await bench.work()
    await bench.work(bench.now + timedelta(hours=1))
    assert (await bench.states())[-1] == ("expired", "expired")


async def test_restricted_messages_leave_no_trace_for_others(bench):
    await bench.person("alice")
    await bench.person("bob", preferences={"follows": ["o"]})
    message = await bench.post(to=["alice"], object="o", restricted=True)
    await bench.work()
    assert [letter.person.login for letter in bench.mail.letters] == ["alice"]
    assert not (await bench.why(message, "bob"))["is_candidate"]
    assert await bench.store.user_types((await bench.store.person("bob")).person_id) == []


async def test_a_change_of_preferences_is_tried_on_history(bench):
    await bench.person("alice")
    for number in range(4):
        await bench.post("obs.build.fail" if number % 2 else "wiki.change", to=["alice"])
    await bench.work()
    document = {"preferences": {"obs": {"mail": "daily"}}}
    plan = await bench.call("POST", "/api/v1/people/alice/preferences/plan", document, 200)
    assert plan["history"]["deliveries_that_differ"] == 2
    assert plan["history"]["before"]["mail now"] == 4
    assert plan["history"]["after"]["mail daily"] == 2
    assert plan["changes"] == [{"path": "preferences.obs.mail", "before": None, "after": "daily"}]
    assert (await bench.store.wants("alice"))[1] == 0


async def test_presets_are_ticked_and_unticked_alone(bench):  # case B14
    await bench.person("alice", preferences={"rules": [{"id": "mine", "type": "x", "do": {"mail": "now"}}]})
    site = {"preferences": {"*": {"web": "now"}}, "presets": {"p": {"title": "P", "rule": {"type": "y", "do": {"mail": "now"}}}}}
    await bench.call("PUT", "/api/v1/site", site, 200)
    await bench.call("PUT", "/api/v1/people/alice/presets/p", status=200)
    assert [rule["id"] for rule in (await bench.call("GET", "/api/v1/people/alice/rules"))["items"]] == ["mine", "preset-p"]
    await bench.call("DELETE", "/api/v1/people/alice/presets/p", status=204)
    assert [rule["id"] for rule in (await bench.call("GET", "/api/v1/people/alice/rules"))["items"]] == ["mine"]


async def test_verification_of_an_address(bench, house):
    await bench.person("alice", mail=False)
    house.agents["mail"] = bench.mail
    made = await bench.call("POST", "/api/v1/people/alice/addresses", {"agent": "mail", "value": "a@example.org"}, 201)
    await bench.post(to=["alice"])
    await bench.work()
    assert not bench.mail.letters
    path = f"/api/v1/people/alice/addresses/{made['id']}"
    await bench.call("POST", f"{path}/code", status=202)
    code = bench.mail.letters[0].message.subject.split()[0]
    await bench.call("POST", f"{path}/verify", {"code": "x"}, 422)
    assert (await bench.call("POST", f"{path}/verify", {"code": code}, 200))["state"] == "ok"
    for _ in range(2):
        await bench.call("POST", f"{path}/code", status=202)
    await bench.call("POST", f"{path}/code", status=429)


async def test_a_digest_has_bodies_for_whoever_wants_them(bench):
    await bench.person("alice", preferences={"preferences": {"*": {"mail": {"when": "daily", "form": "full"}}}})
    await bench.person("bob", preferences={"preferences": {"*": {"mail": "daily"}, "c": {"mail": {"when": "daily", "form": "full"}}}})
    for kind in ("a.b", "c.d"):
        await bench.post(kind, to=["alice", "bob"], subject=kind, body=f"body of {kind}")
    await bench.work()
    await bench.work(NOW + timedelta(days=1))
    found = {
        letter.person.login: {line.subject: line.body for group in letter.digest.groups for line in group.lines} for letter in bench.mail.letters
    }
    assert found == {"alice": {"a.b": "body of a.b", "c.d": "body of c.d"}, "bob": {"a.b": "", "c.d": "body of c.d"}}
    shown = await bench.call("GET", "/api/v1/people/bob/effective?type=a.b")
    assert shown["effective"]["mail"] == {"when": "daily", "form": "short", "from": "preference:*"}


async def test_a_large_digest_is_made_with_few_messages_at_a_time(bench, monkeypatch):
    """Of those held the most that are read whole at once are a portion; their bodies are read of the lines that are shown, and of no other."""
    await bench.person("alice", preferences={"preferences": {"*": {"mail": {"when": "daily", "form": "full"}}}})
    monkeypatch.setattr(digest_items, "PORTION", 3)
    for number in range(8):
        await bench.post("a.b", to=["alice"], subject=f"s{number}", body=f"body {number}", collapse_key="k" if number < 6 else "")
    await bench.work()
    read, real = [], bench.store.messages

    async def counted(ids):
        read.append(len(ids))
        return await real(ids)

    monkeypatch.setattr(bench.store, "messages", counted)
    await bench.digester.turn(NOW + timedelta(days=1))
    assert read == [3, 3, 2, 3]
    await bench.work(NOW + timedelta(days=1))
    (letter,) = bench.mail.letters
    lines = {line.subject: (line.count, line.body) for group in letter.digest.groups for line in group.lines}
    assert lines == {"s5": (6, "body 5"), "s6": (1, "body 6"), "s7": (1, "body 7")}
    assert letter.digest.messages == 8 and await bench.store.check() == []
