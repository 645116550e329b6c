"""One try by each way: the hub, mail, Telegram. True is sent, False is later; Never for what will not be taken."""

import json
import re
import smtplib
import ssl
import urllib.error
import urllib.request
from email.header import Header
from email.mime.text import MIMEText
from email.utils import formatdate

CONTROLS = re.compile("\x1b\\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
MOST_UNITS = 4096
LATER = (401, 403, 404, 408, 425, 429)
TOO_LARGE = (413, 431)


class Never(Exception):
    """The other side will never take this; the text says why."""


class OnlyThis(Exception):
    """This message waits, for a mailbox that is full; those behind it go before."""


def clean(text):
    """Without control characters."""
    return CONTROLS.sub("", text)


def one_line(text):
    """The first line, for a subject."""
    lines = [line for line in clean(text).split("\n") if line.strip()]
    return (" ".join(lines[0].split())[:200]) if lines else "message"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A message that is sent on as a question is lost, and a token is for the one to whom it was given: a redirect is an answer like others."""

    def redirect_request(self, *_):
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)


def _post(url, fields, headers, limit):
    """Status and JSON of the answer; OSError where there is none."""
    headers = dict(headers, **{"Content-Type": "application/json"})
    request = urllib.request.Request(url, json.dumps(fields).encode("utf-8"), headers)
    try:
        with _OPENER.open(request, timeout=limit) as answer:
            return answer.getcode(), json.loads(answer.read(65536).decode("utf-8", "replace"))
    except urllib.error.HTTPError as error:
        with error:
            try:
                said = json.loads(error.read(65536).decode("utf-8", "replace"))
            except (OSError, ValueError):
                said = {}
            return error.code, said if isinstance(said, dict) else {}


def to_hub(table, message, limit):
    """To a hub; its key makes a repeat harmless."""
    headers = {"Authorization": "Bearer " + table["token"]} if table.get("token") else {}
    fields = {
        "type": message.get("type", "instrument.message"),
        "subject": one_line(message["text"]),
        "body": clean(message["text"]),
        "idempotency_key": message["key"],
    }
    if table.get("name"):
        fields["object"] = fields["thread"] = "instrument/" + table["name"]
    if table.get("to"):
        fields["to"] = table["to"]
    status, said = _post(table["url"].rstrip("/") + "/api/v1/messages", fields, headers, limit)
    # Whatever stands before the hub says no in its own words: only the hub names the message, or the fault in it.
    if status in (200, 201):
        return isinstance(said, dict) and "id" in said
    if 400 <= status < 500 and status not in LATER and (status in TOO_LARGE or "detail" in said):
        raise Never("the hub answered %d: %s" % (status, said.get("detail", "it is too large")))
    return False


def to_telegram(table, message, limit):
    """To a channel, as plain text that fits."""
    text = clean(message["text"]).strip() or "message"
    data = text.encode("utf-16-le")
    if len(data) > MOST_UNITS * 2:
        text = data[: (MOST_UNITS - 6) * 2].decode("utf-16-le", "ignore") + "\n[cut]"
    url = "%s/bot%s/sendMessage" % (table.get("api", "https://api.telegram.org").rstrip("/"), table["bot-id"])
    status, said = _post(url, {"chat_id": table["channel-id"], "text": text}, {}, limit)
    why = "%s" % said.get("description", "")
    # A channel that is not found or has moved can be mended in the configuration; a text that is refused would stand before all others for ever.
    if status == 400 and "chat" not in why.lower():
        raise Never(why or "the channel answered 400")
    return status == 200 and said.get("ok") is True


def to_mail(table, message, limit):
    """To each recipient, with STARTTLS where it is offered; a password goes over an open line only on this machine.

    Who has it is taken out of the message's `recipients`: who can't have it now gets it later, alone.
    """
    left = message["recipients"] = list(message.get("recipients") or table["recipients"])
    refused = []
    server = smtplib.SMTP(table["server"], int(table.get("port", 25)), timeout=limit)
    try:
        server.ehlo()
        is_safe = table["server"] in ("127.0.0.1", "localhost", "::1") or table.get("plain_login")
        if server.has_extn("starttls"):
            server.starttls(context=ssl.create_default_context())
            server.ehlo()
            is_safe = True
        user = table.get("user", "")
        if user and table.get("password") and server.has_extn("auth"):
            if not is_safe:
                return False
            server.login(user, table["password"])
        sender = user if "@" in user else "%s@%s" % (user or "bot", table["server"])
        for recipient in list(left):
            why = _refusal(server, sender, recipient, _letter(message, sender, recipient))
            if why[:1] != "4":
                left.remove(recipient)
            if why[:1] == "5":
                refused.append(why)
    finally:
        try:
            server.quit()
        except (smtplib.SMTPException, OSError):
            server.close()
    if left:
        raise OnlyThis()
    if refused:
        raise Never("; ".join(refused))
    return True


def _letter(message, sender, recipient):
    letter = MIMEText(clean(message["text"]), "plain", "utf-8")
    letter["Subject"] = Header(one_line(message["text"]), "utf-8")
    letter["From"], letter["To"] = sender, recipient
    letter["Date"], letter["Message-ID"] = formatdate(), "<%s@bot>" % message["key"]
    letter["Auto-Submitted"] = "auto-generated"
    return letter.as_string()


def _refusal(server, sender, recipient, letter):
    """Code and words of the one who refuses this mail; "" where it is taken."""
    try:
        server.sendmail(sender, [recipient], letter)
    except smtplib.SMTPRecipientsRefused as error:
        code, said = error.recipients[recipient]
    except smtplib.SMTPDataError as error:
        code, said = error.smtp_code, error.smtp_error
    else:
        return ""
    return "%d %s: %s" % (code, recipient, said.decode("utf-8", "replace") if isinstance(said, bytes) else said)


WAYS = {"hub": to_hub, "mail": to_mail, "telegram": to_telegram}
