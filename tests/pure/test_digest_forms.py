"""The two forms of a digest: one line an item, or with bodies; golden files byte for byte."""

import email
import email.policy
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from angelia.agent import Letter
from angelia.agents.mail.mime import build
from angelia.model.delivery import Delivery, State
from angelia.model.errors import InvalidInput
from angelia.model.message import Severity
from angelia.model.person import Address, AddressState, Person
from angelia.planning.digest import MOST_BODIES, MOST_BODY, DigestItem, assemble, with_bodies
from angelia.planning.document import parse_wants
from angelia.planning.trial import run
from angelia.rendering.render import footer_of, render_digest
from angelia.stores.rows import digest_from, digest_text

NOW = datetime(2024, 3, 5, 13, tzinfo=UTC)
GOLDEN = Path(__file__).parent / "golden"


def item(number, subject, **fields):
    return DigestItem(delivery_id=number, message_id=number, type="obs.build.fail", subject=subject,
                      **({"occurred_at": NOW + timedelta(minutes=number), "object": "KDE/okular"} | fields))  # fmt: skip


BODIES = {
    1: ("ld: cannot find -lpoppler\n\nSee https://example.org/log?a=1&b=2.", "text"),
    2: ("ld: cannot find -lpoppler\n\nSee https://example.org/log?a=1&b=2.", "text"),
    3: ("The **log** says:\n\n- no space left\n- <script>alert(1)</script>", "markdown"),
    4: ("<p>First</p><p>Second <b>bold</b><img src='http://127.0.0.1/t'></p>", "html"),
    5: ("word " * 1_000, "text"),
    6: ("", "text"),
}


def a_digest(*, is_full):
    items = [
        item(1, "okular failed on x86_64", collapse_key="k", severity=Severity.HIGH),
        item(2, "okular failed on x86_64 again", collapse_key="k", severity=Severity.HIGH, object_url="https://example.org/okular"),
        item(3, "kate failed", object="KDE/kate"),
        item(4, "kate: größer als gedacht", object="KDE/kate"),
        item(5, "long", object="KDE/kate"),
        item(6, "without a body", object="KDE/kate"),
    ]
    digest = assemble(items, NOW + timedelta(hours=1)).digest
    return with_bodies(digest, BODIES) if is_full else digest


def mail(digest, schedule="daily", language="en"):
    delivery = Delivery(delivery_id=4711, person_id=1, agent="mail", address_id=1, state=State.SENDING, due_at=NOW, schedule=schedule)
    letter = Letter(
        delivery=delivery,
        person=Person(person_id=1, login="alice", time_zone="Europe/Berlin", language=language),
        address=Address(address_id=1, person_id=1, agent="mail", value="alice@example.org", state=AddressState.OK),
        digest=digest,
        decided_by="schedule:daily",
        web_url="https://hub.example.org/m/1",
        slot_at=NOW,
    )
    content = render_digest(letter, "mail", dict)
    return content, build(letter, content, footer_of(letter), sender="hub@example.org", sender_name="Angelia", domain="example.org").raw


@pytest.mark.parametrize("form", ["short", "full"])
def test_golden(form):
    digest = a_digest(is_full=form == "full")
    _, raw = mail(digest_from(digest_text(digest)))
    path = GOLDEN / f"digest-{form}.eml"
    if not path.exists():
        path.write_bytes(raw)
        pytest.fail(f"{path.name} was missing and is written now: read it, then keep it")
    assert raw == path.read_bytes()


def test_what_a_reader_sees_of_bodies():
    content, raw = mail(a_digest(is_full=True))
    assert "  - okular failed on x86_64 again (high, 2 times, last 5 Mar 14:02)" in content.text
    assert "    ld: cannot find -lpoppler\n\n    See https://example.org/log?a=1&b=2.\n" in content.text
    assert "word…\n" in content.text and "word…" in content.html
    assert "<script" not in content.html and "<img" not in content.html
    assert '<a href="https://example.org/log?a=1&amp;b=2"' in content.html
    parsed = email.message_from_bytes(raw, policy=email.policy.default)
    assert "no space left" in parsed.get_body(("plain",)).get_content()
    short, _ = mail(a_digest(is_full=False))
    assert "poppler" not in short.text + short.html


def test_a_digest_of_one_message_and_of_a_schedule_of_hers():
    one = assemble([item(1, "okular failed")], NOW + timedelta(hours=1)).digest
    assert (mail(one)[0].subject, mail(one)[0].text.split("\n")[0]) == ("Daily digest: okular failed", "One message, 5 Mar 2024 14:01 +0100")
    assert mail(one, schedule="lunch")[0].subject == "Digest “lunch”: okular failed"
    assert mail(one, language="de")[0].subject == "Tägliche Sammelnachricht: okular failed"


def test_bodies_are_bounded_one_by_one_and_together():
    items = [item(n, f"s{n}", object=f"o/{n}", severity=Severity.HIGH if n == 7 else Severity.NORMAL) for n in range(300)]
    digest = with_bodies(assemble(items, NOW + timedelta(days=1)).digest, dict.fromkeys(range(300), ("x" * 5000, "text")))
    lines = [line for group in digest.groups for line in group.lines]
    assert len(lines) == 300
    assert max(len(line.body) for line in lines) == MOST_BODY
    assert sum(len(line.body) for line in lines) == MOST_BODIES
    assert all(line.is_cut == bool(line.body) for line in lines)
    bodied = {line.message_id for line in lines if line.body}
    assert bodied == {7, *range(300 - MOST_BODIES // MOST_BODY + 1, 300)}, "the most pressing, then the newest"


def test_bodies_stand_below_the_lines_that_want_them():
    whole = assemble([item(n, f"s{n}") for n in range(3)], NOW + timedelta(days=1)).digest
    (group,) = with_bodies(whole, {1: ("one", "html"), 9: ("nobody's", "text")}).groups
    assert {line.message_id: (line.body, line.body_format, line.is_cut) for line in group.lines} == {
        0: ("", "text", False), 1: ("one", "html", False), 2: ("", "text", False),
    }  # fmt: skip
    assert with_bodies(whole, {}) == whole


def test_an_older_digest_without_bodies_is_still_read():
    digest = assemble([item(1, "s")], NOW + timedelta(days=1)).digest
    text = digest_text(digest).replace(',"body":"","body_format":"text","is_cut":false', "")
    assert "body" not in text and digest_from(text) == digest


@pytest.mark.parametrize(
    ("wish", "single", "held"),
    [("x", "full", "short"), ({"form": "short"}, "short", "short"), ({"form": "full"}, "full", "full"), ({}, "full", "short")],
)
def test_what_is_usual_and_what_she_says(wish, single, held):
    def treatment(when):
        said = when if wish == "x" else {"when": when} | wish
        return parse_wants({"preferences": {"*": {"mail": said}}}, known_schedules=["daily"]).preferences["*"]["mail"][0]

    assert treatment("now").form_in(is_digest=False) == single
    assert treatment("daily").form_in(is_digest=True) == held


def test_a_form_that_there_is_not():
    with pytest.raises(InvalidInput):
        parse_wants({"unknown": {"mail": {"form": "huge"}}})
    assert run({"message": {"type": "a", "at": "2024-03-05T14:00:00Z"}})["explain"] == {}
