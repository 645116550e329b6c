"""A notebook service as nb2workflow 1.3 answers, small and strict: runs are known by their parameters, and what it does not know it refuses."""

import hashlib
import json
import time
import urllib.request
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from angelia_testing.peers.served import Served

_ODA = "http://odahub.io/ontology#"
_PREFIXES = "@prefix oda: <http://odahub.io/ontology#> .\n@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .\n\n"


def _parameter(name: str, default: Any, kind: str, term: str, more: str = "", *, is_optional: bool = False) -> dict[str, Any]:
    """As the service describes one; `more` are its notes, as the service writes them."""
    own = f"{term}_noted" if more else term
    notes = f"{_PREFIXES}oda:{own} {more} ;\n    rdfs:subClassOf oda:{term} .\n\n"
    return {
        "raw_line": f"{name} = {default!r}", "name": name, "default_value": default, "python_type": {"type_object": f"<class '{kind}'>"},
        "comment": term, "owl_type": _ODA + own, "extra_ttl": notes if more else "\n",
        "is_optional": is_optional, "is_file_reference": False, "value": default,
    }  # fmt: skip


def _workflow(outputs: dict[str, str], *parameters: dict[str, Any]) -> dict[str, Any]:
    told = {"python_type": {"type_object": "<class 'str'>"}, "comment": "", "extra_ttl": "\n"}
    return {
        "output": {name: {"name": name, "value": name, "owl_type": _ODA + term, **told} for name, term in outputs.items()},
        "parameters": {parameter["name"]: parameter for parameter in parameters},
    }


OPTIONS: dict[str, Any] = {
    "square": _workflow(
        {"square": "Integer"},
        _parameter("n", 2, "int", "Integer", 'oda:label "Number" ;\n    oda:lower_limit 0 ;\n    oda:upper_limit 100'),
        _parameter("seconds", 0.0, "float", "TimeIntervalSeconds"),
        _parameter("fail", False, "bool", "Boolean"),
        _parameter("Emin", 1.0, "float", "Energy_TeV", "oda:lower_limit 0.1"),
        _parameter("band", "g", "str", "String", 'oda:allowed_value "g",\n        "r",\n        "z"'),
        _parameter("T1", "2017-03-06T13:26:48.000", "str", "StartTime"),
        _parameter("RA", 265.97845833, "float", "PointOfInterestRA"),
        _parameter("limit", None, "float", "Float", is_optional=True),
        _parameter("sources", {"a": [1, 2]}, "dict", "StructuredParameter"),
    ),
    "views": _workflow({"table": "ODAAstropyTable"}, _parameter("text", "x", "str", "String")),
}


class NotebookService(Served):
    """`outputs` is what `views` answers; `faults` are what the next answers about runs are: a status, or "drop" (take it, and close
    without an answer). `is_mute`: its options are not to be had.
    """

    def __init__(self) -> None:
        self.runs: dict[str, dict[str, Any]] = {}
        self.starts = 0
        self.outputs: dict[str, Any] = {"words": "as computed"}
        self.options: Any = OPTIONS
        self.faults: list[Any] = []
        self.is_mute = False
        self.seen: list[str] = []
        self.serve(self._requests())

    def forget(self) -> None:
        """As after a restart of the service."""
        self.runs.clear()

    def call_back(self, key: str, action: str) -> int:
        """What the service does at the start and at the end of a run; the status that it is answered."""
        address = self.runs[key]["call_back"]
        # It adds its own to the address that it was given.
        joined = f"{address}{'&' if '?' in address else '?'}{urlencode({'action': action})}"
        with urllib.request.urlopen(joined, timeout=60) as answer:
            return int(answer.status)

    def answer(self, path: str) -> tuple[int, Any]:
        """Status and value."""
        parts = urlsplit(path)
        if parts.path == "/api/v1.0/options":
            return 200, self.options
        workflow = parts.path.removeprefix("/api/v1.0/get/")
        if workflow not in OPTIONS:
            return 404, None
        pairs = parse_qsl(parts.query, keep_blank_values=True)
        given = {name: text for name, text in pairs if not name.startswith("_")}
        control = {name: text for name, text in pairs if name.startswith("_")}
        assert "_async_request" in control, "asked to wait"
        values, issues = _cast(OPTIONS[workflow]["parameters"], given)
        if issues:
            return 200, _done(
                {"output": "incomplete", "exceptions": [{"ename": repr(ValueError(text)), "evalue": "", "edump": text} for text in issues]}
            )
        key = hashlib.sha224(json.dumps([workflow, values]).encode()).hexdigest()
        run = self.runs.get(key)
        if run is None:
            self.starts += 1
            ends_at = time.monotonic() + float(values.get("seconds", 0))
            self.runs[key] = {"workflow": workflow, "values": values, "ends_at": ends_at, "call_back": control.get("_async_request_callback", "")}
            return 201, {"workflow_status": "submitted", "comment": "task created"}
        if time.monotonic() < run["ends_at"]:
            return 201, {"workflow_status": "started", "comment": "task is started", "jobdir": "/tmp/nb2w-x"}
        if values.get("fail"):
            fault = {"ename": "ValueError", "evalue": "no such star", "edump": 2}
            return 200, _done({"output": "incomplete", "exceptions": [fault], "jobdir": "/tmp/nb2w-x"})
        output = self.outputs if workflow == "views" else {"square": values.get("n", 2) ** 2}
        return 200, _done({"output": output, "exceptions": [], "jobdir": "/tmp/nb2w-x"})

    def _requests(self) -> type[BaseHTTPRequestHandler]:
        service = self

        class Requests(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments: Any) -> None:
                """Nothing on stderr."""

            def do_GET(self) -> None:
                service.seen.append(self.path)
                fault = service.faults.pop(0) if service.faults and "/get/" in self.path else None
                fault = 500 if service.is_mute and "/get/" not in self.path else fault
                status, value = service.answer(self.path) if not isinstance(fault, int) else (fault, None)
                if fault == "drop":
                    self.close_connection = True
                    return
                body = b"<h1>no</h1>" if value is None else json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json" if value is not None else "text/html")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        return Requests


def _done(data: dict[str, Any]) -> dict[str, Any]:
    return {"workflow_status": "done", "data": data, "comment": ""}


def _cast(known: dict[str, Any], given: dict[str, str]) -> tuple[dict[str, Any], list[str]]:
    """As the service reads texts: by the type in Python of each default."""
    values: dict[str, Any] = {}
    issues = []
    for name, text in given.items():
        kind = known[name]["python_type"]["type_object"][8:-2] if name in known else ""
        try:
            match kind:
                case "":
                    issues.append(f"found unexpected request parameters: {name}, can be {', '.join(known)}")
                case "bool":
                    values[name] = {"False": False, "false": False, "0": False, "": False, "True": True, "true": True, "1": True}[text]
                case "dict":
                    values[name] = json.loads(text)
                case _:
                    values[name] = {"int": int, "float": float, "str": str}[kind](text)
        except (KeyError, ValueError) as error:
            issues.append(str(error))
    return values, issues
