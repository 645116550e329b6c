"""The description of the API is true: requests made of it find no fault of ours, and every answer is one that it names."""

import asyncio
import os

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

from angelia.front import app_of
from angelia_testing.walk import app_behind, routes_of

CHECKS = [not_a_server_error, status_code_conformance, response_schema_conformance, content_type_conformance]
COUNT = int(os.environ.get("ANGELIA_EXAMPLES", "4"))
SEED = int(os.environ.get("ANGELIA_SEED", "20261125"))


@pytest.fixture
async def document(bench):
    return await bench.call("GET", "/api/v1/openapi.json", status=200)


async def test_every_route_of_the_api_is_described(document, house):
    assert document["openapi"].startswith("3.1")
    described = {(method.upper(), path) for path, operations in document["paths"].items() for method in operations}
    for route in routes_of(app_behind(app_of(house))):
        if route.path.startswith("/api/") and "openapi.json" not in route.path:
            path = route.path.replace(":path}", "}")
            assert {(method, path) for method in route.methods} <= described, path
    assert {("POST", "/api/v1/messages"), ("POST", "/api/v1/publish/{type}")} <= described
    for path, operations in document["paths"].items():
        for operation in operations.values():
            problem = operation["responses"]["4XX"]["content"]
            assert next(iter(problem)) == "application/problem+json", path
            assert ("security" in operation) is path.startswith("/api/"), path


@pytest.mark.timeout(300)
async def test_requests_made_of_the_description(document, bench):
    for login in ("alice", "0"):
        await bench.person(login)
    await bench.post("a.b", to=["alice"])
    await bench.work()
    operations = [operation.ok() for operation in schemathesis.openapi.from_dict(document).get_all_operations()]
    assert len(operations) > 70
    loop = asyncio.get_running_loop()

    def send(case):
        kwargs = case.as_transport_kwargs(base_url="http://hub")
        kwargs.pop("allow_redirects", None)
        return asyncio.run_coroutine_threadsafe(_sent(bench.api, kwargs), loop).result(30)

    def tried(operation):
        faults = []

        @seed(SEED)
        @settings(max_examples=COUNT, phases=[Phase.generate], database=None, deadline=None, suppress_health_check=list(HealthCheck))
        @given(operation.as_strategy())
        def trial(case):
            if case.path_parameters and any(part in ("", ".", "..") for part in map(str, case.path_parameters.values())):
                return
            answer = send(case)
            if answer is None:
                return
            try:
                case.validate_response(answer, checks=CHECKS)
            except (FailureGroup, Failure) as failure:
                faults.append(f"{operation.label}: {answer.status_code} {failure} {getattr(failure, 'exceptions', '')}")

        trial()
        return faults

    faults = []
    for operation in operations:
        faults += await asyncio.to_thread(tried, operation)
    assert not faults, "\n".join(faults[:20])


async def _sent(api, kwargs):
    if not isinstance(kwargs.get("data"), dict):
        kwargs["content"] = kwargs.pop("data", None)
    try:
        return await api.request(**{name: value for name, value in kwargs.items() if name not in ("verify", "timeout", "cookies")})
    except (httpx2.InvalidURL, UnicodeError, ValueError):
        return None
