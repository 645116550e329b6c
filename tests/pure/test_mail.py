"""The bytes of a mail: golden files, and headers that no foreign text can bend."""

import email
import email.policy
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiosmtplib.protocol import PERIOD_REGEX, normalize_message_line_endings
from hypothesis import example, given
from hypothesis import strategies as st

from angelia.agent import Letter
from angelia.agents.mail import MailAgent
from angelia.agents.mail.mime import build
from angelia.agents.mail.settings import MailSettings
from angelia.agents.mail.wire import dotted
from angelia.model.delivery import Delivery, State
from angelia.model.errors import BadSettings
from angelia.model.message import Attachment, Message, Sender, Severity
from angelia.model.person import Address, AddressState, Person
from angelia.planning.digest import DigestItem, assemble
from angelia.rendering.render import check_template, footer_of, render_digest, render_message
from angelia_testing.mutation import Mutator

NOW = datetime(2024, 3, 5, 13, tzinfo=UTC)
GOLDEN = Path(__file__).parent / "golden"
COUNT = int(os.environ.get("ANGELIA_FUZZ") or ("10000" if os.environ.get("ANGELIA_SOAK") else "1000"))
SEED = int(os.environ.get("ANGELIA_SEED", "20261124"))
LINK = "https://hub.example.org/unsubscribe/abc"


def letter(language="en", because=("to", "role:maintainer"), digest=None, decided_by="rule:2", **fields):
    message = None
    if digest is None:
        defaults = {
            "message_id": 77, "source": "build service", "type": "obs.build.fail", "received_at": NOW, "occurred_at": NOW,
            "subject": "okular failed to build", "body": "ld: cannot find -lpoppler\nSee https://example.org/log?a=1&b=2.",
            "sender": Sender("obs", "The build service"), "severity": Severity.HIGH, "object": "KDE/okular",
            "tags": (("priority", "4"),), "params": {"arch": "x86_64"},
        }  # fmt: skip
        message = Message(**(defaults | fields))
    delivery = Delivery(delivery_id=4711, person_id=1, agent="mail", address_id=1, state=State.SENDING, due_at=NOW, schedule="daily")
    return Letter(
        delivery=delivery,
        person=Person(person_id=1, login="alice", language=language, time_zone="Europe/Berlin"),
        address=Address(address_id=1, person_id=1, agent="mail", value="alice@example.org", state=AddressState.OK),
        message=message,
        digest=digest,
        because=because,
        decided_by=decided_by,
        unsubscribe_url=LINK,
        web_url="https://hub.example.org/m/1",
        slot_at=NOW,
    )


def built(made):
    content = render_message(made, "mail", "full", dict) if made.message else render_digest(made, "mail", dict)
    return build(made, content, footer_of(made), sender="hub@example.org", sender_name="Angelia", domain="example.org").raw


def a_digest():
    items = [
        DigestItem(delivery_id=n, message_id=n, type="obs.build.fail", subject=f"{name} failed", object=f"KDE/{name}", collapse_key=name,
                   occurred_at=NOW + timedelta(minutes=n))
        for n, name in enumerate(["okular", "kate", "okular"])
    ]  # fmt: skip
    return assemble(items, NOW + timedelta(hours=1)).digest


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("message-en", letter()),
        ("message-de", letter("de", subject="Größe: прочтено ✓ " + "sehr " * 40)),
        ("digest-ru", letter("ru", because=(), digest=a_digest(), decided_by="schedule:daily")),
    ],
)
def test_golden(name, made):
    path = GOLDEN / f"{name}.eml"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(built(made))
        pytest.fail(f"{path.name} was missing and is written now: read it, then keep it")
    assert built(made) == path.read_bytes()


def test_what_the_readers_program_sees():
    mail = email.message_from_bytes(built(letter(subject="Größe ✓")), policy=email.policy.default)
    assert mail["Subject"] == "Größe ✓"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["List-Unsubscribe"] == f"<{LINK}>"
    assert mail["X-Hermes-Tag-Priority"] == "4"
    text, html = mail.iter_parts()
    assert "because you are named as a recipient and you are maintainer of KDE/okular" in text.get_content()
    assert '<a href="https://example.org/log?a=1&amp;b=2"' in html.get_content()
    assert all(len(line) < 998 for line in built(letter(body="x" * 3000)).split(b"\r\n"))


MEANT = ["From", "To", "Subject", "Date", "Message-ID", "In-Reply-To", "References", "List-Id", "Auto-Submitted", "Precedence",
         "List-Unsubscribe", "List-Unsubscribe-Post", "X-Angelia-Type", "X-Angelia-Severity", "X-Angelia-Source", "X-Angelia-Object",
         "X-Angelia-Rule", "X-Angelia-Reason", "MIME-Version", "Content-Type"]  # fmt: skip
ATTACKS = ["x\r\nBcc: e@x", "x\nBcc: e@x", "x\x0bBcc", "x\x85Bcc", "x\u2028Bcc", "=?utf-8?q?x=0ABcc:_evil@x?=", "\x00", "\ud800", "y" * 5000]


