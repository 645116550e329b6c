"""By each agent to its real server, and read back there as its owner would: what was posted, once, or under one id, however often the hub is killed."""

import asyncio
import email
import email.policy
import json
import re
import threading
import urllib.request
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from standardwebhooks.webhooks import Webhook

from angelia_testing.hub import Hub, furnish
from angelia_testing.peers.http import ScriptedHttp
from angelia_testing.peers.push_service import PushService
from angelia_testing.peers.synapse import Synapse
from angelia_testing.peers.telegram_api import TOKEN, TelegramApi
from angelia_testing.peers.xmpp import Ejabberd, Prosody, Reader
from angelia_testing.waiting import wait_until

KILLS = 4
NO_PROXIES = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"), "")
PENDING = "SELECT (SELECT count(*) FROM messages WHERE plan_state = 0) + (SELECT count(*) FROM deliveries WHERE state < 10)"
NOTES: dict[str, str] = {}


@dataclass
class Way:
    """An agent, how a site sets it up, where alice is, and what she reads there: texts, each with the id by which she knows a repeat."""

    agent: str
    address: str
    read: Callable[[], list[tuple[str, str]]]
    settings: dict[str, str] = field(default_factory=dict)
    shows_repeats: bool = True

    def environment(self) -> dict[str, str]:
        table = {f"ANGELIA__AGENTS__{self.agent.upper()}__{name.upper()}": value for name, value in self.settings.items()}
        # What people give leads out of the site's network; a server that the operator names may be in it.
        allowed = {"ANGELIA__OUTBOUND__ALLOW": "127.0.0.0/8"} if self.is_given_by_people else {}
        return table | allowed | {"ANGELIA__DELIVERY__SEEN_WAIT": "0"} | NO_PROXIES

    @property
    def is_given_by_people(self) -> bool:
        return "://" in self.address


@pytest.fixture
def receiver():
    made = ScriptedHttp()
    yield made
    made.stop()


@pytest.fixture
def mail(mail_server):
    def read():
        found = [email.message_from_bytes(raw, policy=email.policy.default) for raw in mail_server.fetch("alice")]
        return [(one["Subject"], one["Message-ID"]) for one in found]

    url = f"smtp://127.0.0.1:{mail_server.plain}"
    return Way("mail", "alice@test.example", read, {"url": url, "sender": "hub@test.example", "domain": "test.example"})


@pytest.fixture
def matrix():
    synapse = Synapse()
    bot, alice = synapse.user("hub"), synapse.user("alice")
    room = alice.room(bot.user_id)

    def read():
        return [(event["content"]["body"], event["event_id"]) for event in alice.messages(room)]

    yield Way("matrix", room, read, {"server": synapse.url, "token": bot.token}, shows_repeats=False)
    synapse.stop()


