"""The decision tables: which step of a job is told by mail and by chat, and which is not, and why."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

import pytest

from angelia.flow.job_voice import by_wait, concerned, job_message
from angelia.model.claims import Claims, read_claims
from angelia.model.declaration import ProductKind
from angelia.model.delivery import Reason
from angelia.model.errors import InvalidInput
from angelia.model.job import HistoryRow, Job, JobReason, JobState, Product, is_empty
from angelia.model.message import Message, Recipient, Sender
from angelia.model.person import Person
from angelia.model.preference import Site
from angelia.planning.decision import Profile, Standing, Verdict
from angelia.planning.document import parse_site, parse_wants
from angelia.planning.job_news import Fact, Link, NewsDefaults, Step, link_for, link_line, news, request_address
from angelia.planning.resolve import resolve

MAIL = NewsDefaults(interval=60)
CHAT = NewsDefaults(interval=5)
YES, OFF, TOLD, SHORT, STEP = Reason.CHOSEN, Reason.OFF, Reason.JOB_TOLD, Reason.JOB_SHORT, Reason.JOB_STEP


def submitted(since_told: float | None = None, **more: object) -> Fact:
    return Fact(Step.SUBMITTED, since_told=since_told, **more)


def done(elapsed: float | None, **more: object) -> Fact:
    return Fact(Step.DONE, elapsed, **more)


def failed(elapsed: float | None, **more: object) -> Fact:
    return Fact(Step.FAILED, elapsed, **more)


OTHER = Fact(Step.OTHER, 9999)
AFTER_SUBMIT = [
    ("S1", submitted(is_person_known=False), {}, Reason.NOT_STATED),
    ("S2", submitted(), {"mssub": True}, YES),
    ("S3", submitted(), {"mssub": False}, OFF),
    ("S4", submitted(), {}, YES),
    ("S5", submitted(0), {"mssub": True, "intsub": 4}, TOLD),
    ("S5b other session", submitted(0), {"mssub": True, "intsub": 4}, TOLD),
    ("S6", submitted(4.3), {"mssub": True, "intsub": 4}, YES),
    ("S7 progress", OTHER, {"mssub": True}, STEP),
    ("S8 done at once", OTHER, {"mssub": True}, STEP),
    ("S9 failed at once", OTHER, {"mssub": True}, STEP),
    ("S10", submitted(0), {"mssub": True, "intsub": 0}, YES),
    ("S11", submitted(0), {"mssub": True}, TOLD),
    ("S5 asked before", submitted(asked_before=(0.0,)), {"mssub": True, "intsub": 4}, TOLD),
    ("S6 asked before", submitted(asked_before=(4.3,)), {"mssub": True, "intsub": 4}, YES),
    ("S6 what was not told does not count", submitted(asked_before=(6.0, 3.0)), {"mssub": True, "intsub": 4}, YES),
    ("S6 told in between", submitted(asked_before=(9.0, 3.0)), {"mssub": True, "intsub": 4}, TOLD),
    ("S10 asked before", submitted(asked_before=(0.0, 0.0)), {"mssub": True, "intsub": 0}, YES),
    ("S12 another user's word is none of hers", submitted(), {"mssub": True, "intsub": 60}, YES),
    ("S13b one that did not leave is none", submitted(), {"mssub": True, "intsub": 60}, YES),
    ("S13 it did not leave: the relay tries again, and this is still to be told", submitted(None), {"mssub": True, "intsub": 60}, YES),
    ("S14", submitted(), {"sub": None, "email": "alice@example.org", "mssub": True}, YES),
]
AFTER_CALL_BACK = [
    ("C1", done(5000, is_person_known=False), {}, Reason.NOT_STATED),
    ("C2", done(10), {"tem": 0, "mstout": True}, YES),
    ("C3", done(10), {"tem": 1800, "mstout": True}, SHORT),
    ("C4", done(1790), {}, SHORT),
    ("C4b", done(1810), {}, YES),
    ("strictly longer", done(1800), {}, SHORT),
    ("C6", done(9999), {"tem": 0, "mstout": False}, OFF),
    ("C7", done(9999), {"tem": 0}, YES),
    ("C8", done(9999), {"tem": 0, "msdone": False}, OFF),
    ("C9b", done(10, is_repeat=True), {"tem": 0}, TOLD),
    ("C9c other session", done(10, is_repeat=True), {"tem": 0}, TOLD),
    ("C10", failed(1), {"tem": 1800}, YES),
    ("C10b told once: a deviation", failed(1, is_repeat=True), {}, TOLD),
    ("C10c", failed(9999), {"msfail": False}, OFF),
    ("C10d told all the same: a deviation", failed(None), {}, YES),
    ("C10e", failed(1), {"mstout": False, "msdone": False}, YES),
    ("C11", OTHER, {"tem": 0}, STEP),
    ("C12", done(None), {"tem": 0}, Reason.JOB_TIME_UNKNOWN),
    ("C13 the end of a token is no reason: a deviation", done(10), {"tem": 0, "exp": 5}, YES),
    ("C14 to the owner, whoever's token came with it: a deviation", done(10), {"tem": 0}, YES),
    ("C15 of a job of nobody", failed(10, is_person_known=False), {}, Reason.NOT_STATED),
    ("C16 it did not leave: the relay tries again", done(10), {"tem": 0}, YES),
    ("C16b", done(10), {"tem": 0}, YES),
    ("C17 no action", OTHER, {}, STEP),
]
CHAT_AFTER_SUBMIT = [
    ("M1", submitted(is_person_known=False), {}, Reason.NOT_STATED),
    ("M2", submitted(), {"mxsub": True}, YES),
    ("M3", submitted(), {"mxsub": False}, OFF),
    ("M4", submitted(), {}, YES),
    ("M5 no room", submitted(has_channel=False), {"mxsub": True}, Reason.NO_VERIFIED_ADDRESS),
    ("M6 the room can't be entered: the relay says so, and this was to be told", submitted(), {"mxsub": True}, YES),
    ("M7", submitted(0), {"mxsub": True, "mxintsub": 4}, TOLD),
    ("M7b", submitted(4.3), {"mxsub": True, "mxintsub": 4}, YES),
    ("M8 a failed one does not count: a deviation", submitted(), {"mxsub": True, "mxintsub": 60}, YES),
    ("no server", submitted(has_channel=False), {}, Reason.NO_VERIFIED_ADDRESS),
]
CHAT_AFTER_CALL_BACK = [
    ("M9", done(10), {"tmx": 0, "mxstout": True}, YES),
    ("M9b", done(10, is_repeat=True), {"tmx": 0, "mxstout": True}, TOLD),
    ("M10", done(10), {}, SHORT),
    ("M10b", done(1810), {}, YES),
    ("M11", done(9999), {"tmx": 0, "mxstout": False}, OFF),
    ("M12", done(9999), {"tmx": 0, "mxdone": False}, OFF),
    ("M13", failed(1), {}, YES),
    ("M13b told once: a deviation", failed(1, is_repeat=True), {}, TOLD),
    ("M14", failed(1), {"mxfail": False}, OFF),
    ("M15", OTHER, {"tmx": 0}, STEP),
    ("M16 the room can't be entered", done(10), {"tmx": 0}, YES),
    ("M17", done(None), {"tmx": 0}, Reason.JOB_TIME_UNKNOWN),
]


def named(rows: list[tuple]) -> list:
    return [pytest.param(*row[1:], id=row[0]) for row in rows]


def claims(given: dict[str, object]) -> Claims:
    return read_claims({"sub": "alice@example.org", **given})


@pytest.mark.parametrize(("fact", "given", "reason"), named(AFTER_SUBMIT + AFTER_CALL_BACK))
def test_mail(fact: Fact, given: dict[str, object], reason: Reason) -> None:
    assert claims(given).login == "alice@example.org"
    assert news(fact, claims(given).mail, MAIL) is reason


@pytest.mark.parametrize(("fact", "given", "reason"), named(CHAT_AFTER_SUBMIT + CHAT_AFTER_CALL_BACK))
def test_chat(fact: Fact, given: dict[str, object], reason: Reason) -> None:
    assert news(fact, claims(given).chat, CHAT) is reason


@pytest.mark.parametrize(("fact", "reason"), [(done(10), YES), (failed(1), YES)], ids=["B1", "B2"])
def test_the_channels_know_nothing_of_each_other(fact: Fact, reason: Reason) -> None:
    both = claims({"tem": 0, "tmx": 0})
    assert (news(fact, both.mail, MAIL), news(fact, both.chat, CHAT)) == (reason, reason)
    one = claims({"tem": 0, "mxdone": False, "mxfail": False})
    assert (news(fact, one.mail, MAIL), news(fact, one.chat, CHAT)) == (reason, OFF)


def test_the_site_speaks_where_she_does_not() -> None:
    silent = NewsDefaults(on_submit=False, is_end_timed=False)
    assert news(submitted(), claims({}).mail, silent) is OFF
    assert news(submitted(), claims({"mssub": True}).mail, silent) is YES
    assert news(done(9999), claims({}).mail, silent) is OFF
    assert news(done(9999), claims({"mstout": True}).mail, silent) is YES


@pytest.mark.parametrize(
    ("length", "link"), [(0, Link.WHOLE), (600, Link.WHOLE), (601, Link.SHORT), (1999, Link.SHORT), (2000, Link.SHORT), (2001, Link.NONE)]
)
def test_a_link_is_as_short_as_it_must_be(length: int, link: Link) -> None:
    assert link_for(length) is link


def message(state: str, seconds: float = 0.0, **more: str) -> Message:
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    params = {"state": state, "seconds": str(seconds), "attempt": "1", "submitted_at": str(at.timestamp() - 5), **more}
    return Message(
        message_id=1, source="angelia", type=f"job.echo.{state}", received_at=at, occurred_at=at, sender=Sender("angelia"),
        recipients=(Recipient("alice"),), subject="x", params=params,
    )  # fmt: skip


def decided(said: Message, site: Site | None = None, **document: object) -> tuple[Verdict, Reason]:
    wants = parse_wants({"preferences": {"job": {"mail": "now"}}, **document})
    profile = Profile(Person(person_id=1, login="alice"), wants, ZoneInfo("UTC"), frozenset({"mail"}))
    resolution = resolve(said, profile, Standing(), site or Site(), said.received_at)
    (decision,) = [one for one in resolution.decisions if one.agent == "mail"]
    return decision.verdict, decision.reason


LONG = {"mail": {"threshold": 600, "on_submit": False}}


def test_wishes_on_jobs_are_part_of_what_a_person_wants() -> None:
    assert decided(message("done", 10)) == (Verdict.NOW, YES)
    assert decided(message("done", 10), jobs=LONG) == (Verdict.SUPPRESSED, SHORT)
    assert decided(message("done", 601), jobs=LONG) == (Verdict.NOW, YES)
    assert decided(message("queued"), jobs=LONG) == (Verdict.SUPPRESSED, OFF)
    assert decided(message("failed", 1), jobs=LONG) == (Verdict.NOW, YES)
    assert decided(message("lost", 1), jobs={"mail": {"on_failure": False}}) == (Verdict.SUPPRESSED, OFF)
    assert decided(message("done", 10), jobs={"chat": {"on_done": False}}) == (Verdict.NOW, YES)
    assert decided(message("queued", attempt="2"), jobs={"mail": {}}) == (Verdict.SUPPRESSED, TOLD)
    assert decided(message("queued", attempt="2"), jobs={"mail": {"interval": 1}}) == (Verdict.NOW, YES)


def test_the_site_may_say_what_is_usual() -> None:
    site = parse_site({"jobs": {"mail": {"threshold": 60, "on_failure": False}}})
    assert decided(message("done", 10), site) == (Verdict.SUPPRESSED, SHORT)
    assert decided(message("done", 61), site) == (Verdict.NOW, YES)
    assert decided(message("failed", 61), site) == (Verdict.SUPPRESSED, OFF)
    assert decided(message("failed", 61), site, jobs_by_token={"mail": {"on_failure": True}}) == (Verdict.NOW, YES)
    assert decided(message("done", 10), site, jobs={"mail": {"threshold": 0}}) == (Verdict.NOW, YES)
    with pytest.raises(InvalidInput):
        parse_site({"jobs": {"mail": {"tem": 1}}})


@pytest.mark.parametrize(
    ("letters", "start"),
    [(0, "The same request, for good: https://see.example.org?"), (700, "The request and what"), (3_000, "The request is too long")],
)
def test_a_message_leads_back_to_the_request(letters: int, start: str) -> None:
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    job = Job(
        job_id=1, owner="alice", instrument="echo", product="one", values={"text": "x" * letters, "unset": None}, content_hash="", state=JobState.DONE,
        created_at=at, changed_at=at,
    )  # fmt: skip
    line = link_line(job, {"text": "x" * letters}, "https://see.example.org", f"https://hub.example.org/jobs/{job.public_id}")
    assert line.startswith(start)
    assert link_line(job, {}, "", "https://hub.example.org/jobs/job_1") == ""
    row = HistoryRow(1, at, JobState.DONE, "dispatcher")
    assert line in job_message(job, row, "Echo", "https://hub.example.org", line).body
    assert line not in job_message(job, row, "Echo", "https://hub.example.org").body


def a_job(**fields: object) -> Job:
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    usual = {"job_id": 1, "owner": "alice", "instrument": "echo", "product": "one", "values": {}, "content_hash": "", "state": JobState.DONE}
    return Job(**(usual | {"created_at": at, "changed_at": at} | fields))


def test_an_address_spells_lists_and_what_is_unset_as_they_are_read() -> None:
    given = {"scw_list": ["a", "b"], "cuts": {"x": [1]}, "flat": True, "note": None, "n": 1.5}
    said = dict(parse_qsl(request_address(a_job(), given, "https://see.example.org").partition("?")[2]))
    assert (said["scw_list"], said["use_scws"], said["cuts"], said["flat"], said["note"], said["n"]) == (
        "a,b",
        "form_list",
        '{"x": [1]}',
        "True",
        "\0",
        "1.5",
    )
    assert "use_scws=no" in request_address(a_job(), {"scw_list": []}, "https://see.example.org")


def test_a_submission_is_told_to_who_asked_and_an_end_to_all() -> None:
    job = a_job(shared_with=("bob", "carol"), in_campaign=("carol",))
    at = job.created_at
    assert concerned(job, HistoryRow(1, at, JobState.QUEUED, "alice")) == ["alice"]
    assert concerned(job, HistoryRow(2, at, JobState.QUEUED, "bob", reason=JobReason.ASKED)) == ["bob"]
    assert concerned(job, HistoryRow(2, at, JobState.QUEUED, "carol", reason=JobReason.ASKED)) == []
    assert concerned(job, HistoryRow(2, at, JobState.QUEUED, "dave", reason=JobReason.ASKED)) == []  # she has left since
    for by in ("dispatcher", "root"):
        assert concerned(job, HistoryRow(3, at, JobState.QUEUED, by)) == ["alice", "bob"]
    assert concerned(job, HistoryRow(4, at, JobState.DONE, "dispatcher")) == ["alice", "bob"]


def test_how_long_it_took_counts_from_the_question_that_made_it_run() -> None:
    job = a_job(attempt=2, asked_at=datetime(2026, 3, 5, 12, tzinfo=UTC))
    row = HistoryRow(9, job.asked_at + timedelta(seconds=10), JobState.DONE, "dispatcher", attempt=2)
    assert job_message(job, row, "Echo", "https://hub.example.org").params["seconds"] == "10.000"


def test_how_long_it_took_counts_for_each_from_when_she_asked() -> None:  # C3, C4 of those who share a run
    at = a_job().created_at
    joined = {"alice": at, "bob": at + timedelta(seconds=1790), "carol": at + timedelta(seconds=0.5), "dave": at + timedelta(seconds=1790)}
    job = a_job(shared_with=("bob", "carol", "dave"), joined_at=joined)
    row = HistoryRow(9, at + timedelta(seconds=1810), JobState.DONE, "dispatcher")
    told = [job_message(one, row, "Echo", "https://hub.example.org") for one in by_wait(job, row)]
    assert [([to.principal for to in one.recipients], one.params["seconds"], one.access) for one in told] == [
        (["alice", "carol"], "1810.000", ("alice", "carol")), (["bob", "dave"], "20.000", ("bob", "dave")),
    ]  # fmt: skip
    again = replace(job, attempt=2, asked_at=at + timedelta(seconds=1800))
    assert [one.asked_at for one in by_wait(again, row)] == [again.asked_at]
    assert by_wait(job, HistoryRow(1, at, JobState.QUEUED, "alice")) == [job]
    assert by_wait(a_job(), row) == [a_job()]


def test_a_copy_goes_to_who_looks_after_jobs() -> None:  # the blind copies of M2, M5, M9
    row = HistoryRow(9, a_job().created_at, JobState.DONE, "dispatcher")
    told = job_message(a_job(), row, "Echo", "https://hub.example.org", copies_to=("group:operators", "alice"))
    assert [(one.principal, str(one.kind), one.reason) for one in told.recipients] == [
        ("alice", "to", "owner"), ("group:operators", "cc", "looks after jobs"),
    ]  # fmt: skip
    assert told.access == ("alice", "group:operators")


def test_an_empty_result_is_told_as_one() -> None:
    row = HistoryRow(9, a_job().created_at, JobState.DONE, "dispatcher", reason=JobReason.EMPTY)
    told = job_message(a_job(), row, "Echo", "https://hub.example.org")
    assert told.subject == "Echo: one is done, with an empty result"
    assert "There is nothing in what came of it" in told.body
    assert (told.type, told.params["reason"]) == ("job.echo.done", "empty")


def product(kind: ProductKind, size: int = 10, content: bytes | None = None, **meta: object) -> Product:
    return Product("x", kind, "x", "text/plain", size, "", meta, "x", content)


@pytest.mark.parametrize(
    ("products", "is_so"),
    [
        ([], True),
        ([product(ProductKind.TABLE, rows=0)], True),
        ([product(ProductKind.TABLE, rows=1)], False),
        ([product(ProductKind.TABLE)], False),  # nobody has counted
        ([product(ProductKind.IMAGE, shape=[0, 10]), product(ProductKind.LIGHT_CURVE, rows=0)], True),
        ([product(ProductKind.IMAGE, shape=[2, 10]), product(ProductKind.LIGHT_CURVE, rows=0)], False),
        ([product(ProductKind.SPECTRUM, rows=0), product(ProductKind.TEXT, 12, b"12 iterations")], True),
        ([product(ProductKind.TEXT, 0, b"")], True),
        ([product(ProductKind.TEXT, 1, b"\n")], True),
        ([product(ProductKind.TEXT, 4, b"true")], False),
        ([product(ProductKind.JSON, 3, b"{} ")], True),
        ([product(ProductKind.JSON, 4, b"null")], True),
        ([product(ProductKind.JSON, 1, b"0")], False),
        ([product(ProductKind.FILE, 0)], True),
        ([product(ProductKind.FILE, 1)], False),
    ],
)
def test_a_result_without_content_is_empty(products: list[Product], is_so: bool) -> None:
    assert is_empty(products) is is_so


def test_who_follows_a_job_is_told_of_its_end_whatever_is_usual() -> None:
    quiet = {"mail": {"threshold": 3600, "on_done": False, "on_failure": False, "on_submit": False}}
    said = {state: replace(message(state, 10), object="job_0123456789abc") for state in ("queued", "done", "failed")}
    follows = ["job_0123456789abc"]
    assert decided(said["done"], jobs=quiet) == (Verdict.SUPPRESSED, OFF)
    assert decided(said["done"], jobs=quiet, follows=follows) == (Verdict.NOW, YES)
    assert decided(said["failed"], jobs=quiet, follows=follows) == (Verdict.NOW, YES)
    assert decided(said["queued"], jobs=quiet, follows=follows) == (Verdict.SUPPRESSED, OFF)
    assert decided(said["done"], jobs=quiet, follows=["job_another"]) == (Verdict.SUPPRESSED, OFF)


def test_what_she_says_herself_wins_over_her_token() -> None:
    token = {"mail": {"threshold": 0, "on_failure": False}}
    assert decided(message("done", 10), jobs_by_token=token) == (Verdict.NOW, YES)
    assert decided(message("done", 10), jobs_by_token=token, jobs=LONG) == (Verdict.SUPPRESSED, SHORT)
    assert decided(message("failed"), jobs_by_token=token, jobs=LONG) == (Verdict.SUPPRESSED, OFF)


@pytest.mark.parametrize(
    "bad", [{"mail": {"tem": 1}}, {"mail": {"threshold": -1}}, {"mail": {"threshold": "x"}}, {"mail": {"on_done": 1}}, {"mail": 1}, 1]
)
def test_a_wish_that_means_nothing_is_refused(bad: object) -> None:
    with pytest.raises(InvalidInput):
        parse_wants({"jobs": bad})
