"""Pages on which an administrator changes what somebody else wants: they change hers and not the reader's, and each change is noted."""

from urllib.parse import urlsplit

import pytest
from tests.house.browsing import browsers, code_of  # noqa: F401 - a fixture

from angelia.web.pages.admin.behalf import ROOMS, routes_for_another

HOME = "/admin/people/alice"


@pytest.fixture
async def root(browsers):  # noqa: F811
    await browsers("alice")
    return await browsers("root")


async def wants(bench, login="alice"):
    return await bench.call("GET", f"/api/v1/people/{login}/preferences")


async def noted(bench, action="behalf."):
    items = (await bench.call("GET", f"/api/v1/audit?action={action}"))["items"]
    return [(item["action"], item["target"], item["detail"]) for item in items if item["actor"] == "person:root"]


async def test_a_choice_for_another_is_hers_is_noted_and_can_be_taken_back(bench, root):
    place = await root.post(f"{HOME}/preferences/cell", scope="*", agent="mail", when="off", view=f"{HOME}/preferences?x=1")
    assert place == f"{HOME}/preferences?x=1&saved=1"
    assert (await wants(bench))["preferences"] == {"*": {"mail": "off"}} and not await wants(bench, "root")
    shown = await root.get(place)
    assert f'action="{HOME}/preferences/undo"' in shown and 'action="/preferences' not in shown
    ((action, target, detail),) = await noted(bench)
    assert (action, target) == ("behalf.preferences.put_cell", "alice")
    assert detail["changes"][0]["before"] is None and "off" in str(detail["changes"][0]["after"])
    await root.post(f"{HOME}/preferences/undo", version="1", view=f"{HOME}/preferences")
    assert not (await wants(bench)).get("preferences")
    assert "off" in str((await noted(bench))[0][2]["changes"][0]["before"])


async def test_each_page_says_whose_wishes_it_changes(root):
    for room in (
        "/preferences",
        "/preferences/import",
        "/types",
        "/rules",
        "/rules/new",
        "/schedules",
        "/away",
        "/follows",
        "/expectations",
        "/expectations/new",
        "/addresses",
    ):
        shown = await root.get(HOME + room)
        assert "You are changing what alice" in shown, room
        # No form and no link of it leads to the reader's own wishes, but for those beside the page.
        main = shown.partition("<main")[2]
        for own in ("preferences", "types", "rules", "schedules", "away", "follows", "expectations", "addresses"):
            assert f'="/{own}' not in main, (room, own)
    assert "You are changing" not in await root.get("/preferences")


async def test_the_whole_document_goes_in_by_way_of_its_plan(bench, root):
    text = '[preferences."obs"]\nmail = "off"\n'
    assert "preferences.obs" in await root.post(f"{HOME}/preferences/import", 200, document=text)
    assert await noted(bench) == []
    assert await root.post(f"{HOME}/preferences/import/apply", document=text, version="0") == f"{HOME}/preferences?saved=1"
    assert (await wants(bench))["preferences"] == {"obs": {"mail": "off"}}
    assert 'mail = "off"' in await root.get(f"{HOME}/preferences/export")
    assert [action for action, *_ in await noted(bench)] == ["behalf.preferences.apply"]


async def test_rules_are_made_switched_moved_and_deleted(bench, root):
    for name in ("first", "second"):
        fields = {"name": name, "type": "obs", "when:mail": "off", "final": "yes", "enabled": "yes", "position": "last"}
        assert await root.post(f"{HOME}/rules/new", **fields) == f"{HOME}/rules"
    one, two = (await wants(bench))["rules"]
    await root.post(f"{HOME}/rules/{two['id']}/move", by="-1")
    assert await root.post(f"{HOME}/rules/{one['id']}/switch", enabled="no") == f"{HOME}/rules"
    assert [(rule["name"], rule["enabled"]) for rule in (await wants(bench))["rules"]] == [("second", True), ("first", False)]
    assert f'action="{HOME}/rules/restore"' in await root.post(f"{HOME}/rules/{one['id']}/delete", 200)
    actions = [(action, detail["at"]) for action, _, detail in await noted(bench)]
    assert actions[:2] == [("behalf.rules.delete", {"rule_id": one["id"]}), ("behalf.rules.switch", {"rule_id": one["id"]})]
    assert len(actions) == 5