@given(st.one_of(st.sampled_from(ATTACKS), st.text()))
@example("=?utf-8?q?x=0ABcc:_evil@x?=")
@example("a " * 400 + "=?utf-8?q?x=0ABcc:_evil@x?=")
def test_no_text_adds_a_header(text):
    made = letter(subject=text, body=text, tags=((text, text), ("ok", text)), sender=Sender(text, text), object="o" + text, params={"k": text})
    raw = built(made)
    head = raw.split(b"\r\n\r\n", 1)[0]
    names = [line.split(b":")[0].decode() for line in head.split(b"\r\n") if not line.startswith(b" ")]
    assert [name for name in names if not name.startswith("X-Hermes-Tag-")] == MEANT
    mail = email.message_from_bytes(raw, policy=email.policy.default)
    assert mail["To"] == "alice@example.org"
    assert mail["Bcc"] is None


OWN = ["X-Angelia-Digest", "X-Angelia-Rule"]


def test_a_text_goes_with_it_as_a_file_whatever_its_lines_and_its_name():
    code = "x = " + "é" * 2_000 + "\nFrom here\n.\n--=_b\n"
    raw = built(letter(attachment=Attachment('../a\r\nBcc: b@c "api code".py', code)))
    assert max(map(len, raw.split(b"\r\n"))) <= 998 and raw.count(b"\n") == raw.count(b"\r\n")
    seen = email.message_from_bytes(raw, policy=email.policy.default)
    assert seen.defects == [] and seen.get_content_type() == "multipart/mixed" and seen["Bcc"] is None
    inner, file = seen.iter_parts()
    assert [part.get_content_type() for part in inner.iter_parts()] == ["text/plain", "text/html"]
    assert (file.get_filename(), file.get_content().rstrip("\n")) == (".._a_Bcc_b_c_api_code_.py", code.rstrip("\n"))
    assert raw == built(letter(attachment=Attachment('../a\r\nBcc: b@c "api code".py', code)))


def test_a_sites_template_says_each_state_of_a_job_in_its_own_words():
    """One template for all instruments, by inheritance along the type, and what it says follows the state."""
    source = (
        "{% if params.state == 'failed' %}Sorry: {{ subject }}{% elif params.state == 'done' %}Ready: {{ subject }}{% else %}{{ subject }}{% endif %}"
    )
    assert check_template(source) == ""
    for state, said in (("failed", "Sorry: Echo"), ("done", "Ready: Echo"), ("queued", "Echo")):
        made = letter(type=f"job.echo.{state}", subject="Echo", params={"state": state})
        assert render_message(made, "mail", "full", lambda: {"job/mail/full/en/subject": source}).subject == said


def read_back(raw):
    """What any reader makes of the bytes: names of headers in order, and the text of each part."""
    assert raw.isascii() and b"\0" not in raw
    assert all(len(line) <= 998 and b"\r" not in line and b"\n" not in line for line in raw.split(b"\r\n"))
    mail = email.message_from_bytes(raw)
    assert mail.defects == []
    parts = mail.get_payload()
    assert [(part.keys(), part.defects) for part in parts] == [(["Content-Type", "Content-Transfer-Encoding"], [])] * 2
    return mail.keys(), [part.get_payload(decode=True).decode() for part in parts]


def test_a_thousand_letters_of_hostile_text_have_the_headers_that_were_meant():  # figure R13 for mail
    mutator = Mutator(SEED)
    text = mutator.text
    for number in range(COUNT):
        made = letter(
            subject=text(), body=text(), body_format=mutator.random.choice(["text", "markdown", "html"]), object=f"o{text()}", thread=text(), actor=text(),
            source=f"s{text()}", sender=Sender(text(), text()), tags=((text(), text()), ("ok-1", text())), params={text(): text(), "p": (text(), text())},
            collapse_key=text(), object_url="https://hub.example.org/x", language=mutator.random.choice(["en", "de", "ru"]),
            because=("to", f"role:{text()}", f"group:{text()}"), decided_by=f"rule:{text()}",
        )  # fmt: skip
        names, parts = read_back(built(made))
        assert [name for name in names if not name.startswith("X-Hermes-Tag-")] == MEANT, (SEED, number)
        assert "X-Hermes-Tag-Ok-1" in names
        assert all(bad not in parts[1].lower() for bad in ("<script", "<img", "<iframe", 'href="javascript', "\0", "\x1b")), (SEED, number)


