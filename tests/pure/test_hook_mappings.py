"""What the shipped mappings make of what systems post, and how a body is taken apart."""

import json

import pytest

from angelia.inlets.hooks import events_of
from angelia.inlets.learning import Learner
from angelia.inlets.mapping import load_mapping, mapping_of
from angelia.model.errors import BadSettings, InvalidInput, UnsupportedMedia

REPOSITORY = {"full_name": "KDE/okular"}
RUN = {
    "name": "Tests",
    "conclusion": "failure",
    "head_branch": "main",
    "workflow_id": 7,
    "html_url": "https://github.com/KDE/okular/actions/runs/1",
    "head_commit": {"message": "Faster"},
    "actor": {"login": "alice"},
}
PULL = {"number": 5, "title": "Faster", "body": "much", "html_url": "https://github.com/KDE/okular/pull/5"}
ISSUE = {"number": 6, "title": "Slow", "body": "too", "html_url": "https://x.org/6", "user": {"login": "alice"}, "assignees": [{"login": "bob"}]}
PROJECT = {"path_with_namespace": "lab/daq", "web_url": "https://gitlab.example.org/lab/daq"}
PIPELINE = {"object_kind": "pipeline", "project": PROJECT, "user": {"username": "alice"}, "commit": {"message": "Faster"}}


def made(mapping, body, **headers):
    known = load_mapping(mapping)
    learner = Learner(known)
    sent = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    return [learner.learnt(event) for event in events_of("h", known, sent, json.dumps(body).encode())]


def message(mapping, body, **headers):
    [one] = made(mapping, body, **headers)
    return one["message"]


@pytest.mark.parametrize(
    ("event", "body", "said"),
    [
        ("workflow_run", {"action": "completed", "workflow_run": RUN}, ("github.workflow.failed", "KDE/okular: Tests failed on main", ["alice"])),
        (
            "workflow_run",
            {"action": "completed", "workflow_run": RUN | {"conclusion": "success"}},
            ("github.workflow.succeeded", "KDE/okular: Tests succeeded on main", None),
        ),
        (
            "pull_request",
            {"action": "review_requested", "pull_request": PULL, "requested_reviewer": {"login": "bob"}, "sender": {"login": "alice"}},
            ("github.review.wanted", "KDE/okular#5: your review is wanted: Faster", ["bob"]),
        ),
        (
            "issues",
            {"action": "assigned", "issue": ISSUE, "assignee": {"login": "bob"}},
            ("github.assigned", "KDE/okular#6: assigned to you: Slow", ["bob"]),
        ),
        (
            "issue_comment",
            {"action": "created", "issue": ISSUE, "comment": {"body": "yes"}},
            ("github.comment", "KDE/okular#6: Slow", ["alice", "bob"]),
        ),
        ("release", {"action": "published", "release": {"tag_name": "v1", "body": "all"}}, ("github.release", "KDE/okular v1 is released", None)),
    ],
)
def test_github(event, body, said):
    found = message("github", body | {"repository": REPOSITORY}, x_github_event=event)
    assert (found["type"], found["subject"], found.get("to")) == said
    assert found["object"] == "github:KDE/okular"


def test_what_github_says_beside():
    assert "nothing" in made("github", {"zen": "Keep it simple", "repository": REPOSITORY}, x_github_event="ping")[0]
    assert "nothing" in made("github", {"action": "requested", "workflow_run": RUN, "repository": REPOSITORY}, x_github_event="workflow_run")[0]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            PIPELINE | {"object_attributes": {"status": "failed", "ref": "main"}},
            ("gitlab.pipeline.failed", "lab/daq: the pipeline of main failed", ["alice"]),
        ),
        (
            PIPELINE | {"object_attributes": {"status": "success", "ref": "main"}},
            ("gitlab.pipeline.succeeded", "lab/daq: the pipeline of main succeeded", None),
        ),
        (
            {
                "object_kind": "merge_request",
                "object_attributes": {"action": "open", "iid": 3, "title": "Faster"},
                "reviewers": [{"username": "bob"}],
            },
            ("gitlab.merge_request.opened", "lab/daq!3: Faster", ["bob"]),
        ),
        ({"object_kind": "note", "object_attributes": {"note": "yes"}, "issue": {"title": "Slow"}}, ("gitlab.comment", "lab/daq: Slow", None)),
    ],
)
def test_gitlab(body, said):
    found = message("gitlab", body | {"project": PROJECT})
    assert (found["type"], found["subject"], found.get("to")) == said


