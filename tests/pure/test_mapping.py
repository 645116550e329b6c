"""Mappings: templates, places, conditions, and the shipped ones on events as their systems publish them."""

import json

import pytest

from angelia.inlets.mapping import load_mapping, mapping_of, shipped
from angelia.inlets.receiving import key_of_event, plain_fields
from angelia.model.errors import BadSettings, InvalidInput
from angelia.model.event import Event
from angelia.wire.fields import parse_fields

TASK = {"_id": "64f1", "user_id": "1", "_group_id": 7, "instance_id": "64f0", "service": "brainlife/app-fsl", "name": "fsl", "status": "running",
        "status_msg": "step 3", "update_date": "2026-11-25T10:00:00.000Z"}  # fmt: skip
FAIL = {"project": "home:alice", "package": "hello", "repository": "Factory", "arch": "x86_64", "srcmd5": "abc", "sender": "bob", "reason": "new"}
JOB = {"id": 5, "TEST": "install", "FLAVOR": "DVD", "ARCH": "x86_64", "BUILD": "1", "result": "failed", "group_id": 1, "MACHINE": "64bit"}


def event(key, body, exchange="x", **more):
    return Event(exchange, key, body if isinstance(body, bytes) else json.dumps(body).encode(), "application/json", **more)


def fields_of(name, *args, states=None, **more):
    made = load_mapping(name).mapped(event(*args, **more), states or {}).fields
    return made and parse_fields(made)


def rule(**fields):
    return mapping_of("mine", {"rule": [{"key": "#", "type": "t"} | fields]})


@pytest.mark.parametrize(
    "template, expected",
    [
        ("{key}", "a.b"),
        ("{key.1}-{key.7}", "b-"),
        ("{body.deep.0.name}", "alice"),
        ("{body.none|body.text}", "hello"),
        ("{body.none|'nobody'}", "nobody"),
        ("{header.h} {property.message_id}", "1 m"),
        ("{body.yes} {body.whole} {body.list}", "true 3 1, 2"),
        ("{body.nul}", "ab"),
        ("{body.half} {body.halves}", 'a? {"k?": "?"}'),
        ("{exchange}: {body.deep}", 'x: [{"name": "alice"}, {"name": "bob"}]'),
    ],
)
def test_templates(template, expected):
    body = {"deep": [{"name": "alice"}, {"name": "bob"}], "text": "hello", "yes": True, "whole": 3.0, "list": [1, 2], "nul": "a\x00b",
            "half": "a\ud800", "halves": {"k\udfff": "\ud800"}}  # fmt: skip
    found = rule(subject=template).mapped(event("a.b", body, headers={"h": 1}, properties={"message_id": "m"}), {})
    assert found.fields["subject"] == expected


def test_recipients_come_as_lists():
    body = {"who": ["alice", "bob"], "one": "alice", "deep": [{"id": "carol"}, {"no": 1}], "names": {"dave": 1}}
    made = rule(to=["{body.who}", "{body.one}", "{body.deep.id}", "{body.names}", "group:{body.none|'qa'}"]).mapped(event("k", body), {}).fields
    assert made["to"] == ["alice", "bob", "carol", "dave", "group:qa"]


def test_what_is_empty_is_left_out_and_what_is_long_is_cut():
    made = rule(subject="{body.s}", object="{body.none}", params={"a": "{body.none}"}).mapped(event("k", {"s": "x" * 300}), {}).fields
    assert made == {"type": "t", "subject": "x" * 255}


@pytest.mark.parametrize(
    "conditions, is_taken",
    [
        ({"when": {"body.state": "done"}}, True),
        ({"when": {"body.state": ["failed", "done"]}}, True),
        ({"when": {"body.state": "failed"}}, False),
        ({"when": {"body.count": 3}}, True),
        ({"when": {"body.none": True}}, False),
        ({"unless": {"body.none": True}}, True),
        ({"unless": {"body.state": "done"}}, False),
        ({"key": "a.*"}, True),
        ({"key": "b.#"}, False),
        ({"exchange": "y"}, False),
    ],
)
def test_conditions(conditions, is_taken):
    found = rule(**conditions).mapped(event("a.b", {"state": "done", "count": 3}), {})
    assert (found.fields is not None) is is_taken and found.is_known is is_taken


