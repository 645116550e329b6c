"""The Hermes dialect under /hermes/: the XML message information block, queries for stored messages, the legacy notify form."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, unquote
from xml.etree.ElementTree import Element, ParseError, SubElement, register_namespace, tostring

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from angelia.flow.rights import is_open_to
from angelia.inlet import Accept, Taken
from angelia.model.errors import AngeliaError, Conflict, Forbidden, InvalidInput, NotAuthenticated, NotFound, UnsupportedMedia
from angelia.model.message import Message, RecipientKind, checked_type
from angelia.model.moments import number_of, public_id, to_text
from angelia.model.payload import payload_fields
from angelia.store import Store
from angelia.wire.asgi import App, Receive, Scope, Send, body_of, headers_of, kind_of, respond
from angelia.wire.callers import Caller, Callers
from angelia.wire.fields import draft_of, key_of, parse_fields
from angelia.wire.problems import PROBLEM_HEADERS, Header, problem, problem_of

PREFIX = "/hermes/"
NAMESPACE = "http://xml.opensuse.org/hermes"
MOST_BYTES = 1_048_576
MOST_DEPTH = 16
MOST_NODES = 4_000
_METHODS = (b"allow", b"GET, HEAD, POST")
_XML = (b"content-type", b"application/xml; charset=utf-8")
_SEVERITIES = frozenset({"low", "normal", "high", "urgent"})
Answer = tuple[int, bytes, list[Header]]

register_namespace("hermes", NAMESPACE)


class HermesDialect:
    """Speaks Hermes below its prefix, and gives everything else to the app behind it."""

    def __init__(self, behind: App, accept: Accept, callers: Callers, store: Store, now: Callable[[], datetime]) -> None:
        self._behind = behind
        self._accept = accept
        self._callers = callers
        self._store = store
        self._now = now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or not scope["path"].startswith(PREFIX):
            return await self._behind(scope, receive, send)
        try:
            status, body, headers = await self._speak(scope, receive)
        except AngeliaError as error:
            status, body, headers = problem_of(error)
        if scope["method"] == "HEAD":
            body = b""
        return await respond(send, status, body, headers, scope)

    async def _speak(self, scope: Scope, receive: Receive) -> Answer:
        parts = [unquote(part) for part in scope["path"][len(PREFIX) :].split("/")]
        method = scope["method"]
        legacy = parts in ([""], ["index.cgi"])
        if method == "POST" and legacy:
            return await self._notify(scope, await body_of(headers_of(scope), receive, MOST_BYTES))
        if method == "POST" and len(parts) in (1, 2) and all(parts):
            return await self._post(scope, parts, await body_of(headers_of(scope), receive, MOST_BYTES))
        if method in ("GET", "HEAD") and legacy and b"rm=notify" in scope["query_string"]:
            # GET must not change anything; the old clients that posted by GET are told so.
            return _refusal(405, "rm=notify stores a message: send it with POST")
        if method in ("GET", "HEAD") and len(parts) in (1, 2) and parts[0]:
            return await self._query(scope, parts[0], parts[1] if len(parts) == 2 else "")
        if method in ("GET", "HEAD", "POST"):
            raise NotFound("the forms are /hermes/<type>, /hermes/<user>/<type> and /hermes/<user>/")
        return _refusal(405, "messages are stored with POST and queried with GET; a stored one is never changed")

    async def _post(self, scope: Scope, parts: list[str], body: bytes) -> Answer:
        """Requirements H-20 to H-37: the type is the last part of the URL, one recipient may be the first."""
        caller = await self._callers.poster(headers_of(scope).get(b"authorization", b""))
        kind = kind_of(headers_of(scope))
        if kind not in (b"application/xml", b"text/xml", b"", b"application/x-www-form-urlencoded"):
            raise UnsupportedMedia("post the message information block as application/xml")
        block = parse_block(body)
        key = await self._type(parts[-1])
        if block.get("type") and await self._type(str(block["type"])) != key:
            raise InvalidInput("the attribute type is not the type in the URL", "type", is_syntax=True)
        fields = block | {"type": key}
        if len(parts) == 2:
            fields = _addressed(fields, parts[0])
        own_key = fields.pop("id", None)
        if own_key:
            fields["idempotency_key"] = own_key  # and checked as one
        return await self._take(caller, fields, key_of(headers_of(scope).get(b"idempotency-key", b"")))

    async def _take(self, caller: Caller, fields: Mapping[str, Any], key: str | None, *, is_legacy: bool = False) -> Answer:
        checked = parse_fields(fields)
        caller.check_post(checked["type"], checked.get("severity", "normal"))
        (receipt,) = await self._accept(caller.name, [draft_of(checked, self._now, key)])
        public = public_id("msg", receipt.message_id)
        if receipt.taken is Taken.CONFLICT:
            raise Conflict(f"this id came with another content before: {public}")
        status = 201 if receipt.taken is Taken.NEW else 200
        location = (b"location", f"/api/v1/messages/{public}".encode())
        if is_legacy:
            return 200, str(receipt.message_id).encode(), [(b"content-type", b"text/plain")]
        return status, f'<hermes:stored xmlns:hermes="{NAMESPACE}" id="{public}"/>\n'.encode(), [_XML, location]

    async def _notify(self, scope: Scope, body: bytes) -> Answer:
        """The form of the old clients: `rm=notify`, `_type`, and every other pair is a parameter."""
        caller = await self._callers.poster(headers_of(scope).get(b"authorization", b""))
        pairs = _pairs(scope["query_string"]) + _pairs(body)
        names = [name for name, _ in pairs]
        form = dict(pairs)
        if len(set(names)) != len(names):
            raise InvalidInput("a name stands twice", is_syntax=True)
        if form.pop("rm", "") != "notify":
            raise InvalidInput("of the old forms only rm=notify is spoken", "rm", is_syntax=True)
        if not form.get("_type"):
            raise InvalidInput("rm=notify needs _type", "_type")
        fields: dict[str, Any] = {"type": await self._type(form.pop("_type"))}
        sender = form.pop("sender", "")
        if sender:
            fields["sender"] = {"id": sender}
        return await self._take(caller, fields | ({"params": form} if form else {}), None, is_legacy=True)

    async def _type(self, text: str) -> str:
        """The key behind an alias (`OBS_BUILD_FAIL`), else the type as given: never a guess."""
        return (await self._store.type_aliases()).get(text.lower()) or checked_type(text)

    async def _query(self, scope: Scope, login: str, key: str) -> Answer:
        """Requirements H-23, H-24, gap G-3: newest first, owner or administrator only; to others there is no such list."""
        caller = await self._callers.of(headers_of(scope).get(b"authorization", b""))
        if caller is None:
            raise NotAuthenticated("reading stored messages needs your token")
        person = await self._store.person(login)
        is_own = caller.person is not None and person is not None and caller.person.login == person.login
        if person is None or not (caller.is_admin or is_own):
            raise NotFound("there is no such list")
        if not caller.may_read:
            raise Forbidden("this token may not read")
        pairs = _pairs(scope["query_string"])
        query = dict(pairs)
        if len(query) != len(pairs):
            raise InvalidInput("this stands twice; which one should count?")
        found = await self._store.list_messages(
            person_id=person.person_id,
            subtree=await self._type(key) if key else "",
            before_id=_cursor(query.get("after", "")),
            limit=_limit(query.get("limit", "100")),
        )
        if not caller.is_admin:
            names = await self._store.names_of(person.person_id)
            found = [message for message in found if is_open_to(message, names)]
        if _wants_json(headers_of(scope).get(b"accept", b"")):
            text = json.dumps({"items": [_as_json(message) for message in found]}, ensure_ascii=False)
            return 200, text.encode(), [(b"content-type", b"application/json"), _PRIVATE]
        return 200, _as_xml(found), [_XML, _PRIVATE]


_PRIVATE = (b"cache-control", b"private, no-store")


def _refusal(status: int, detail: str) -> Answer:
    return status, json.dumps(problem(status, detail)).encode(), [*PROBLEM_HEADERS, _METHODS]


def _pairs(data: bytes) -> list[tuple[str, str]]:
    if not data:
        return []
    try:
        return parse_qsl(data.decode(), keep_blank_values=True, strict_parsing=True, max_num_fields=300, errors="strict")
    except (ValueError, UnicodeError):
        raise InvalidInput("this is not a form that we can read", is_syntax=True) from None


def _cursor(text: str) -> int | None:
    """`after` names the last message of the page before; the list goes from new to old."""
    if not text:
        return None
    number = number_of("msg", text) or (int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None)
    if number is None or number >= 1 << 63:
        raise InvalidInput("after is the id of a message", "after")
    return number


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 0 < int(text[:9]) <= 1_000:
        raise InvalidInput("limit is a number from 1 to 1000", "limit")
    return int(text)


def _wants_json(accept: bytes) -> bool:
    """The first of the two that Accept names; XML for anything else."""
    text = accept.decode("latin-1").lower()
    json_at, xml_at = text.find("json"), text.find("xml")
    return json_at >= 0 and (xml_at < 0 or json_at < xml_at)


class _Counting:
    """A tree builder that stops at too much: expat itself takes 200,000 nested tags."""

    def __init__(self) -> None:
        self.root: Element | None = None
        self._open: list[Element] = []
        self._last: Element | None = None
        self._nodes = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._nodes += 1
        if self._nodes > MOST_NODES or len(self._open) >= MOST_DEPTH or len(attributes) > 32:
            raise InvalidInput(f"at most {MOST_NODES} elements, nested at most {MOST_DEPTH} deep", is_syntax=True)
        element = Element(tag, attributes)
        if self._open:
            self._open[-1].append(element)
        else:
            self.root = element
        self._open.append(element)
        self._last = None

    def end(self, tag: str) -> None:
        del tag
        self._last = self._open.pop()

    def data(self, text: str) -> None:
        if self._last is not None:
            self._last.tail = (self._last.tail or "") + text
        elif self._open:
            self._open[-1].text = (self._open[-1].text or "") + text

    def close(self) -> Element | None:
        return self.root


def parse_block(body: bytes) -> dict[str, Any]:
    """The message information block as fields (shape of `wire.fields`), plus `type` and `id` if it has these attributes."""
    parser = DefusedXMLParser(target=_Counting(), forbid_dtd=True, forbid_entities=True, forbid_external=True)
    try:
        parser.feed(body)
        root = parser.close()
    except DefusedXmlException:
        raise InvalidInput("document types and entities are not read", is_syntax=True) from None
    except ParseError as error:
        line, column = error.position
        raise InvalidInput(f"this is not XML: line {line}, column {column}", is_syntax=True) from None
    except (LookupError, ValueError, UnicodeError):
        raise InvalidInput("the encoding of this XML can't be read; use UTF-8", is_syntax=True) from None
    if root is None or root.tag != f"{{{NAMESPACE}}}message":
        raise InvalidInput(f"the root element is message in the namespace {NAMESPACE}", "message")
    return _fields(root)


def _fields(root: Element) -> dict[str, Any]:
    fields: dict[str, Any] = {name: root.attrib[name] for name in ("type", "id") if name in root.attrib}
    tags: list[tuple[str, str]] = []
    for child in root:
        name = child.tag.removeprefix(f"{{{NAMESPACE}}}")
        match name:
            case "sender":
                fields["sender"] = {"id": child.get("id", ""), "name": _line(child)}
            case "recipients":
                fields.update(_recipients(child))
            case "tag":
                tags.append((child.get("name", ""), child.get("value", "")))
            case "body" | "subject":
                if name in fields:
                    raise InvalidInput(f"there are two elements {name}", name)
                # Also what stands in elements of it, as in <body>see <b>this</b></body>.
                fields[name] = "".join(child.itertext()).strip("\r\n").rstrip() if name == "body" else _line(child)
            case _:
                raise InvalidInput("there is no such element", name[:60])
    if tags:
        fields["tags"] = tags
        severity = dict(tags).get("severity", "")
        if severity in _SEVERITIES:
            fields["severity"] = severity
    return fields


def _line(element: Element) -> str:
    """All of its text, in one line."""
    return " ".join("".join(element.itertext()).split())


def _recipients(element: Element) -> dict[str, Any]:
    named: dict[str, list[dict[str, str]]] = {}
    for child in element:
        kind = child.tag.removeprefix(f"{{{NAMESPACE}}}")
        if kind not in ("to", "cc"):
            raise InvalidInput("recipients are to and cc", "recipients")
        entry = {"id": child.get("id", "")}
        reason = child.find(f"{{{NAMESPACE}}}reason")
        if said := _line(reason) if reason is not None else child.get("reason", ""):
            entry["reason"] = said
        named.setdefault(kind, []).append(entry)
    return named


def _addressed(fields: dict[str, Any], login: str) -> dict[str, Any]:
    """Gap G-1: the URL names the one recipient; a block that names anybody else contradicts it."""
    named = [entry["id"] for kind in ("to", "cc") for entry in fields.get(kind, ())]
    if any(name != login for name in named):
        raise InvalidInput("the URL names one recipient and the block another", "recipients", is_syntax=True)
    return fields if fields.get("to") else fields | {"to": [{"id": login}]}


def _as_json(message: Message) -> dict[str, object]:
    return {"id": public_id("msg", message.message_id), "received_at": to_text(message.received_at)} | payload_fields(message)


def _as_xml(found: list[Message]) -> bytes:
    root = Element(f"{{{NAMESPACE}}}messages")
    for message in found:
        element = SubElement(root, f"{{{NAMESPACE}}}message", {"type": message.type, "id": public_id("msg", message.message_id)})
        element.set("received", to_text(message.received_at))
        sender = SubElement(element, f"{{{NAMESPACE}}}sender", {"id": _fit(message.sender.sender_id)})
        sender.text = _fit(message.sender.name)
        recipients = SubElement(element, f"{{{NAMESPACE}}}recipients")
        for recipient in message.recipients:
            entry = SubElement(recipients, f"{{{NAMESPACE}}}{RecipientKind(recipient.kind)}", {"id": _fit(recipient.principal)})
            if recipient.reason:
                SubElement(entry, f"{{{NAMESPACE}}}reason").text = _fit(recipient.reason)
        for name, value in message.tags:
            SubElement(element, f"{{{NAMESPACE}}}tag", {"name": _fit(name), "value": _fit(value)})
        if message.subject:
            SubElement(element, f"{{{NAMESPACE}}}subject").text = _fit(message.subject)
        SubElement(element, f"{{{NAMESPACE}}}body").text = _fit(message.body)
    return bytes(tostring(root, encoding="utf-8", xml_declaration=True))


def _fit(text: str) -> str:
    """XML 1.0 has no control characters, not even escaped."""
    return "".join(letter if letter >= " " or letter in "\n\t\r" else "�" for letter in text if letter not in "\ufffe\uffff")
