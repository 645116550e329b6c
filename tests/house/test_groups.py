"""A group with an address of its own: once to the group, a copy in each inbox, and explain says so."""

from datetime import UTC, datetime, timedelta

from angelia.model.delivery import Refused, Sent

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)


async def group(bench, *members, name="qa", addresses=None, status=200):
    body = {"members": list(members)} | ({} if addresses is None else {"addresses": addresses})
    return await bench.call("PUT", f"/api/v1/groups/{name}", body, status)


def sent(bench):
    return sorted((letter.person.login, letter.address.value) for letter in bench.mail.letters)


async def subjects(bench, login):
    return [item["message"]["subject"] for item in (await bench.call("GET", f"/api/v1/people/{login}/inbox"))["items"]]


async def test_once_to_the_group_and_a_copy_in_each_inbox(bench):
    await bench.person("alice")
    await bench.person("bob")
    await bench.person("carol")
    made = await group(bench, "alice", "bob", addresses={"mail": "qa@example.org"})
    assert [(a["agent"], a["value"], a["state"]) for a in made["addresses"]] == [("mail", "qa@example.org", "ok")]
    message = await bench.post(to=["group:qa", "carol"], subject="freeze")
    await bench.work()
    assert sent(bench) == [("carol", "carol@example.org"), ("group:qa", "qa@example.org")]
    letter = next(letter for letter in bench.mail.letters if letter.person.group == "qa")
    assert (letter.because, letter.unsubscribe_url) == (("group:qa",), "")
    assert await subjects(bench, "alice") == await subjects(bench, "bob") == ["freeze"]
    why = await bench.why(message, "alice")
    assert why["agents"]["mail"]["reason"] == "group_address"
    assert why["agents"]["mail"]["decided_by_text"] == "the group qa has an address of its own"
    assert why["agents"]["web"]["outcome"] == "now"
    why = await bench.why(message, "group:qa")
    assert (list(why["agents"]), why["because"], why["deliveries"][0]["state"]) == (["mail"], ["you are in the group qa"], "delivered")
    assert await bench.store.check() == []


async def test_what_does_not_go_to_the_groups_address_its_members_get_themselves(bench):
    await bench.person("alice")
    await group(bench, "alice", addresses={"mail": "qa@example.org"})
    await bench.call("PUT", "/api/v1/people/group:qa/preferences", {"preferences": {"obs": {"mail": "off"}}}, 200)
    message = await bench.post("obs.build", to=["group:qa"])
    await bench.work()
    assert sent(bench) == [("alice", "alice@example.org")]
    assert (await bench.why(message, "alice"))["agents"]["mail"]["reason"] == "chosen"


async def test_without_a_verified_address_its_members_are_told_one_by_one(bench, house):
    house.agents["mail"] = bench.mail
    await bench.person("alice")
    await group(bench, "alice")
    place = "/api/v1/people/group:qa/addresses"
    made = await bench.call("POST", place, {"agent": "mail", "value": "qa@example.org"}, 201)
    await bench.post(to=["group:qa"], subject="one")
    await bench.work()
    assert sent(bench) == [("alice", "alice@example.org")]
    await bench.call("POST", f"{place}/{made['id']}/code", status=202)
    code = bench.mail.letters[-1].message.subject.split()[0]
    await bench.call("POST", f"{place}/{made['id']}/verify", {"code": code}, 200)
    bench.mail.letters.clear()
    await bench.post(to=["group:qa"], subject="two")
    await bench.work()
    assert sent(bench) == [("group:qa", "qa@example.org")]


async def test_who_has_another_reason_or_another_group_gets_her_own(bench):
    await bench.person("alice", preferences={"follows": ["o"]})
    await bench.person("bob")
    await bench.person("carol", preferences={"groups": {"qa": []}})
    await group(bench, "alice", "bob", "carol", addresses={"mail": "qa@example.org"})
    await group(bench, "bob", name="dev")
    message = await bench.post(cc=["group:qa", "group:dev"], object="o")
    await bench.work()
    assert [login for login, _ in sent(bench)] == ["alice", "bob", "group:qa"]
    assert (await bench.why(message, "carol"))["agents"]["mail"]["reason"] == "group_not_accepted"


async def test_what_the_group_wants_is_settled_as_for_anybody(bench):
    await bench.person("alice")
    await group(bench, "alice", addresses={"mail": "qa@example.org"})
    await bench.call("PUT", "/api/v1/people/group:qa/preferences", {"preferences": {"*": {"mail": "daily"}}}, 200)
    await bench.post(to=["group:qa"])
    await bench.post(to=["group:qa"])
    await bench.work()
    assert sent(bench) == []
    await bench.work(NOW + timedelta(days=1))
    assert [(letter.person.login, letter.digest.messages) for letter in bench.mail.letters] == [("group:qa", 2)]


async def test_a_refused_group_address_is_told_to_its_members_who_take_over(bench):
    await bench.person("alice")
    await group(bench, "alice", addresses={"mail": "qa@example.org"})
    bench.mail.answer = lambda letter: Refused("550", is_address_bad=True) if letter.person.group else Sent()
    await bench.post(to=["group:qa"], subject="one")
    await bench.work()
    await bench.post(to=["group:qa"], subject="two")
    await bench.work()
    assert sent(bench) == [("alice", "alice@example.org"), ("alice", "alice@example.org"), ("group:qa", "qa@example.org")]
    assert await subjects(bench, "alice") == ["two", "Your mail address does not work", "one"]


async def test_locks_restricted_messages_and_deleted_groups(bench):
    await bench.person("alice")
    await group(bench, "alice", addresses={"mail": "qa@example.org"})
    await bench.post("account.security", to=["group:qa"])
    await bench.work()
    assert [login for login, _ in sent(bench)] == ["alice", "group:qa"]
    bench.mail.letters.clear()
    await bench.post(to=["group:qa"], restricted=True, access=["alice"])
    await bench.work()
    assert [login for login, _ in sent(bench)] == ["alice"]
    bench.mail.letters.clear()
    await bench.call("DELETE", "/api/v1/groups/qa", status=204)
    await bench.post(to=["group:qa"])
    await bench.work()
    assert sent(bench) == []


async def test_a_group_reads_nothing_and_bad_addresses_are_refused(bench, outside):
    await bench.person("alice")
    await group(bench, "alice", addresses={"mail": "no address"}, status=422)
    await group(bench, "alice", addresses={"web": "x"}, status=422)
    await group(bench, "alice")
    await bench.call("POST", "/api/v1/people/group:qa/tokens", {}, 422)
    await bench.call("POST", "/api/v1/people/group:qa/feeds", {}, 422)
    assert [person["login"] for person in (await bench.call("GET", "/api/v1/people"))["items"]] == ["alice"]
    token = (await bench.call("POST", "/api/v1/people/alice/tokens", {"scopes": ["read", "write"]}, 201))["secret"]
    for path in ("addresses", "preferences"):
        answer = await outside.get(f"/api/v1/people/group:qa/{path}", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 404


async def test_history_counts_what_goes_to_the_groups_address_as_not_hers(bench):
    await bench.person("alice")
    await group(bench, "alice", addresses={"mail": "qa@example.org"})
    await bench.post(to=["group:qa"])
    await bench.work()
    plan = await bench.call("POST", "/api/v1/people/alice/preferences/plan", {"preferences": {"*": {"mail": "daily"}}}, 200)
    assert plan["history"]["deliveries_that_differ"] == 0