async def test_away_quiet_hours_and_follows(bench, root):
    await root.post(f"{HOME}/away", until=f"{bench.now.year + 1}-03-01T08:00")
    await root.post(f"{HOME}/schedules/quiet", start="22:00", end="07:00")
    await root.post(f"{HOME}/follows/mute", object="KDE/kate")
    stored = await wants(bench)
    assert (
        stored["hold"]["until"].startswith(str(bench.now.year + 1))
        and stored["quiet"]["start"] == "22:00"
        and stored["mutes"] == {"KDE/kate": "normal"}
    )
    assert await root.post(f"{HOME}/away/end") == f"{HOME}/away?saved=4"
    actions = [action for action, *_ in await noted(bench)]
    assert actions == ["behalf.away.end", "behalf.follows.add_mute", "behalf.schedules.put_quiet", "behalf.away.put"]


async def test_addresses_are_added_with_a_code_or_a_word_and_noted(bench, root):
    place = urlsplit(await root.post(f"{HOME}/addresses", agent="mail", value="alice@example.org"))
    assert (place.path, place.query[:10]) == (f"{HOME}/addresses", "done=added")
    await bench.work()
    await root.post(f"{HOME}/addresses", agent="mail", value="a@example.org", vouched="1")
    first, second = (await bench.call("GET", "/api/v1/people/alice/addresses"))["items"]
    assert (first["state"], second["state"]) == ("unverified", "ok")
    assert [detail["is_verified"] for *_, detail in await noted(bench, "address.add")] == [True, False]
    await root.post(f"{HOME}/addresses/{first['id']}/verify", code=code_of(bench))
    await root.post(f"{HOME}/addresses/{first['id']}/default")
    await root.post(f"{HOME}/addresses/{first['id']}/test")
    await root.post(f"{HOME}/addresses/{first['id']}/pause")
    await root.post(f"{HOME}/addresses/{first['id']}/test", 409)
    paused, tested, defaulted, verified = await noted(bench)
    assert [one[0] for one in (verified, tested)] == ["behalf.addresses.verify", "behalf.addresses.test"]
    assert tested[2] == {"at": {"address_id": str(first["id"])}, "changes": []} and defaulted[0] == "behalf.addresses.change"
    assert [(one["before"], one["after"]) for one in paused[2]["changes"]] == [("ok", "paused")]
    await root.post(f"{HOME}/addresses/{second['id']}/delete")
    assert len(await noted(bench)) == 4 and len(await noted(bench, "address.delete")) == 1


async def test_nobody_vouches_for_an_address_of_her_own(bench, root):
    await root.post("/addresses", agent="mail", value="root@example.org", vouched="1")
    assert [one["state"] for one in (await bench.call("GET", "/api/v1/people/root/addresses"))["items"]] == ["unverified"]


async def test_what_is_in_her_inbox_is_not_shown(bench, root):
    await bench.post("obs.build.fail", to=["alice"], subject="a secret subject", params={"project": "hidden river"})
    await bench.work()
    (item,) = (await bench.call("GET", "/api/v1/people/alice/inbox"))["items"]
    rule = await bench.call("POST", "/api/v1/people/alice/rules", {"type": "obs", "do": {"web": "now"}}, 201)
    tried = await root.post(f"{HOME}/rules/preview", 200, type="obs", **{"when:mail": "off"})
    assert "<strong>1</strong> of 1" in tried and "a secret subject" not in tried
    for place in (f"/rules/new?from={item['id']}", f"/rules/{rule['id']}", "/types?type=obs", "/rules"):
        shown = await root.get(HOME + place)
        assert "a secret subject" not in shown and "hidden river" not in shown, place
    await root.get(f"{HOME}/rules/{rule['id']}/matches", 404)


async def test_others_and_other_sites_change_nothing(bench, root, browsers):  # noqa: F811
    bob = await browsers("bob")
    for room in ("/preferences", "/rules", "/addresses"):
        await bob.get(HOME + room, 404)
    await bob.post(f"{HOME}/preferences/cell", 404, scope="*", agent="mail", when="off")
    await root.get("/admin/people/nobody/preferences", 404)
    foreign = await root.api.post(f"{HOME}/follows/add", data={"object": "x"}, headers={"Sec-Fetch-Site": "cross-site"})
    assert foreign.status_code == 403
    await root.post(f"{HOME}/follows/add", 422, object="")
    assert not await wants(bench) and await noted(bench) == []


def test_each_page_of_wishes_has_its_like():
    assert len(ROOMS) == 9 and len(routes_for_another()) > 50


async def test_the_audit_log_says_what_was_and_what_became(bench, root):
    for when in ("off", "daily"):
        await root.post(f"{HOME}/preferences/cell", scope="obs", agent="mail", when=when)
    shown = await root.get("/admin/audit?action=behalf.")
    assert "<code>preferences.obs.mail</code> <del>off</del> → <ins>daily</ins>" in shown
    assert "<ins>off</ins>" in shown and "&#34;changes&#34;" not in shown
