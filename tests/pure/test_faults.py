"""Errors on pages speak the reader's language: all that the code can say is known, and comes out whole."""

import ast
from pathlib import Path

import pytest

from angelia.model.errors import AngeliaError
from angelia.web.pages.faults import TEXTS, known, said
from angelia.web.pages.languages import gettexts
from angelia.wire.problems import TITLES

ROOT = Path(__file__).parents[2] / "src/angelia"
# What these say goes to programs, to operators at a terminal, or into letters.
NEVER_ON_PAGES = (
    "parameters/", "products/", "instruments/samples/", "agents/", "amqp.py", "amqp_deliveries.py", "broker.py", "flow/cursor.py", "flow/ear.py", "flow/streams.py", "layers.py", "model/event.py", "model/experiment.py", "watch/", "web/events.py", "web/experiments.py", "web/scraping.py", "web/stream/", "brokers/", "cli/", "client.py", "dialects/", "directories/", "directory.py", "house.py", "making.py", "serving.py", "inlets/", "model/delivery.py", "planning/expecting.py", "web/pings.py",
    "outbound.py", "plugins.py", "rendering/", "settings.py", "stores/upkeep.py", "stores/sql.py", "stores/postgres.py", "tracing.py", "web/signin/provider.py", "web/signin/providers.py",
    "web/signin/claims.py", "wire/", "flow/job_", "instrument.py", "instruments/", "model/job.py", "model/claims.py", "sandbox/",
)  # fmt: skip
ONLY_OVER_THE_API = {
    "there is no such name in this query, only x1",
    "this secret does not open this job",
    "the body is the file itself, without a form around it: curl --data-binary @file",
    "an instrument can't say this of a job",
    "jobs are a person's: this token is not one",
    "this needs the secret of the job: Authorization: Bearer ...",
    "a state is one of x1",
    "metrics are for the networks of web.metrics_from, and for who has the token of web.metrics_token",
    "a report has at most x1 bytes",
    "If-Match holds the ETag that the preferences came with",
    "If-Match names the version whose change is to be taken back",
    "this needs your token: Authorization: Bearer ang_...",
    "this token lacks the scope x1",
    "the store is closed; ask again in a few seconds",
    "a tag is a pair: name and value",
    "must be a text without half characters",
}
TITLES_OF_THE_WIRE = {406, 408, 414, 421, 431, 501, 508}
"""What only clients that are no browsers, or speak no HTTP, are told."""


def kinds(kind=AngeliaError):
    return {kind.__name__}.union(*(kinds(child) for child in kind.__subclasses__()))


def texts_of(node):
    """All that the first argument can be, with `x1` in every place; what another error says is told where that one is made."""
    match node:
        case ast.Constant(value=str()):
            return [node.value]
        case ast.JoinedStr():
            return ["".join(part.value if isinstance(part, ast.Constant) else "x1" for part in node.values)]
        case ast.IfExp():
            return texts_of(node.body) + texts_of(node.orelse)
    return []


def told():
    names = kinds() | {"ValueError"}
    for path in sorted(ROOT.rglob("*.py")):
        place = path.relative_to(ROOT).as_posix()
        if place.startswith(NEVER_ON_PAGES):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names and node.args:
                for text in texts_of(node.args[0]):
                    yield place, text


def test_every_error_that_a_page_can_show_has_words_in_the_catalogues():
    found = [(place, text) for place, text in told() if " " in text and text not in ONLY_OVER_THE_API]
    assert len(found) > 150
    missing = [f"{place}: {text}" for place, text in found if known(text) is None]
    assert missing == [], "add these to web/pages/faults.py, then run make messages"
    assert [title for status, title in TITLES.items() if title not in TEXTS and status not in TITLES_OF_THE_WIRE] == []


@pytest.mark.parametrize(
    ("text", "german"),
    [
        ("there is no such message", "es gibt keine solche Nachricht"),
        ("the login 'alice 100%s' is taken", "der Anmeldename 'alice 100%s' ist vergeben"),
        ("rules.0.do.mail: must be true or false", "rules.0.do.mail: muss wahr oder falsch sein (true, false)"),
        ("Value error, a whole number in ASCII digits", "eine ganze Zahl aus ASCII-Ziffern"),
        (
            "another rule can't be read, so nothing is saved: 4.when: must be a list",
            "eine andere Regel ist nicht lesbar, deshalb wird nichts gespeichert: 4.when: muss eine Liste sein",
        ),
        ("String should have at most 255 characters", "höchstens 255 Zeichen"),
        ("what nobody foresaw: 100 %(n)s", "what nobody foresaw: 100 %(n)s"),
        ("", ""),
    ],
)
def test_an_error_is_told_in_german(text, german):
    assert said(text, gettexts("de")) == german
    assert said(text, gettexts("en")) in (text, text.removeprefix("Value error, "))


@pytest.mark.parametrize("text", TEXTS)
def test_of_two_that_fit_the_one_that_is_meant_is_found(text):
    values = dict.fromkeys(("most", "least", "name", "text", "error", "choices"), "x1")
    filled = text
    for name in sorted({part.partition(")s")[0] for part in text.split("%(")[1:]}):
        filled = filled.replace(f"%({name})s", values.get(name, "y2"))
    found = known(filled)
    assert found is not None and found[0] == text
