"""Reports of failure in words only: what the common mail servers of old write, as they write it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angelia.inlets.mail.old_reports import old_report_in
from angelia.inlets.mail.reading import has_report, parsed
from angelia.planning.bounces import Bounce
from angelia_testing.mutation import Mutator

QMAIL = """From: MAILER-DAEMON@mx.example.org
To: bounce+x@example.org
Subject: failure notice

Hi. This is the qmail-send program at mx.example.org.
I'm afraid I wasn't able to deliver your message to the following addresses.
This is a permanent error; I've given up. Sorry it didn't work out.

<alice@example.org>:
192.0.2.7 does not like recipient.
Remote host said: 550 5.1.1 <alice@example.org>: Recipient address rejected
Giving up on 192.0.2.7.

--- Below this line is a copy of the message.

Subject: 4.4.1 and 5.2.2 are only quoted
"""
QMAIL_LOCAL = QMAIL.replace("192.0.2.7 does not like recipient.\nRemote host said: 550 5.1.1 <alice@example.org>: Recipient address rejected\n",
                            "Sorry, no mailbox here by that name. (#5.1.1)\n")  # fmt: skip
SENDMAIL = """From: Mail Delivery Subsystem <MAILER-DAEMON@mx.example.org>
To: <bounce+x@example.org>
Subject: Returned mail: User unknown

The original message was received at Tue, 24 Nov 2026 09:00:00 GMT
from hub.example.org [192.0.2.1]

   ----- The following addresses had permanent fatal errors -----
<alice@example.org>

   ----- Transcript of session follows -----
... while talking to mx.example.org.:
>>> RCPT To:<alice@example.org>
<<< 550 <alice@example.org>... User unknown
550 <alice@example.org>... User unknown

   ----- Original message follows -----

Subject: done
"""
EXIM = """From: Mail Delivery System <Mailer-Daemon@mx.example.org>
To: bounce+x@example.org
Auto-Submitted: auto-replied
X-Failed-Recipients: alice@example.org
Subject: Mail delivery failed: returning message to sender

This message was created automatically by mail delivery software.

A message that you sent could not be delivered to one or more of its
recipients. This is a permanent error. The following address(es) failed:

  alice@example.org
    host mx.example.org [192.0.2.7]
    SMTP error from remote mail server after RCPT TO:<alice@example.org>:
    552 mailbox is full

------ This is a copy of the message, including all the headers. ------

Subject: done
"""
EXCHANGE = """From: postmaster@example.org
To: bounce+x@example.org
Subject: Undeliverable: done

Delivery has failed to these recipients or groups:

alice@example.org
The e-mail address you entered couldn't be found. Please check the recipient's e-mail address and try to resend the message.

Diagnostic information for administrators:
Generating server: mx.example.org
alice@example.org
#550 5.1.10 RESOLVER.ADR.RecipientNotFound; not found ##
"""
OLD_EXCHANGE = """From: System Administrator <postmaster@example.org>
To: bounce+x@example.org
Subject: Undeliverable: done

Your message

  To:      alice@example.org
  Subject: done

did not reach the following recipient(s):

alice@example.org on Tue, 24 Nov 2026 10:00:00 +0100
    The recipient name is not recognized
"""
HTML = """From: MAILER-DAEMON@example.org
Subject: Undeliverable
Content-Type: text/html; charset=utf-8

<html><body><p>Could not be delivered:</p><p>550 5.7.1 <b>Message</b> rejected as spam</p></body></html>
"""
UNKNOWN = "From: Robot <robot@example.org>\nSubject: Problem with your mail\n\nSomething went wrong.\n"
RUSSIAN = "From: MAILER-DAEMON@example.org\nSubject: =?utf-8?b?0J7RiNC40LHQutCw?=\nContent-Type: text/plain; charset=koi8-r\n\n"
ENCLOSED = """From: MAILER-DAEMON@example.org
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: text/plain

<alice@example.org>: 452 4.2.2 mailbox full, given up after 5 days
--b
Content-Type: message/rfc822

Subject: 5.1.1 in the mail itself

