"""Mail that comes in, as bytes: signed addresses go there and back, no bytes surprise us, and a report is judged by its status."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angelia.inlets.mail.reading import bounce_in, came_to, is_automatic, parsed, quoted_in
from angelia.inlets.mail.settings import MailInletSettings
from angelia.model.errors import BadSettings
from angelia.model.return_path import MOST_LOCAL, Verb, answer_of, answer_path, delivery_of, is_signed, return_path
from angelia.planning.bounces import Bounce, ends_address
from angelia_testing.mutation import Mutator

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
IDS = st.integers(0, 2**63 - 1)
TIMES = st.datetimes(datetime(1970, 1, 1), datetime(2830, 1, 1), timezones=st.just(UTC))
LOCALS = st.text("abcXYZ019._-", min_size=1, max_size=MOST_LOCAL)
ODD = st.text(st.characters(codec="utf-8"), max_size=60)
REPORT = b"""From: MAILER-DAEMON@example.org
To: bounce@example.org
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.org

Final-Recipient: rfc822; bob@example.org
Action: relayed
Status: 2.1.5

Final-Recipient: rfc822; alice@example.org
Action: Failed
Status: 5.2.2 (full)
Diagnostic-Code: smtp; 552 5.2.2
 mailbox full

--b--
"""
REPLY = b"From: Alice <alice@example.org>\nTo: Hub <answer+x@example.org>\nSubject: Re: done\nAuto-Submitted: no\n\nI do it.\n"


@given(LOCALS, IDS, IDS, IDS, TIMES, st.sampled_from(Verb))
def test_an_answer_goes_there_and_back_for_one_person_only(local, delivery_id, person_id, other_id, expires_at, verb):
    path = answer_path(f"{local}@example.org", b"secret", verb, delivery_id, person_id, expires_at)
    assert len(path.partition("@")[0]) <= 64
    for seen in (path, path.upper(), path.swapcase()):
        found = answer_of(seen)
        assert (found.verb, found.delivery_id, found.expires_at.date()) == (verb, delivery_id, expires_at.date() + timedelta(days=1))
        assert is_signed(found, b"secret", person_id)
        assert not is_signed(found, b"another", person_id)
        assert is_signed(found, b"secret", other_id) is (other_id == person_id)
    assert delivery_of(path, b"secret") is None
    assert answer_of(return_path("bounce@example.org", b"secret", delivery_id)) is None


@given(ODD, IDS, st.integers(0, 200), st.sampled_from("0z+-@a"))
def test_no_other_text_is_an_address_of_ours(text, number, place, letter):
    assert delivery_of(text, b"secret") is None
    found = answer_of(text)
    assert found is None or not is_signed(found, b"secret", number)
    path = answer_path("answer@example.org", b"secret", Verb.SEEN, number, 1, NOW)
    start, end = path.index("+") + 1, path.index("@")
    place = start + place % (end - start)
    bent = path[:place] + letter + path[place + 1 :]
    found = answer_of(bent)
    assert bent == path or found is None or not is_signed(found, b"secret", 1)


def _bent(seed):
    return Mutator(seed).bytes_of((REPORT, REPLY))


@given(st.one_of(st.binary(max_size=400), st.integers(0, 10_000).map(_bent)))
def test_no_bytes_surprise_us(raw):
    mail = parsed(raw)
    bounce = bounce_in(mail)
    assert bounce is None or (bounce.status[0] in "45" and "\n" not in bounce.why and len(bounce.why) <= 200)
    assert is_automatic(mail, "alice@example.org") in (True, False)
    assert all("@" in address for address in came_to(mail) + quoted_in(mail))


def test_a_report_names_the_first_recipient_that_failed():
    assert bounce_in(parsed(REPORT)) == Bounce("5.2.2", "smtp; 552 5.2.2 mailbox full")
    assert bounce_in(parsed(REPORT.replace(b"Failed", b"delayed"))) is None
    assert bounce_in(parsed(REPORT.replace(b"multipart/report;", b"multipart/mixed;"))) is None
    assert bounce_in(parsed(REPORT.replace(b"5.2.2 (full)", b"2.0.0"))) is None


def test_a_header_of_brackets_spoils_no_other():
    mail = parsed(b"To: " + b"(" * 5_000 + b"\nDelivered-To: bounce@example.org\nCc: a@example.org\n\n")
    assert came_to(mail)[0] == "bounce@example.org" and "a@example.org" in came_to(mail)


def test_a_plain_reply_is_meant_and_what_names_a_machine_is_not():
    assert not is_automatic(parsed(REPLY), "alice@example.org")
    assert not is_automatic(parsed(REPLY), None)
    assert is_automatic(parsed(REPLY), "")
    for line in (b"Return-Path: <>", b"Precedence: Junk", b"X-Loop: a", b"Auto-Submitted: Auto-Replied"):
        assert is_automatic(parsed(line + b"\n" + REPLY.replace(b"Auto-Submitted: no\n", b"")), None), line
    for subject in ("Out of Office: x", "Abwesenheitsnotiz", "=?utf-8?b?0JDQstGC0L7QvtGC0LLQtdGC?="):
        assert is_automatic(parsed(REPLY.replace(b"Re: done", subject.encode())), None), subject


@pytest.mark.parametrize(
    ("status", "others", "ends"),
    [
        ("5.1.1", (), True), ("5.0.0", (), True), ("5.2.1", (), True), ("5.4.4", (), True),
        ("5.2.2", (), False), ("5.7.1", (), False), ("5.3.4", (1,), False), ("4.4.7", (), False),
        ("5.2.2", (1, 2), True), ("4.4.7", (1, 13), True), ("5.2.2", (1, 15), False), ("5.2.2", (0, 0, 0), False), ("5.2.2", (1, 1, 0), False),
    ],
)  # fmt: skip
def test_an_address_ends_at_once_or_after_failures_on_three_days(status, others, ends):
    assert ends_address(Bounce(status, "x"), [NOW - timedelta(days=days) for days in others], NOW) is ends


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "pop3://a:b@h"}, {"url": "imaps://h"}, {"url": "imaps://a@h"}, {"url": "imap://a:b@mail.example.org"}, {"every": 0},
        {"url": "imaps://a:b@h/Päckchen"}, {"url": "imaps://a:b@h", "aside": ""}, {"url": "imaps://a:b@h", "done": "a\r\nb"},
    ],
)  # fmt: skip
def test_a_mailbox_that_can_not_work_is_refused_at_the_start(wrong):
    with pytest.raises(BadSettings):
        MailInletSettings(**wrong)


def test_a_mailbox_is_one_url():
    box = MailInletSettings(url="imap+starttls://hub%40x:p%2Fw@mail.example.org/In%20box").mailbox
    assert (box.user, box.password, box.host, box.port, box.folder) == ("hub@x", "p/w", "mail.example.org", 143, "In box")
    assert MailInletSettings(url="imaps://a:b@h").mailbox.folder == "INBOX"
