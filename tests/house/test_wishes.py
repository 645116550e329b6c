"""What a person wants, on pages and in parts over the API: each saved at once, each taken back."""

import asyncio
import re
from datetime import datetime, timedelta

import pytest

from angelia.flow.clock import SteadyClock
from angelia.model.message import Message
from angelia.model.moments import first_id
from angelia.model.payload import payload_of
from angelia.store import LedgerRow, NewMessage, Plan, Session
from angelia.wire.callers import secret_hash
from house.conftest import NOW, SITE

OWN = {"Sec-Fetch-Site": "same-origin"}
PRESETS = {
    "mine": {
        "title": "My failed builds",
        "explanation": "In packages you maintain.",
        "group": "Builds",
        "rule": {"type": "obs.build.fail", "role": "maintainer", "do": {"mail": "now"}},
    },
    "kde": {"title": "All of KDE", "group": "Builds", "rule": {"type": "obs", "when": {"project": ["KDE"]}, "do": {"mail": "daily"}}},
}
ROOMS = ("/preferences", "/types", "/schedules", "/away", "/follows", "/preferences/import")


@pytest.fixture(autouse=True)
def _frozen(monkeypatch):
    """The whole house stands at NOW: what comes next is said on pages."""
    standing = SteadyClock(wall=lambda: int(NOW.timestamp() * 1e9), elapsed=lambda: 0)
    monkeypatch.setattr("angelia.house.now", standing)


@pytest.fixture
async def alice(bench, outside):
    """Alice, signed in, on a site with presets."""
    await bench.call("PUT", "/api/v1/site", SITE | {"presets": PRESETS}, 200)
    await bench.house.people.refresh()
    await bench.person("alice", time_zone="Europe/Berlin")
    person = await bench.store.person("alice")
    session = Session(person_id=person.person_id, provider="", device="", created_at=NOW, seen_at=NOW, ends_at=NOW + timedelta(days=1))
    await bench.store.open_session(session, secret_hash("alice"), "")
    outside.cookies.set("angelia", "alice")
    return outside


async def read(client, place):
    answer = await client.get(place)
    assert answer.status_code == 200, (place, answer.text)
    return answer.text


async def post(client, place, status=303, **fields):
    answer = await client.post(place, data=fields, headers=OWN)
    assert answer.status_code == status, (place, answer.text)
    return answer.text if status != 303 else answer.headers["location"]


async def document(bench, login="alice"):
    return await bench.call("GET", f"/api/v1/people/{login}/preferences", status=200)


def chosen(page, ident):
    """The value that a select of this id shows."""
    select = re.search(rf'<select[^>]*id="{re.escape(ident)}".*?</select>', page, re.DOTALL).group()
    return re.search(r'<option value="([^"]*)" selected', select).group(1)


async def concern(bench, kind, number=1, because=("to",), login="alice", days=1, **fields):
    """So many messages of a kind that concerned her some days ago."""
    person = await bench.store.person(login)
    for n in range(number):
        at = NOW - timedelta(days=days)
        key = first_id(at) + concern.made
        concern.made += 1
        message = Message(message_id=key, source="ci", type=kind, received_at=at, occurred_at=at, **fields)
        await bench.store.add_messages([NewMessage(key, "ci", kind, int(at.timestamp() * 1e6), payload_of(message), None, b"")])
        (claimed,) = await bench.store.claim_messages(1, timedelta(seconds=60), NOW)
        await bench.store.record_plans([Plan(claimed.message, claimed.fence, [LedgerRow(key, person.person_id, because, (), at)], [])], [], [], NOW)


concern.made = 1


@pytest.mark.parametrize("room", ROOMS)
async def test_who_is_not_signed_in_is_asked_to(bench, outside, room):
    answer = await outside.get(room)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/sign-in?next={room}")


@pytest.mark.parametrize("room", ROOMS)
async def test_a_person_who_never_said_anything_sees_each_room(alice, room):
    assert "<h1>" in await read(alice, room)