def test_digests_of_hostile_text_have_the_headers_that_were_meant():
    mutator = Mutator(SEED)
    text = mutator.text
    for number in range(COUNT // 10):
        items = [
            DigestItem(delivery_id=n, message_id=n, type="obs.build.fail", subject=text(), object=text(), collapse_key=text(), occurred_at=NOW)
            for n in range(mutator.random.randint(1, 5))
        ]
        made = letter(because=(), digest=assemble(items, NOW + timedelta(hours=1)).digest, decided_by=f"schedule:{text()}")
        names, parts = read_back(built(made))
        assert (
            names
            == [name for name in MEANT if name not in ("In-Reply-To", "References") and not name.startswith("X-Angelia")][:-2] + OWN + MEANT[-2:]
        ), number
        assert all(bad not in parts[1].lower() for bad in ("<script", "<img", "<iframe", "\0", "\x1b")), (SEED, number)


PAYLOADS = ["<script>alert(1)</script>", "<img src=http://127.0.0.1/t>", "<a href=javascript:alert(1)>x</a>", "<style>*{}</style>", "<form>",
            "[x](javascript:alert(1))", "![i](https://example.org/i.png)", '"><svg onload=alert(1)>']  # fmt: skip


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("body_format", ["text", "markdown", "html"])
def test_foreign_markup_is_text_or_gone(payload, body_format):
    markup = render_message(letter(subject=payload, body=payload, body_format=body_format, object=payload), "mail", "full", dict).html
    lowered = markup.lower()
    for bad in ("<script", "<img", "<style>", "<form", "<svg", 'href="javascript'):
        assert bad not in lowered


@given(st.lists(st.sampled_from([b"x", b".", b"\r\n", b"\n", b"\r", b"From "])).map(b"".join))
@example(b".\r\n.\r\n..\r\n.")
@example(b"x\r\n.\nx\r.\r\n")
def test_no_line_of_a_mail_is_its_end(raw):
    """As the library would write it: lone line ends are whole ones, a dot more where one begins a line."""
    assert dotted(raw) == PERIOD_REGEX.sub(b"..", normalize_message_line_endings(raw)) + b".\r\n"


@pytest.mark.parametrize(
    "value",
    ["a@b\r\nBcc: c@d", "a@b, c@d", '"x" <a@b.org>', "a@localhost", "a@[127.0.0.1]", "alice@allowed.example)bob@evil.example",
     "ä@example.org", "a@exämple.org", "-a@example.org", "a" * 65 + "@example.org", "a@" + "b" * 260 + ".org", "a@b@c.org", ""],
)  # fmt: skip
def test_what_is_no_address(value):
    assert MailAgent(MailSettings()).check_address(value) is None


def test_an_address_keeps_its_local_part():
    assert MailAgent(MailSettings()).check_address("Alice+x@Example.ORG") == "Alice+x@example.org"


@pytest.mark.parametrize("url", ["ftp://x", "smtp://", "maildir:", "nonsense", "smtp://host:port"])
def test_settings_that_would_fail_at_night(url):
    with pytest.raises(BadSettings):
        MailSettings(url=url)


def test_certificates_that_are_not_there_are_named():
    with pytest.raises(BadSettings, match=r"agents\.mail\.ca_file: No such file"):
        MailAgent(MailSettings(url="smtps://host", ca_file="/nowhere"))


def test_a_site_template_and_a_broken_one():
    templates = {"obs.build/mail/full/en/subject": "[{{ params.arch }}] {{ subject }}", "obs/mail/full/en/text": "{{ nothing.at.all }}"}
    content = render_message(letter(), "mail", "full", lambda: templates)
    assert content.subject == "[x86_64] okular failed to build"
    assert "poppler" in content.text


@pytest.mark.parametrize(
    "source",
    ["{{ ''.__class__.__mro__ }}", "{% for i in range(10**9) %}x{% endfor %}", "{{ 'x'*10**9 }}", "{{ '{0.__class__}'.format(1) }}",
     "{% include 'x' %}", "{{ unclosed", "{% set x = 1 %}" * 9000, "{{ body*999999999 }}", "{{ 2**(2**(2**(2**(2**3)))) }}", "{{ '%999999999d' % 1 }}",
     "{{ 'x'.ljust(999999999) }}", "{{ '{:>999999999}'.format(1) }}", "{{ 'x'.zfill(999999999) }}", "{{ body|join(body) }}", "{{ body|replace('', body) }}",
     "{% set a = 'x' %}" + "{% set a = a ~ a %}" * 60, "{% set a = 'x' %}" + "{% set a = a + a %}" * 60, "{% set a %}x{% endset %}" + "{% set a %}{{ a }}{{ a }}{% endset %}" * 60,
     "{% macro a() %}{{ a() }}{{ a() }}{% endmacro %}{{ a() }}", "{% for a in facts %}" * 40 + "x" + "{% endfor %}" * 40, "{{ body }}" * 6_000, "{{ body }}" * 400,
     "{{ {'a': 1}|tojson(indent=999999999) }}", "{{ 'a'|batch(999999999, 'x')|list }}", "{{ {}.__class__ }}", "{{ self.__init__.__globals__ }}"],
)  # fmt: skip
def test_templates_that_reach_out_or_blow_up(source):  # checklist S20, bad input E84
    templates = {"*/mail/full/en/text": source}
    began = time.process_time()
    content = render_message(letter(body="x" * 60_000), "mail", "full", lambda: templates)
    assert time.process_time() - began < 5
    assert check_template(source) or len(content.text) < 70_000
    assert "mro" not in content.text
    assert "<class" not in content.text
