"""What may be posted, and what is said of what may not."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angelia.dialects.hermes import parse_block
from angelia.model.errors import InvalidInput, TooLarge
from angelia.wire.fields import draft_of, key_of, parse_fields, parse_many, parse_one

NOW = datetime(2026, 11, 24, tzinfo=UTC)
SEED = b"""<hermes:message xmlns:hermes="http://xml.opensuse.org/hermes" type="example">
  <hermes:sender id="build service">
    The openSUSE build service
  </hermes:sender>
  <hermes:recipients>
    <hermes:to id="alice"><hermes:reason>optional: why</hermes:reason></hermes:to>
    <hermes:cc id="bob"/>
  </hermes:recipients>
  <hermes:tag name="severity" value="normal"/>
  <hermes:tag name="priority" value="4"/>
  <hermes:body>
We want to inform you
of something.
  </hermes:body>
</hermes:message>"""

SYNTAX = [b"", b"{", b'{"type":"a",}', b"{} {}", b"// x", b"{'type':'a'}", b'\xef\xbb\xbf{"type":"a"}', '{"type":"a"}'.encode("utf-16"),
          b'{"type":"\xff"}', b"[" * 100_000, b'{"type":"a","type":"b"}', b'{"type":"a","params":{"x":"1","x":"2"}}',
          b'{"type":"a","t\\u0079pe":"b"}', b'{"type":"a","subject":"\\ud800"}']  # fmt: skip
MEANING = [b"null", b"[]", b'"x"', b"1", b"{}", b'{"type":""}', b'{"type":"a b"}', b'{"type":"a..b"}', b'{"type":"a","is_admin":true}',
           b'{"type":"a","id":"1"}', b'{"type":"a","__proto__":{}}', b'{"type":"a","severity":{"$gt":""}}', b'{"type":"a","severity":"HIGH"}',
           b'{"type":"a","severity":"high "}', b'{"type":"a","test":"true"}', b'{"type":"a","test":1}', b'{"type":"a","to":"alice"}',
           b'{"type":"a","to":[{"reason":"x"}]}', b'{"type":"a","subject":"\\u0000"}', b'{"type":"a","params":{"x":1}}',
           b'{"type":"a","params":{"x":NaN}}', b'{"type":"a","occurred_at":"2026-02-30T00:00:00Z"}', b'{"type":"a","occurred_at":"2026-W01-1"}',
           b'{"type":"a","occurred_at":"9999-12-31T23:59:59-14:00"}', b'{"type":"a","occurred_at":"0001-01-01T00:00:00+14:00"}',
           b'{"type":"a","occurred_at":"2026-11-22T24:00:00Z"}', b'{"type":"a","occurred_at":1e20}', b'{"type":"a","occurred_at":"2026-11-22T10:00:00"}',
           b'{"type":"a","expires_at":"2027-11-22T10:00:00Z"}', b'{"type":"a","object_url":"javascript:alert(1)"}',
           b'{"type":"a","object_url":"https://x/\\r\\nSet-Cookie: a"}', b'{"type":"a","wish":"soon"}', b'{"type":"a","language":"../x"}']  # fmt: skip


@pytest.mark.parametrize("body", SYNTAX, ids=lambda body: repr(body[:30]))
def test_what_is_not_json(body):
    with pytest.raises(InvalidInput) as caught:
        draft_of(parse_one(body), lambda: NOW)
    assert caught.value.is_syntax
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize("body", MEANING, ids=lambda body: repr(body[:50]))
def test_what_is_no_message(body):
    with pytest.raises(InvalidInput):
        draft_of(parse_one(body), lambda: NOW)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_a_clear_refusal(body):
    for read in (lambda: draft_of(parse_one(body), lambda: NOW), lambda: parse_many(body), lambda: parse_block(body)):
        with pytest.raises(InvalidInput):
            read()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize("fraction", ["", ".1", ".123456", ".1234567", ".123456789"])
def test_fractions_of_seconds(fraction):  # RFC 3339; Go writes nine digits
    fields = parse_one(f'{{"type":"a","occurred_at":"2026-11-22T10:00:00{fraction}Z"}}'.encode())
    said = json.loads(draft_of(fields, lambda: NOW).payload)["occurred_at"]
    assert datetime.fromisoformat(said) == datetime.fromisoformat(f"2026-11-22T10:00:00{fraction[:7]}Z")


names = st.sampled_from(["type", "to", "cc", "subject", "tags", "params", "sender", "severity", "occurred_at", "test", "access", "x"])


@given(st.dictionaries(names, json_values, max_size=5))
def test_any_fields_are_a_message_or_a_clear_refusal(fields):
    try:
        draft = draft_of(parse_one(json.dumps(fields).encode()), lambda: NOW)
    except InvalidInput:
        return
    assert json.loads(draft.payload)["type"] == draft.type


def test_limits():
    with pytest.raises(TooLarge):
        parse_one(json.dumps({"type": "a", "body": "x" * 70_000}).encode())
    for field, value in {"to": ["a"] * 1001, "tags": [["a", "b"]] * 65, "params": {str(n): "" for n in range(129)}, "subject": "x" * 256}.items():
        with pytest.raises(InvalidInput):
            parse_one(json.dumps({"type": "a", field: value}).encode())
    with pytest.raises(InvalidInput):
        parse_many(json.dumps([{"type": "a"}] * 10_001).encode())


def test_a_batch_names_the_item_and_sees_doubles():
    with pytest.raises(InvalidInput) as caught:
        parse_many(b'[{"type":"a"},{"type":"b","severity":"x"}]')
    assert caught.value.field.startswith("1.severity")
    with pytest.raises(InvalidInput):
        parse_many(b'[{"type":"a"},{"type":"b","type":"c"}]')
    assert len(parse_many(b'[{"type":"a","tags":{"x":"y"},"to":[{"id":"a","reason":"r"}]},{"type":"b"}]')) == 2


@pytest.mark.parametrize("key", [b"x" * 256, b"a b", b"\x01"])
def test_keys_that_are_none(key):
    with pytest.raises(InvalidInput):
        key_of(key)


def test_the_block_of_the_seed():
    fields = parse_block(SEED)
    assert fields["sender"] == {"id": "build service", "name": "The openSUSE build service"}
    assert fields["to"] == [{"id": "alice", "reason": "optional: why"}]
    assert fields["cc"] == [{"id": "bob"}]
    assert fields["tags"] == [("severity", "normal"), ("priority", "4")]
    assert fields["severity"] == "normal"
    assert fields["body"] == "We want to inform you\nof something."


@pytest.mark.parametrize("inner", [b"<b>this</b>", b"<h:b>this</h:b>", b"<b>th<i>is</i></b>"])
def test_all_text_of_an_element_is_kept(inner):
    fields = parse_block(
        b"<h:message " + NS + b"><h:subject>see " + inner + b" too</h:subject><h:body>see " + inner + b" and\nthat</h:body></h:message>"
    )
    assert (fields["subject"], fields["body"]) == ("see this too", "see this and\nthat")


def test_a_reason_may_be_an_attribute():
    (alice,) = parse_block(b"<h:message " + NS + b'><h:recipients><h:to id="alice" reason="on call"/></h:recipients></h:message>')["to"]
    assert alice == {"id": "alice", "reason": "on call"}


def test_xml_and_json_give_the_same_payload():  # case B13
    block = parse_block(SEED)
    posted = {"type": "example", "sender": {"id": "build service", "name": "The openSUSE build service"},
              "to": [{"id": "alice", "reason": "optional: why"}], "cc": ["bob"], "severity": "normal",
              "tags": [["severity", "normal"], ["priority", "4"]], "body": "We want to inform you\nof something."}  # fmt: skip
    assert draft_of(parse_fields(block), lambda: NOW).payload == draft_of(parse_one(json.dumps(posted).encode()), lambda: NOW).payload


NS = b'xmlns:h="http://xml.opensuse.org/hermes"'
BAD_XML = [
    b'<!DOCTYPE x []><h:message ' + NS + b'/>',
    b'<!DOCTYPE l [<!ENTITY a "lol"><!ENTITY b "&a;&a;">]><h:message ' + NS + b'>&b;</h:message>',
    b'<!DOCTYPE x [<!ENTITY x SYSTEM "file:///etc/passwd">]><h:message ' + NS + b'>&x;</h:message>',
    b"<a>" * 200_000,
    b"<message/>", b'<m:message xmlns:m="http://example.org/other"/>', b"<h:Message " + NS + b"/>",
    b"<h:message " + NS + b"><h:body>a</h:body><h:body>b</h:body></h:message>",
    b"<h:message " + NS + b"><h:unknown/></h:message>", b"<h:message " + NS + b"/><h:message " + NS + b"/>",
    b'<?xml version="1.0" encoding="utf-7"?><h:message ' + NS + b"/>", b'<?xml version="1.0" encoding="nope"?><h:message ' + NS + b"/>",
    b"<h:message " + NS + b">\x00</h:message>", b"<h:message " + NS + b"><![CDATA[", b"<h:message " + NS + b">" + b"<h:tag/>" * 5000 + b"</h:message>",
]  # fmt: skip


@pytest.mark.parametrize("body", BAD_XML, ids=lambda body: repr(body[:40]))
def test_xml_that_is_refused(body):
    with pytest.raises(InvalidInput):
        parse_block(body)


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"type": "a b"}, "type", "with dots between"),
        ({"occurred_at": "today"}, "occurred_at", "looks like 2026"),
        ({"object_url": "ftp://x"}, "object_url", "begins with https"),
        ({"language": "deutsch!"}, "language", "en-GB"),
        ({"attachment": {"name": "../x", "text": "t"}}, "attachment.name", "a file is named"),
        ({"tags": {"a\nb": "c"}}, "tags.a\nb", "control characters"),
        ({"tags": [{"name": "a\nb", "value": "c"}]}, "tags.0.name", "control characters"),
        ({"to": ["alice", {"id": "a\nb"}]}, "to.1.id", "control characters"),
        ({"to": ["a\nb"], "severity": "loud"}, "to.0", "control characters"),
        ({"severity": "loud", "tags": [{"name": "a\nb", "value": "c"}]}, "severity", "'urgent'"),
    ],
)
def test_what_is_wrong_is_said_in_words_and_at_its_place(fields, field, words):
    for parse, body, before in ((parse_one, {"type": "a"} | fields, ""), (parse_many, [{"type": "a"}, {"type": "a"} | fields, {"type": ""}], "1.")):
        with pytest.raises(InvalidInput, match=words) as caught:
            parse(json.dumps(body).encode())
        assert caught.value.field == before + field