@pytest.mark.parametrize(
    "place",
    [
        "/preferences/cell",
        "/preferences/preset",
        "/preferences/undo",
        "/types/cell",
        "/schedules",
        "/away",
        "/follows/add",
        "/preferences/import/apply",
    ],
)
async def test_a_change_from_another_site_is_refused(alice, bench, place):
    answer = await alice.post(place, data={"scope": "*", "agent": "mail", "when": "off", "object": "a"}, headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403
    assert await document(bench) == {}


class TestGrid:
    async def test_a_cell_is_saved_inherited_from_and_taken_back(self, alice, bench):
        place = await post(alice, "/preferences/cell", scope="obs", agent="mail", when="daily", view="/preferences")
        assert place == "/preferences?saved=1"
        page = await read(alice, place)
        assert chosen(page, "c-obs-mail") == "daily"
        assert "Saved." in page and "Undo" in page
        assert chosen(page, "c-obs.build.fail-mail") == "" and "(daily)" in page
        assert await document(bench) == {"preferences": {"obs": {"mail": "daily"}}}
        place = await post(alice, "/preferences/undo", version="1", view="/preferences")
        assert place == "/preferences?saved=2&undone=1"
        assert "Taken back." in await read(alice, place)
        assert await document(bench) == {}
        await post(alice, "/preferences/undo", version="2")
        assert await document(bench) == {"preferences": {"obs": {"mail": "daily"}}}

    async def test_what_was_changed_since_is_not_taken_back(self, alice, bench):
        await post(alice, "/preferences/cell", scope="obs", agent="mail", when="daily")
        await bench.call("PUT", "/api/v1/people/alice/paused/mail", status=200)
        assert "changed since" in await post(alice, "/preferences/undo", 422, version="1")
        assert "Undo" not in await read(alice, "/preferences?saved=1")
        assert (await document(bench))["paused"] == ["mail"]

    async def test_the_form_and_single_addresses_of_a_cell_stay(self, alice, bench):
        said = {"preferences": {"obs": {"mail": {"when": "now", "form": "short"}, "mail:alice@example.org": "daily"}}}
        await bench.call("PUT", "/api/v1/people/alice/preferences", said, 200)
        page = await read(alice, "/preferences")
        assert "and 1 address" in page
        await post(alice, "/preferences/cell", scope="obs", agent="mail", when="hourly")
        assert (await document(bench))["preferences"]["obs"] == {"mail": {"when": "hourly", "form": "short"}, "mail:alice@example.org": "daily"}
        await post(alice, "/preferences/cell", scope="obs", agent="mail", when="")
        assert (await document(bench))["preferences"]["obs"] == {"mail:alice@example.org": "daily"}

    async def test_the_row_for_everything_and_the_one_for_new_kinds(self, alice, bench):
        await post(alice, "/preferences/cell", scope="?", agent="mail", when="daily")
        await post(alice, "/preferences/cell", scope="*", agent="feed", when="off")
        assert await document(bench) == {"preferences": {"*": {"feed": "off"}}, "unknown": {"mail": "daily"}}
        page = await read(alice, "/preferences")
        assert (chosen(page, "c-?-mail"), chosen(page, "c-*-feed")) == ("daily", "off")
        assert (await bench.call("GET", "/api/v1/people/alice/effective?type=a.b"))["effective"]["feed"]["when"] == "off"

    async def test_what_is_locked_is_said_to_come_whatever_she_chose(self, alice, bench):
        await bench.call("PUT", "/api/v1/people/alice/preferences", {"preferences": {"account": {"mail": "off", "web": "off", "feed": "off"}}}, 200)
        for kind in ("account.security", "account.security.key"):
            found = (await bench.call("GET", f"/api/v1/people/alice/effective?type={kind}", status=200))["effective"]
            assert {agent: (said["when"], said["from"]) for agent, said in found.items()} == {
                "mail": ("now", "lock:account.security"),
                "web": ("now", "lock:account.security"),
                "feed": ("off", "preference:account"),
            }
        await concern(bench, "account.security")
        await post(alice, "/types/cell", scope="account.security", agent="mail", when="off", view="/types")
        (kind,) = (await bench.call("GET", "/api/v1/people/alice/types", status=200))["items"]
        assert kind["effective"]["mail"]["when"] == "now"
        for place in ("/types?type=account.security", "/preferences"):
            assert "the operator locked account.security" in await read(alice, place), place

    async def test_a_preset_is_ticked_and_unticked_and_nothing_else(self, alice, bench):
        own = {"id": "hand", "type": "obs.build.fail", "role": "maintainer", "do": {"mail": "now"}}
        await bench.call("PUT", "/api/v1/people/alice/preferences", {"rules": [own]}, 200)
        assert 'id="tick-mine">' in await read(alice, "/preferences")
        await post(alice, "/preferences/preset", preset="mine", ticked="1")
        page = await read(alice, "/preferences")
        assert 'id="tick-mine" checked' in page and 'id="tick-kde">' in page
        assert chosen(page, "p-mine-mail") == "now"
        rules = (await document(bench))["rules"]
        assert [(rule["id"], rule.get("origin")) for rule in rules] == [("hand", None), ("preset-mine", "preset:mine")]
        assert "1 rule of your own" in page
        await post(alice, "/preferences/preset", preset="mine", agent="web", when="daily")
        assert (await document(bench))["rules"][1]["do"] == {"mail": "now", "web": "daily"}
        await post(alice, "/preferences/preset", preset="mine")
        assert (await document(bench))["rules"] == [own]

    async def test_a_cell_of_a_preset_ticks_it_and_its_last_one_unticks_it(self, alice, bench):
        await post(alice, "/preferences/preset", preset="kde", agent="web", when="now")
        (rule,) = (await document(bench))["rules"]
        copied = {"type": "obs", "when": {"project": ["KDE"]}, "name": "All of KDE"}
        assert rule == copied | {"id": "preset-kde", "origin": "preset:kde", "do": {"web": "now"}}
        await post(alice, "/preferences/preset", preset="kde", agent="web", when="")
        assert (await document(bench)).get("rules", []) == []

    async def test_a_preset_ticked_again_keeps_its_place(self, alice, bench):
        await post(alice, "/preferences/preset", preset="mine", ticked="1")
        await post(alice, "/preferences/preset", preset="kde", ticked="1")
        await post(alice, "/preferences/preset", preset="mine", agent="mail", when="hourly")
        assert [(rule["id"], rule["do"]) for rule in (await document(bench))["rules"]] == [
            ("preset-mine", {"mail": "hourly"}),
            ("preset-kde", {"mail": "daily"}),
        ]

    async def test_about_how_many_a_week(self, alice, bench):
        await concern(bench, "obs.build.fail", 3, ("role:maintainer",), params={"project": "KDE"})
        await concern(bench, "obs.build.fail", 2, ("follow",), params={"project": "GNOME"})
        await concern(bench, "obs.build.fail", 4, days=8, params={"project": "KDE"})
        page = re.sub(r"\s+", " ", await read(alice, "/preferences"))

        def week(start):
            return re.search(start + r'.*?<td class="week"[^>]*> *<span[^>]*>([^<]*)<', page).group(1)

        assert week('id="tick-mine"') == "about 3"
        assert week('id="tick-kde"') == "about 3"
        assert week('href="/types\\?type=obs.build.fail"') == "about 5"
        assert week(">Everything else<") == "about 5"

    async def test_an_agent_is_paused_and_resumed(self, alice, bench):
        await post(alice, "/preferences/paused", agent="mail", paused="1")
        assert "paused" in await read(alice, "/preferences")
        assert await document(bench) == {"paused": ["mail"]}
        await post(alice, "/preferences/paused", agent="mail")
        assert await document(bench) == {}
        await post(alice, "/preferences/paused", 404, agent="pigeon", paused="1")

    @pytest.mark.parametrize(
        "fields, words",
        [
            ({"scope": "obs", "agent": "mail", "when": "fortnightly"}, "preferences.obs.mail"),
            ({"scope": "o b s", "agent": "mail", "when": "now"}, "a message type is dotted words"),
            ({"scope": "obs", "agent": "pigeon", "when": "now"}, "no such agent"),
            ({"scope": "obs", "agent": "mail:", "when": "now"}, "preferences.obs.mail:"),
        ],
    )
    async def test_a_wrong_cell_says_what_is_wrong(self, alice, bench, fields, words):
        assert words in await post(alice, "/preferences/cell", 422, **fields)
        assert await document(bench) == {}

    async def test_changes_of_two_windows_do_not_undo_each_other(self, alice, bench):
        await asyncio.gather(*(post(alice, "/preferences/cell", scope=f"t{n}", agent="mail", when="off") for n in range(5)))
        assert len((await document(bench))["preferences"]) == 5

    async def test_a_view_of_another_site_is_not_gone_to(self, alice):
        for view in ("//evil.example/", "https://evil.example/", "/\\evil.example"):
            assert (await post(alice, "/preferences/cell", scope="obs", agent="mail", when="off", view=view)).startswith("/preferences?saved=")

    async def test_foreign_text_stays_text(self, alice, bench):
        hostile = {"title": "<script>alert(1)</script>", "group": '"><img src=x>', "rule": {"type": "a", "do": {"mail": "now"}}}
        await bench.call("PUT", "/api/v1/site", SITE | {"presets": {"x": hostile}}, 200)
        await bench.house.people.refresh()
        page = await read(alice, "/preferences")
        assert "<script>alert" not in page and "<img src=x>" not in page and "&lt;script&gt;" in page


class TestTypes:
    async def test_what_she_got_as_a_tree_with_where_it_comes_from(self, alice, bench):
        await concern(bench, "obs.build.fail", 2)
        await bench.call("PUT", "/api/v1/people/alice/preferences/scopes/obs", {"mail": "daily"}, 200)
        page = await read(alice, "/types")
        assert all(f"type={key}" in page for key in ("obs", "obs.build", "obs.build.fail"))
        assert 'daily <span class="from">obs</span>' in page
        assert '<span class="value-own">daily</span>' in page

    async def test_a_type_is_opened_and_changed_in_place(self, alice, bench):
        await concern(bench, "obs.build.fail")
        page = await read(alice, "/types?type=obs.build")
        assert 'id="editor"' in page and 'class="is-open"' in page
        place = await post(alice, "/types/cell", scope="obs.build", agent="mail", when="daily", form="full", view="/types?type=obs.build")
        assert place == "/types?type=obs.build&saved=1"
        assert await document(bench) == {"preferences": {"obs.build": {"mail": {"when": "daily", "form": "full"}}}}
        page = await read(alice, place)
        assert (chosen(page, "e-mail"), chosen(page, "f-mail")) == ("daily", "full")
        await post(alice, "/types/reset", scope="obs.build")
        assert await document(bench) == {}

    async def test_a_type_that_she_never_got_can_be_settled(self, alice, bench):
        assert 'id="editor"' in await read(alice, "/types?type=jobs.grid.done")
        await post(alice, "/types/cell", scope="jobs.grid.done", agent="mail", when="off")
        assert "jobs.grid.done" in await read(alice, "/types?own=1")

    async def test_each_of_several_addresses_has_a_line(self, alice, bench):
        more = {"agent": "mail", "value": "alice@home.example", "is_verified": True}
        await bench.call("POST", "/api/v1/people/alice/addresses", more, 201)
        assert "alice@home.example" in await read(alice, "/types?type=obs")
        await post(alice, "/types/cell", scope="obs", agent="mail:alice@home.example", when="daily")
        assert await document(bench) == {"preferences": {"obs": {"mail:alice@home.example": "daily"}}}

    async def test_search_and_what_is_open(self, alice, bench):
        for n in range(80):
            await concern(bench, f"many.t{n}")
        page = await read(alice, "/types")
        assert "type=many" in page and "type=many.t7" not in page
        assert "type=many.t7" in await read(alice, "/types?open=many")
        found = await read(alice, "/types?q=T79")
        assert "many.t79" in found and "many.t78" not in found
        assert "No type is like this" in await read(alice, "/types?q=nothing")
        assert 'id="editor"' in await read(alice, "/types?type=many.t7")

    async def test_wrong_types_and_wrong_values(self, alice, bench):
        assert (await alice.get("/types?type=a..b")).status_code == 422
        assert "neither off, now nor" in await post(alice, "/types/cell", 422, scope="a.b", agent="mail", when="fortnightly")
        assert "form is one of" in await post(alice, "/types/cell", 422, scope="a.b", agent="mail", when="now", form="long")
        assert await document(bench) == {}


class TestSchedules:
    async def test_next_times_in_her_zone_before_and_after_saving(self, alice, bench):
        typed = {"name": "lunch", "every": "week", "at": "12:00, 17:30", "on": ["tue", "thu"]}
        page = await post(alice, "/schedules", 200, **typed, act="show")
        assert "Tue, Nov 24, 12:00" in page and "Thu, Nov 26, 5:30" in page
        assert await document(bench) == {}
        await post(alice, "/schedules", **typed)
        assert (await document(bench))["schedules"] == {"lunch": {"every": "week", "at": ["12:00", "17:30"], "on": ["tue", "thu"]}}
        page = await read(alice, "/schedules?edit=lunch")
        assert 'value="12:00, 17:30"' in page and "each week on Tue, Thu at 12:00, 17:30" in page
        listed = await bench.call("GET", "/api/v1/people/alice/schedules", status=200)
        (own,) = (item for item in listed["items"] if item["is_own"])
        assert own["next_at"][0] == "2026-11-24T11:00:00Z"

    async def test_minutes_of_the_hour_and_days_of_the_month(self, alice, bench):
        await post(alice, "/schedules", name="quarter", every="hour", at="15, :45")
        await post(alice, "/schedules", name="payday", every="month", dates="1, 31")
        assert (await document(bench))["schedules"] == {
            "quarter": {"every": "hour", "at": ["00:15", "00:45"]},
            "payday": {"every": "month", "on": [1, 31]},
        }

    @pytest.mark.parametrize(
        "typed, words",
        [
            ({"name": "lunch", "at": "25:00"}, "25:00"),
            ({"name": "", "at": "12:00"}, "schedules"),
            ({"name": "no good", "at": "12:00"}, "schedules"),
            ({"name": "now"}, "schedules"),
            ({"name": "x", "every": "month", "dates": "0"}, "1 to 31"),
            ({"name": "x", "every": "month", "dates": "first"}, "1 to 31"),
            ({"name": "x", "every": "year"}, "every is one of"),
        ],
    )
    async def test_what_is_wrong_is_named_and_kept(self, alice, bench, typed, words):
        page = await post(alice, "/schedules", 422, **typed)
        assert words in page
        assert all(f'value="{value}"' in page for value in typed.values() if value not in ("year", ""))
        assert await document(bench) == {}

    async def test_one_in_use_stays_until_nothing_names_it(self, alice, bench):
        await post(alice, "/schedules", name="lunch", at="12:00")
        await post(alice, "/preferences/cell", scope="obs", agent="mail", when="lunch")
        assert "still used" in await post(alice, "/schedules/delete", 422, name="lunch")
        await post(alice, "/preferences/cell", scope="obs", agent="mail", when="")
        await post(alice, "/schedules/delete", name="lunch")
        assert await document(bench) == {}
        await post(alice, "/schedules/delete", 404, name="daily")

    async def test_quiet_hours(self, alice, bench):
        await post(alice, "/schedules/quiet", start="22:00", end="07:00", days=["mon", "fri"])
        assert (await document(bench))["quiet"] == {"start": "22:00", "end": "07:00", "days": ["mon", "fri"]}
        assert "22:00 – 07:00" in await read(alice, "/schedules")
        page = await post(alice, "/schedules/quiet", 422, start="23:00", end="23:00")
        assert "two different times" in page and 'value="23:00"' in page
        await post(alice, "/schedules/quiet/delete")
        assert await document(bench) == {}


class TestAway:
    async def test_away_in_words_and_back_early(self, alice, bench):
        fields = {
            "until": "2026-12-24T18:00",
            "type": ["obs.build", ""],
            "policy": ["drop", "drop"],
            "rest": "keep",
            "pass_from": "high",
            "note": "Skiing",
        }
        await post(alice, "/away", **fields)
        assert (await document(bench))["hold"] == {
            "until": "2026-12-24T18:00:00+01:00",
            "policy": {"obs.build": "drop"},
            "pass_from": "high",
            "note": "Skiing",
        }
        page = await read(alice, "/away")
        assert "You are away until Thu, Dec 24, 6:00" in page and "Skiing" in page and "severity high or more" in page
        assert "<code>obs.build</code> goes nowhere" in page
        await post(alice, "/away/end")
        assert await document(bench) == {}
        assert "Go away until then" in await read(alice, "/away")

    async def test_a_hold_to_come_and_one_that_is_over(self, alice, bench):
        page = await post(alice, "/away", 422, since="2026-12-25T08:00", until="2026-12-24T18:00")
        assert "you are back before you leave" in page and 'value="2026-12-25T08:00"' in page
        await post(alice, "/away", since="2026-12-01T08:00", until="2026-12-24T18:00", rest="drop")
        assert "You will be away from Tue, Dec 1" in await read(alice, "/away")
        assert (await document(bench))["hold"]["policy"] == {"*": "drop"}
        await bench.call("PUT", "/api/v1/people/alice/hold", {"until": "2026-11-01T00:00:00Z"}, 200)
        assert "You were away until" in await read(alice, "/away")

    @pytest.mark.parametrize(
        "fields, words",
        [
            ({"until": ""}, "hold.until"),
            ({"until": "tomorrow"}, "hold.until"),
            ({"until": "2020-01-01T00:00"}, "over"),
            ({"until": "9999-12-31T23:59"}, "hold.until"),
            ({"until": "2026-12-24T18:00", "since": "x"}, "hold.since"),
            ({"until": "2026-12-24T18:00", "rest": "burn"}, "hold.policy.*"),
            ({"until": "2026-12-24T18:00", "type": ["a..b"], "policy": ["drop"]}, "hold.policy.a..b"),
            ({"until": "2026-12-24T18:00", "pass_from": "loud"}, "hold.pass_from"),
        ],
    )
    async def test_what_is_wrong_is_named_and_kept(self, alice, bench, fields, words):
        page = await post(alice, "/away", 422, **fields, note="keep me")
        assert words in page and "keep me" in page and f'value="{fields["until"]}"' in page
        assert await document(bench) == {}


class TestFollows:
    async def test_follow_mute_and_back(self, alice, bench):
        await post(alice, "/follows/add", object=" KDE/okular ")
        await post(alice, "/follows/add", object="instrument/yumo", below="1")
        assert (await document(bench))["follows"] == ["KDE/okular", "instrument/yumo/"]
        await post(alice, "/follows/remove", object="instrument/yumo/")
        await post(alice, "/follows/mute", object="request/7", level="full")
        place = await post(alice, "/follows/mute", object="GNOME/", below="1")
        assert await document(bench) == {"follows": ["KDE/okular"], "mutes": {"request/7": "full", "GNOME/": "normal"}}
        page = await read(alice, place)
        assert "KDE/okular" in page and "all below" in page and "Undo" in page
        await post(alice, "/follows/unmute", object="request/7")
        await post(alice, "/follows/unmute", object="GNOME/")
        await post(alice, "/follows/remove", object="KDE/okular")
        assert {name: value for name, value in (await document(bench)).items() if value} == {}
        _, version = await bench.store.wants("alice")
        await post(alice, "/preferences/undo", version=str(version), view="/follows")
        assert (await document(bench))["follows"] == ["KDE/okular"]

    async def test_a_mute_for_a_time(self, alice, bench):
        before = bench.house.now()
        page = await read(alice, await post(alice, "/follows/mute", object="request/7", lasts="7"))
        said = (await document(bench))["mutes"]["request/7"]
        assert said["level"] == "normal" and timedelta(days=7) <= datetime.fromisoformat(said["until"]) - before < timedelta(days=7, minutes=5)
        assert "until " in page
        await post(alice, "/follows/mute", object="request/7", level="full", until=said["until"])
        changed = (await document(bench))["mutes"]["request/7"]
        assert (changed["level"], datetime.fromisoformat(changed["until"])) == ("full", datetime.fromisoformat(said["until"]))
        await bench.call("PUT", "/api/v1/people/alice/mutes?object=request/7&level=full&until=2024-01-01T00:00:00Z", status=200)
        assert "over" in await read(alice, "/follows")
        assert "mutes.request/7.until" in await post(alice, "/follows/mute", 422, object="request/7", until="soon")

    async def test_nothing_and_too_much(self, alice, bench):
        assert "name an object" in await post(alice, "/follows/add", 422, object="  ")
        assert "255" in await post(alice, "/follows/mute", 422, object="x" * 300)
        page = await post(alice, "/follows/mute", 422, object="request/7", level="very")
        assert "mutes.request/7" in page and 'value="request/7"' in page


class TestExchange:
    async def test_out_and_in_again_is_the_same(self, alice, bench):
        said = {
            "preferences": {"*": {"mail": {"when": "daily", "form": "full"}}},
            "rules": [{"id": "a", "type": "obs", "do": {"mail": "off"}}],
            "follows": ["KDE/kate"],
            "quiet": ["22:00", "07:00"],
        }
        await bench.call("PUT", "/api/v1/people/alice/preferences", said, 200)
        answer = await alice.get("/preferences/export")
        assert answer.headers["content-type"].startswith("application/toml") and "attachment" in answer.headers["content-disposition"]
        assert "Nothing: this is what is stored already" in await post(alice, "/preferences/import", 200, document=answer.text)
        await post(alice, "/preferences/import/apply", version="1", document=answer.text)
        assert await document(bench) == said

    async def test_a_plan_says_what_would_differ_and_saves_nothing(self, alice, bench):
        await bench.post("quite.new", to=["alice"])
        await bench.work()
        text = '[preferences."*"]\nmail = "daily"\n'
        page = await post(alice, "/preferences/import", 200, document=text)
        assert "preferences.*.mail" in page and "1 delivery would have been different" in page
        assert await document(bench) == {}
        place = await post(alice, "/preferences/import/apply", version="0", document=text.replace("\n", "\r\n"))
        assert place == "/preferences?saved=1"
        assert await document(bench) == {"preferences": {"*": {"mail": "daily"}}}
        assert "changed meanwhile" in await post(alice, "/preferences/import/apply", 422, version="0", document="")
        assert await document(bench) == {"preferences": {"*": {"mail": "daily"}}}

    async def test_from_a_file(self, alice):
        answer = await alice.post("/preferences/import", files={"file": ("p.toml", b'paused = ["mail"]\n')}, headers=OWN)
        assert answer.status_code == 200 and "paused" in answer.text
        for content, words in ((b"\xff\xfe", "UTF-8"), (b"#" * 1_000_001, "too large")):
            answer = await alice.post("/preferences/import", files={"file": ("p.toml", content)}, headers=OWN)
            assert answer.status_code == 422 and words in answer.text

    @pytest.mark.parametrize(
        "text, words",
        [
            ("a = [", "not TOML"),
            ('colour = "red"', "colour"),
            ('[preferences.obs]\nmail = "x"', "preferences.obs.mail"),
            ("a = " + "[" * 5_000, "422"),
        ],
    )
    async def test_what_is_wrong_is_named_and_kept(self, alice, bench, text, words):
        page = await post(alice, "/preferences/import", 422, document=text)
        assert words in page or words == "422"
        assert text.replace('"', "&#34;") in page
        assert await document(bench) == {}


class TestParts:
    """The same over the API, with versions."""

    async def test_a_scope_with_its_version(self, bench):
        await bench.person("alice")
        base = "/api/v1/people/alice"
        answer = await bench.api.put(f"{base}/preferences/scopes/OBS.Build", json={"mail": "daily"})
        assert (answer.status_code, answer.headers["etag"], answer.json()) == (200, '"1"', {"version": 1})
        answer = await bench.api.get(f"{base}/preferences/scopes/obs.build")
        assert (answer.headers["etag"], answer.json()) == ('"1"', {"mail": "daily"})
        late = {"If-Match": '"0"'}
        for method, path, body in (
            ("PUT", "preferences/scopes/obs", {"mail": "off"}),
            ("PUT", "preferences/unknown", {"mail": "off"}),
            ("PUT", "quiet", {}),
            ("PUT", "schedules/x", {"every": "day"}),
            ("PUT", "paused/mail", None),
        ):
            await bench.call(method, f"{base}/{path}", body, 409, headers=late)
        for path in ("preferences/scopes/obs.build", "preferences/unknown", "quiet", "paused/mail"):
            assert (await bench.api.delete(f"{base}/{path}", headers=late)).status_code == 409
        assert (await bench.api.delete(f"{base}/preferences/scopes/obs.build", headers={"If-Match": '"1"'})).status_code == 204
        assert await document(bench) == {}

    async def test_capitals_in_a_document_are_the_same_scope(self, bench):
        await bench.person("alice", preferences={"preferences": {"OBS": {"mail": "off"}}})
        assert await bench.call("GET", "/api/v1/people/alice/preferences/scopes/obs") == {"mail": "off"}
        await bench.call("PUT", "/api/v1/people/alice/preferences/scopes/obs", {"mail": "daily"}, 200)
        assert await document(bench) == {"preferences": {"obs": {"mail": "daily"}}}

    async def test_undo_needs_the_version(self, bench):
        await bench.person("alice")
        await bench.call("PUT", "/api/v1/people/alice/preferences/unknown", {"mail": "off"}, 200)
        for header in (None, "*", '"7"'):
            answer = await bench.api.post("/api/v1/people/alice/preferences/undo", headers={"If-Match": header} if header else {})
            assert answer.status_code == (409 if header == '"7"' else 422)
        assert await bench.call("POST", "/api/v1/people/alice/preferences/undo", status=200, headers={"If-Match": '"1"'}) == {"version": 2}
        assert await document(bench) == {}

    async def test_somebody_elses_parts_are_nobodys(self, bench, outside):
        await bench.person("alice", preferences={"paused": ["mail"]})
        await bench.person("bob")
        made = await bench.call("POST", "/api/v1/people/bob/tokens", {"scopes": ["read", "write"]}, 201)
        key = {"Authorization": f"Bearer {made['secret']}"}
        for method, path in (
            ("GET", "preferences/scopes/obs"),
            ("PUT", "preferences/scopes/obs"),
            ("DELETE", "paused/mail"),
            ("POST", "preferences/undo"),
            ("GET", "schedules"),
            ("PUT", "quiet"),
            ("PUT", "presets/mine/agents/mail"),
        ):
            answer = await outside.request(method, f"/api/v1/people/alice/{path}", json={}, headers=key | {"If-Match": '"1"'})
            assert answer.status_code == 404, path
        assert await document(bench) == {"paused": ["mail"]}