5.1.1
--b--
"""


@pytest.mark.parametrize(
    ("text", "status", "why"),
    [
        (QMAIL, "5.1.1", "Remote host said: 550 5.1.1 <alice@example.org>: Recipient address rejected"),
        (QMAIL_LOCAL, "5.1.1", "Sorry, no mailbox here by that name. (#5.1.1)"),
        (SENDMAIL, "5.1.1", "<<< 550 <alice@example.org>... User unknown"),
        (EXIM, "5.2.2", "552 mailbox is full"),
        (EXCHANGE, "5.1.10", "#550 5.1.10 RESOLVER.ADR.RecipientNotFound; not found ##"),
        (OLD_EXCHANGE, "5.1.1", "The recipient name is not recognized"),
        (HTML, "5.7.1", "550 5.7.1 Message rejected as spam"),
        (ENCLOSED, "4.2.2", "<alice@example.org>: 452 4.2.2 mailbox full, given up after 5 days"),
        (UNKNOWN, "4.0.0", "Something went wrong."),
    ],
)
def test_what_servers_write(text, status, why):
    assert old_report_in(parsed(text.encode()), "") == Bounce(status, why)
    if "daemon" in text.lower() or "postmaster" in text:  # out of a mailbox the sender of the envelope may not be known
        assert old_report_in(parsed(text.encode()), None) == Bounce(status, why)
        assert old_report_in(parsed(f"Return-Path: <>\n{text}".encode()), None) == Bounce(status, why)


def test_a_text_in_another_script():
    raw = RUSSIAN.encode() + "Почтовый ящик переполнен\n".encode("koi8-r")
    assert old_report_in(parsed(raw), "") == Bounce("5.2.2", "Почтовый ящик переполнен")


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("550 rejected", "5.1.0"), ("550 rejected as spam", "5.7.1"), ("554 go away", "5.7.0"), ("451 try later", "4.0.0"),
        ("mx [5.1.2.3] said nothing", "4.0.0"), ("port 5502 closed", "4.0.0"), ("first 450 4.7.1 greylisted, then 550 5.4.7 expired", "5.4.7"),
    ],
)  # fmt: skip
def test_codes_without_known_words(words, status):
    assert old_report_in(parsed(f"From: MAILER-DAEMON@example.org\n\n{words}\n".encode()), "").status == status


@pytest.mark.parametrize(
    "text",
    [
        SENDMAIL.replace("permanent fatal errors", "transient non-fatal errors"),
        SENDMAIL.replace("Returned mail: User unknown", "Warning: could not send message for past 4 hours"),
        EXIM.replace("Mail delivery failed: returning message to sender", "Warning: message 1abc delayed 24 hours"),
        "From: MAILER-DAEMON@example.org\nSubject: x\n\nTHIS IS A WARNING MESSAGE ONLY.\n550 5.1.1\n",
        "From: Alice <alice@example.org>\nAuto-Submitted: auto-replied\nSubject: done\n\nI am away until 5.1.27.\n",
        "From: Alice <alice@example.org>\nSubject: Out of Office: done\n\nBack on Monday.\n",
        "From: Alice <alice@example.org>\nPrecedence: bulk\n\nBack on Monday.\n",
        "From: MAILER-DAEMON@example.org\nContent-Type: multipart/report; report-type=disposition-notification; boundary=b\n\n--b\n\nread 550 5.1.1\n--b--\n",
    ],
)
def test_delays_absence_notes_and_receipts_are_none(text):
    assert old_report_in(parsed(text.encode()), "") is None


def test_who_has_a_name_in_the_envelope_reports_nothing():
    assert old_report_in(parsed(QMAIL.encode()), "alice@example.org") is None
    assert old_report_in(parsed(b"From: Alice <alice@example.org>\n\n550 5.1.1\n"), None) is None


def _bent(seed):
    return Mutator(seed).bytes_of([text.encode() for text in (QMAIL, SENDMAIL, EXIM, EXCHANGE, HTML, ENCLOSED)])


@given(st.one_of(st.binary(max_size=400), st.integers(0, 10_000).map(_bent)))
def test_no_bytes_surprise_us(raw):
    mail = parsed(raw)
    assert has_report(mail) in (True, False)
    found = old_report_in(mail, "")
    assert found is None or (found.status[0] in "45" and found.why and "\n" not in found.why and len(found.why) <= 200)