def alert(status="firing", **labels):
    return {
        "status": status,
        "labels": {"alertname": "Disk"} | labels,
        "startsAt": "2026-11-27T10:00:00.123456789Z",
        "fingerprint": labels.get("x", "f"),
    }


@pytest.mark.parametrize(("label", "severity"), [("critical", "urgent"), ("warning", "high"), ("info", "low"), ("strange", None), (None, None)])
def test_how_severe_an_alert_is(label, severity):
    found = message("alertmanager", {"alerts": [alert(**({"severity": label} if label else {}))]})
    assert (found["type"], found.get("severity"), found["subject"]) == ("alert.firing", severity, "Disk")


def test_an_alert_is_told_when_it_changes():
    known = load_mapping("alertmanager")
    learner = Learner(known)
    alerts = [alert(), alert(), alert("resolved"), alert("resolved"), alert(x="other"), alert() | {"startsAt": "2026-11-28T10:00:00Z"}]
    said = [learner.learnt(event) for event in events_of("h", known, {}, json.dumps({"alerts": alerts}).encode())]
    assert ["message" in one for one in said] == [True, False, True, False, True, True]


def test_what_is_no_link_and_no_text_costs_no_message():
    odd = alert(instance="a\x00b", empty="") | {"generatorURL": "javascript:alert(1)", "annotations": {"summary": ["x", 5], "description": {"a": 1}}}
    found = message("alertmanager", {"alerts": [odd | {"labels": odd["labels"] | {"deep": {"a": [1]}, "": "x"}}]})
    assert "object_url" not in found
    assert found["params"] == {"alertname": "Disk", "instance": "ab", "deep": '{"a": [1]}'}
    many = message("alertmanager", {"alerts": [alert(**{f"l{n}": "x" for n in range(500)})]})
    assert len(many["params"]) == 64


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"5", b'{"alerts": {}}', b"{", b'{"alerts": [' + b"1," * 10_001 + b"1]}"])
def test_a_body_without_its_list(body):
    with pytest.raises(InvalidInput) as caught:
        events_of("h", load_mapping("alertmanager"), {}, body)
    assert caught.value.field in ("alerts", "")


def test_a_form_is_told_what_to_choose():
    with pytest.raises(UnsupportedMedia, match="application/json"):
        events_of("h", load_mapping("github"), {b"content-type": b"application/x-www-form-urlencoded"}, b"payload=%7B%7D")


def test_no_secret_reaches_a_mapping():
    sent = dict.fromkeys((b"authorization", b"cookie", b"x-gitlab-token", b"x-hub-signature-256"), b"s3cr3t") | {b"x-event": b"e"}
    [event] = events_of("h", load_mapping("github"), sent, b"{}")
    assert event.headers == {"x-event": "e"}


def test_entries_and_the_rest_of_the_body():
    mapping = mapping_of(
        "m", {"each": "list", "rule": [{"key": "h", "type": "a.b", "subject": "{body.device}: {body.item.x}", "tags": "{body.item.tags}"}]}
    )
    body = {"device": "d", "list": [{"x": 1, "tags": {"a": "b"}}, {"x": 2, "tags": 5}]}
    found = [Learner(mapping).learnt(event)["message"] for event in events_of("h", mapping, {}, json.dumps(body).encode())]
    assert [one["subject"] for one in found] == ["d: 1", "d: 2"]
    assert [one.get("tags") for one in found] == [{"a": "b"}, None]


@pytest.mark.parametrize(
    "document", [{"each": 5, "rule": [{"key": "#", "drop": True}]}, {"rule": [{"key": "#", "type": "a", "params": "x {body.a}"}]}]
)
def test_what_is_no_mapping(document):
    with pytest.raises(BadSettings):
        mapping_of("m", document)