def test_only_a_change_is_a_message():
    mapping = rule(changed={"of": "task {body.id}", "value": "{body.state}"})
    found = mapping.mapped(event("k", {"id": 1, "state": "run"}), {})
    assert found.fields and found.state == ("task 1", "run")
    assert mapping.mapped(event("k", {"id": 1, "state": "run"}), {"task 1": "run"}).fields is None
    assert mapping.mapped(event("k", {"id": 1, "state": "end"}), {"task 1": "run"}).fields
    assert mapping.state_names([event("k", {"id": 1}), event("k", {"id": 2}), event("k", b"{")]) == {"task 1", "task 2"}


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"rule": []},
        {"rule": [{"key": "#"}]},
        {"rule": [{"type": "t"}]},
        {"rule": [{"key": "#", "type": 1}]},
        {"rule": [{"key": "#", "type": "t", "colour": "red"}]},
        {"rule": [{"key": "#", "type": "t", "to": "alice"}]},
        {"rule": [{"key": "#", "type": "t", "changed": {"of": "x"}}]},
        {"rule": [{"key": "#", "type": "t"}], "more": 1},
    ],
)
def test_a_mapping_that_means_nothing_is_refused(document):
    with pytest.raises(BadSettings, match="mine"):
        mapping_of("mine", document)


def test_a_mapping_that_is_not_there():
    with pytest.raises(BadSettings, match="amaretti, bonfire, fedora, github, gitlab, obs, openqa"):
        load_mapping("nothing")
    assert shipped() == ["alertmanager", "amaretti", "bonfire", "fedora", "github", "gitlab", "obs", "openqa"]


@pytest.mark.parametrize("body", [b"{", b"\xff", b'{"a":1,"a":2}', b"[" * 100, b"NaN"])
def test_a_body_that_is_no_json(body):
    with pytest.raises(InvalidInput):
        rule().mapped(event("k", body), {})


def test_amaretti_tells_of_the_user_whose_task_ended():
    made = fields_of("amaretti", "64f0.64f1", TASK | {"status": "failed"}, "wf.task")
    assert (made["type"], made["to"], made["subject"]) == ("amaretti.task.failed", ["1"], "fsl failed")
    assert (made["object"], made["thread"], made["params"]["group"]) == ("amaretti:task/64f1", "amaretti:instance/64f0", "7")
    assert fields_of("amaretti", "64f0.64f1", TASK, "wf.task")["severity"] == "low"


def test_amaretti_saves_that_change_no_status_are_nothing():
    assert fields_of("amaretti", "64f0.64f1", TASK, "wf.task", states={"amaretti task 64f1": "running"}) is None
    assert fields_of("amaretti", "64f0.64f1", b"null", "wf.task") is None
    instance = {"_id": "64f0", "name": "study", "user_id": "1", "group_id": 7, "status": "finished"}
    assert fields_of("amaretti", "7.64f0", instance, "wf.instance")["type"] == "amaretti.instance.finished"
    assert fields_of("amaretti", "7.64f0", instance | {"status": "running"}, "wf.instance") is None


def test_bonfire_warns_of_a_stopped_experiment():
    body = {"objectId": "/experiments/47", "objectData": {"name": "mine"}, "userId": "alice"}
    made = fields_of("bonfire", "res-mng.experiment.state.stopped", body, "resourceUsage")
    assert (made["type"], made["severity"], made["to"]) == ("bonfire.experiment.stopped", "high", ["alice"])
    made = fields_of("bonfire", "fr-inria.compute.state.stopped.done", {"objectId": "/computes/1"}, "resourceUsage")
    assert (made["type"], made["params"]["substate"]) == ("bonfire.compute.done", "done")
    made = fields_of("bonfire", "be-ibbt.compute.create", {"objectId": "/computes/1", "objectData": {"host": None}}, "resourceUsage")
    assert made["type"] == "bonfire.compute.create" and "host" not in made["params"]
    note = {"Timestamp": 1.5, "From": "COCOMA", "Message": "load is on"}
    assert fields_of("bonfire", "0123456789abcdef0123", note, "experiments")["type"] == "bonfire.experiment.note"


