"""`angelia amqp setup` against a real RabbitMQ: what it makes, and that its trials find an account that can do too much."""

import json

import pytest

from angelia_testing import warm
from angelia_testing.peers.process import ENVIRONMENT

PASSWORD = "the readers' own"


@pytest.fixture
def node(rabbitmq):
    return rabbitmq


@pytest.fixture
def setup(node, tmp_path, request):
    """The command on a virtual host of its own."""
    vhost = f"bonfire-{abs(hash(request.node.name)) % 10_000}"

    def run(*options, code=0, url=f"amqp://guest:guest@127.0.0.1:{node.port}/{vhost}", password=PASSWORD):
        argv = ["--data-dir", str(tmp_path), "--json", "amqp", "setup", "--management", f"http://127.0.0.1:{node.management}", *options]
        env = ENVIRONMENT | {"ANGELIA_AMQP_URL": url} | ({"ANGELIA_READER_PASSWORD": password} if password else {})
        done = warm.run(argv, env)
        assert done.returncode == code, (done.stdout, done.stderr)
        return json.loads(done.stdout) if done.stdout else done.stderr

    run.vhost, run.reader = vhost, f"reader-{vhost}"
    yield run
    for account in {run.reader, "eventReader"} & {entry["name"] for entry in node.api("GET", "/users")}:
        node.api("DELETE", f"/users/{account}")


@pytest.mark.timeout(300)
def test_it_makes_what_is_missing_and_tries_it(node, setup):
    said = setup()
    assert said["faults"] == []
    assert len(said["checks"]) >= 18
    kinds = {name: node.api("GET", f"/exchanges/{setup.vhost}/{name}") for name in ("experiments", "resourceUsage")}
    assert {name: (entry["type"], entry["durable"]) for name, entry in kinds.items()} == {
        "experiments": ("direct", True),
        "resourceUsage": ("topic", True),
    }
    rights = node.api("GET", f"/permissions/{setup.vhost}/eventReader")
    assert (rights["configure"], rights["write"], rights["read"]) == (r"^$|^amq\.gen.*", r"^$|^amq\.gen.*", r"^(experiments|amq\.gen.*)$")
    assert [queue["name"] for queue in node.api("GET", f"/queues/{setup.vhost}")] == []
    again = setup()
    assert again["faults"] == []
    assert not [line for line in again["steps"] if line.startswith("made")]


def _named(entry):
    return {"name": entry["name"] if "name" in entry else f"{entry['source']} {entry['destination']}"}


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "right, pattern, told",
    [
        ("read", ".*", "read resourceUsage"),
        ("write", ".*", "publish on experiments"),
        ("configure", ".*", "declare an exchange"),
        ("read", "^nothing$", "read experiments from a queue that the server names"),
    ],
)
def test_it_finds_what_is_too_much_or_too_little(node, setup, right, pattern, told):
    setup("--reader", setup.reader)
    rights = node.api("GET", f"/permissions/{setup.vhost}/{setup.reader}")
    node.api("PUT", f"/permissions/{setup.vhost}/{setup.reader}", {name: rights[name] for name in ("configure", "write", "read")} | {right: pattern})
    said = setup("--reader", setup.reader, "--verify-only", code=1)
    assert any(told in fault for fault in said["faults"]), said["faults"]
    # A trial that was not refused did no harm, and left nothing behind.
    assert all(node.api("GET", f"/exchanges/{setup.vhost}/{name}") for name in ("experiments", "resourceUsage"))
    left = [entry["name"] for kind in ("queues", "exchanges", "bindings") for entry in map(_named, node.api("GET", f"/{kind}/{setup.vhost}"))]
    assert not [name for name in left if "probe" in name]


@pytest.mark.timeout(300)
def test_a_password_is_made_where_none_is_given(node, setup):
    said = setup("--reader", setup.reader, password="")
    assert len(said["password"]) >= 20
    assert setup("--reader", setup.reader, "--verify-only", password=said["password"])["faults"] == []
    # With rights elsewhere it is no account of readers.
    node.api("PUT", f"/permissions/%2F/{setup.reader}", {"configure": "", "write": "", "read": ".*"})
    assert "virtual hosts" in setup("--reader", setup.reader, "--verify-only", password=said["password"], code=1)["faults"][0]


@pytest.mark.timeout(300)
def test_what_stands_in_the_way_is_told(node, setup):
    node.api("PUT", f"/vhosts/{setup.vhost}", {})
    node.api("PUT", f"/exchanges/{setup.vhost}/experiments", {"type": "fanout", "durable": True})
    assert "is there as fanout" in setup(code=3)
    assert "administrator" in setup(code=3, url=f"amqp://guest:wrong@127.0.0.1:{node.port}/{setup.vhost}")
    assert "does not answer" in setup("--management", "http://127.0.0.1:9", code=1)
    assert "is a URL" in setup(code=2, url="http://x")