class Elsewhere:
    """A loop in a thread of its own: who reads there reads on while the test waits."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(90)

    def stop(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


def chatting(server):
    """Alice is signed in at this server."""
    server.user("hub")
    jid, elsewhere = server.user("alice"), Elsewhere()

    async def open_reader():
        return await Reader(server, jid).__aenter__()

    alice = elsewhere.run(open_reader())
    settings = {"jid": "hub@test.example", "password": "secret", "server": server.server, "ca_file": server.ca_file}
    yield Way("xmpp", jid, lambda: [(one["body"], one["id"]) for one in list(alice.got)], settings)
    elsewhere.run(alice.__aexit__(None, None, None))
    elsewhere.stop()
    server.stop()


@pytest.fixture
def prosody():
    yield from chatting(Prosody())


@pytest.fixture
def ejabberd():
    yield from chatting(Ejabberd())


@pytest.fixture
def queue(vhost):
    vhost.node.api("PUT", f"/queues/{vhost.name}/people.alice", {"durable": True})

    def read():
        asked = {"count": 100, "ackmode": "ack_requeue_true", "encoding": "auto"}
        came = vhost.node.api("POST", f"/queues/{vhost.name}/people.alice/get", asked)
        return [(json.loads(one["payload"])["subject"], one["properties"]["message_id"]) for one in came]

    return Way("amqp", "people.alice", read, {"url": vhost.url, "prefix": "people."})


@pytest.fixture
def telegram():
    api = TelegramApi()
    api.chats.add("1001")
    yield Way("telegram", "1001", lambda: [(text, re.search(r"#d\d+$", text)[0]) for text in api.messages], {"token": TOKEN, "api": api.url})
    # To the server a hub that was killed still asks for updates when the next one does.
    assert all(fault.startswith("Conflict: terminated by other getUpdates") for fault in api.faults)
    api.stop()


@pytest.fixture
def webhook(receiver):
    def read():
        came = [(Webhook(NOTES["webhook"]).verify(one.body, one.headers), one.headers["webhook-id"]) for one in list(receiver.asked)]
        return [(said["data"]["subject"], key) for said, key in came]

    return Way("webhook", f"{receiver.url}/hook", read, {"allow_http": "true"})


@pytest.fixture
def ntfy(receiver):
    def read():
        bodies = [json.loads(one.body) for one in list(receiver.asked)]
        return [(body["title"], body["sequence_id"]) for body in bodies]

    return Way("ntfy", "alice-alarms", read, {"server": receiver.url, "allow_http": "true"})


@pytest.fixture
def apprise(receiver):
    def read():
        bodies = [json.loads(one.body) for one in list(receiver.asked)]
        return [(body["title"], re.search(r"#d\d+$", body["message"])[0]) for body in bodies]

    return Way("apprise", f"json://127.0.0.1:{receiver.port}/hook", read, {"schemes": "json"})


@pytest.fixture
def webpush():
    service = PushService()
    settings = {"contact": "mailto:operator@example.org", "allow_http": "true"}
    yield Way("webpush", service.address, lambda: [(one.document["title"], one.topic) for one in list(service.came)], settings)
    assert not service.faults
    service.stop()


WAYS = ["mail", "matrix", "prosody", "ejabberd", "queue", "telegram", "webhook", "ntfy", "apprise", "webpush"]


@pytest.fixture(params=WAYS)
def way(request):
    return request.getfixturevalue(request.param)


def post(hub, subject):
    body = json.dumps({"type": "a.b", "subject": subject, "body": "a word", "to": ["alice"]}).encode()
    request = urllib.request.Request(f"{hub.url}/api/v1/messages", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status == 201


def test_what_is_posted_is_read_back_once_or_under_one_id_however_often_the_hub_is_killed(way, tmp_path):
    furnish(tmp_path / "hub", "alice", by_mail=[], site={"hourly_cap": 100_000})
    (tmp_path / "alice.toml").write_text(f'[preferences."*"]\nweb = "now"\n{way.agent} = "now"\n')
    hub = Hub(tmp_path / "hub", **way.environment())
    try:
        made = json.loads(hub.cli("--json", "address", "add", "alice", way.agent, way.address, "--default", "--verified"))
        NOTES[way.agent] = made["note"]
        hub.cli("prefs", "apply", "alice", str(tmp_path / "alice.toml"))
        subjects = [f"Grüße ✓ <b>&</b> number {number}." for number in range(KILLS)]
        for subject in subjects:
            post(hub, subject)
            # At once, so that some are killed between what the server has and what the hub has written down.
            wait_until(lambda subject=subject: any(subject in text for text, _ in way.read()), 60, every=0.001, what=hub.server.log)
            hub.kill()
            hub.start()
        wait_until(lambda: hub.count(PENDING) == 0, 60, what="all to be settled")
        came, ids = way.read(), defaultdict(set)
        for text, key in came:
            ids[next(subject for subject in subjects if subject in text)].add(key)
        assert set(ids) == set(subjects) and all(len(keys) == 1 for keys in ids.values()), came
        assert len({key for keys in ids.values() for key in keys}) == len(subjects)
        assert len(came) == len(subjects) or way.shows_repeats, came
        assert hub.rows(f"SELECT state, count(*) FROM deliveries WHERE agent = '{way.agent}' GROUP BY 1") == [(10, len(subjects))]
        assert hub.faults() == []
    finally:
        hub.stop()