def test_obs_builds_requests_and_numbers():
    made = fields_of("obs", "opensuse.obs.package.build_fail", FAIL)
    assert (made["type"], made["object"], made["severity"]) == ("obs.package.build_fail", "obs:home:alice/hello", "high")
    request = {"number": 7, "author": "alice", "who": "bob", "state": "accepted", "actions": [{"targetproject": "P", "targetpackage": "p"}],
               "reviewers": [{"by_user": "carol"}, {"by_group": "qa"}]}  # fmt: skip
    made = fields_of("obs", "opensuse.obs.request.state_change", request)
    assert (made["to"], made["actor"], made["params"]["project"]) == (["alice", "carol"], "bob", "P")
    assert fields_of("obs", "opensuse.obs.metrics", {"x": 1}) is None
    made = fields_of("obs", "opensuse.obs.request.review_wanted", request | {"by_group": "qa", "who": "bob"})
    assert (made["type"], made["to"], made["object"]) == ("obs.request.review_wanted", ["group:qa"], "obs:request/7")
    assert fields_of("obs", "opensuse.obs.request.review_wanted", request | {"by_user": "dave"})["to"] == ["alice", "dave", "carol"]
    made = fields_of("obs", "opensuse.obs.relationship.create", {"who": "bob", "user": "alice", "project": "P", "role": "maintainer"})
    assert (made["type"], made["to"], made["subject"]) == ("obs.relationship.create", ["alice"], "maintainer of P: create")


def test_obs_builds_that_succeed_and_packages_that_change():
    made = fields_of("obs", "opensuse.obs.package.build_success", FAIL)
    assert (made["type"], made["severity"]) == ("obs.package.build_success", "low")
    made = fields_of("obs", "suse.obs.package.service_fail", {"project": "P", "package": "p", "error": "no network", "user": "bob"})
    assert (made["type"], made["body"], made["actor"]) == ("obs.package.service_fail", "no network", "bob")
    made = fields_of("obs", "opensuse.obs.project.comment", {"project": "P", "commenter": "bob", "comment_body": "Look."})
    assert (made["type"], made["object"], made["body"]) == ("obs.project.comment", "obs:P", "Look.")
    assert fields_of("obs", "opensuse.obs.repo.published", {"project": "P", "repo": "r"})["object"] == "obs:P"
    assert fields_of("obs", "opensuse.obs.workflow_run.fail", {"id": 1}) is None


def test_openqa_results():
    assert fields_of("openqa", "opensuse.openqa.job.done", JOB)["type"] == "openqa.job.failed"
    assert fields_of("openqa", "suse.openqa.job.done", JOB | {"result": "passed"})["severity"] == "low"
    assert fields_of("openqa", "suse.openqa.job.create", JOB)["type"] == "openqa.job.create"


def test_fedora_reads_headers():
    headers = {"fedora_messaging_schema": "bodhi.update.comment.v1", "fedora_messaging_severity": 20, "sent-at": "2026-11-25T10:00:00+00:00"}
    made = fields_of("fedora", "org.fedoraproject.prod.bodhi", {"agent": "alice"}, headers=headers, properties={"message_id": "uuid"})
    assert (made["type"], made["actor"], made["idempotency_key"]) == ("fedora.bodhi.update.comment.v1", "alice", "uuid")
    assert fields_of("fedora", "k", {}, headers=headers | {"fedora_messaging_severity": 10}) is None
    assert fields_of("fedora", "k", {}, headers=headers | {"fedora_messaging_severity": 40})["severity"] == "high"


def test_bodies_that_are_messages_already():
    assert plain_fields(event("k", {"type": "a.b", "to": ["alice"]})) == {"type": "a.b", "to": ["alice"]}
    cloud = {"specversion": "1.0", "id": "1", "source": "/x", "type": "a.b", "data": {"n": 1}}
    assert plain_fields(event("k", cloud))["idempotency_key"] == "/x 1"
    binary = Event("x", "k", b'{"n":1}', "application/json", {"cloudEvents:specversion": "1.0", "cloudEvents:id": "1",
                                                               "cloudEvents:source": "/x", "cloudEvents:type": "a.b"})  # fmt: skip
    assert plain_fields(binary)["type"] == "a.b"
    for bad in (event("k", [1]), Event("x", "k", b"<x/>", "application/xml"), event("k", {"type": "a.b", "colour": 1})):
        with pytest.raises(InvalidInput):
            plain_fields(bad)


def test_a_repeat_is_known_by_its_id_or_by_what_it_is_made_of():
    assert key_of_event(event("k", {}, properties={"message_id": "m1"})) == "m1"
    keys = {key_of_event(event(key, body)) for key, body in (("k", {}), ("k", {"a": 1}), ("l", {}))}
    assert len(keys) == 3 and key_of_event(event("k", {})) in keys
