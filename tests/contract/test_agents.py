"""Every agent keeps the promises of its contract: ours, the recording one, and the one in the documentation."""

import asyncio
import email
import gc
import json
import re
import socket
from pathlib import Path

import pytest

from angelia.agents.feed import FeedAgent
from angelia.agents.mail import MailAgent
from angelia.agents.mail.settings import MailSettings
from angelia.agents.skeleton import SkeletonAgent, SkeletonSettings
from angelia.agents.web import WebAgent
from angelia.model.delivery import Sent
from angelia_testing.peers.process import free_port
from angelia_testing.peers.sink import Sink
from angelia_testing.recording import RecordingAgent
from angelia_testing.suites.agent import AgentSuite, Arrival, Bench

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to" / "write-an-agent.md"


@pytest.fixture
def silent_port():
    """Connections are accepted (by the kernel), and nothing is said."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def mail_agent(url):
    return MailAgent(MailSettings(url=url, sender="hub@test.example", domain="test.example"))


def mail_arrival(raw, recipients=()):
    mail = email.message_from_bytes(raw)
    kinds = [part.get_content_type() for part in mail.walk()]
    return Arrival(mail["Message-ID"], (*recipients, *mail.get_all("To")), (*mail.keys(), *kinds))


class TestSmtp(AgentSuite):
    @pytest.fixture
    def bench(self, silent_port):
        sink = Sink()
        sink.start()

        async def arrived():
            return [mail_arrival(raw, to) for raw, to in zip(sink.mails, sink.recipients, strict=True)]

        urls = [f"smtp://127.0.0.1:{port}" for port in (sink.port, free_port(), silent_port)]
        agent, away, silent = map(mail_agent, urls)
        yield Bench(agent, "alice@test.example", arrived, away, silent)
        sink.stop()

    async def test_a_try_can_be_cancelled_while_the_server_thinks(self, bench):
        sink = Sink("silent")
        sink.start()
        agent = mail_agent(f"smtp://127.0.0.1:{sink.port}")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await agent.deliver(bench.letter())
        gc.collect()  # a connection that was left open would be told of here
        sink.mode = "ok"
        assert isinstance(await agent.deliver(bench.letter()), Sent)
        await agent.close()
        sink.stop()


class TestMaildir(AgentSuite):
    @pytest.fixture
    def bench(self, tmp_path):
        async def arrived():
            paths = sorted(tmp_path.glob("mail/*/new/*"), key=lambda path: path.stat().st_mtime_ns)
            return [mail_arrival(path.read_bytes(), [path.parent.parent.name]) for path in paths]

        return Bench(mail_agent(f"maildir:{tmp_path / 'mail'}"), "alice@test.example", arrived)


class TestWeb(AgentSuite):
    @pytest.fixture
    def bench(self):
        return Bench(WebAgent())


class TestFeed(AgentSuite):
    @pytest.fixture
    def bench(self):
        return Bench(FeedAgent())


class TestRecording(AgentSuite):
    @pytest.fixture
    def bench(self):
        agent = RecordingAgent()

        async def arrived():
            return [Arrival(str(letter.delivery.delivery_id), (letter.address.value,)) for letter in agent.letters]

        return Bench(agent, arrived=arrived)


class TestSkeleton(AgentSuite):
    @pytest.fixture
    def bench(self, tmp_path):
        async def arrived():
            found = [(path.stem, json.loads(line)) for path in tmp_path.glob("*.jsonl") for line in path.read_text().splitlines()]
            return [Arrival(line["id"], (stem,), tuple(line)) for stem, line in found]

        return Bench(SkeletonAgent(SkeletonSettings(str(tmp_path))), "alice", arrived, SkeletonAgent(SkeletonSettings(str(tmp_path / "missing"))))

    def test_a_name_is_no_path(self, bench):
        assert not any(map(bench.agent.check_address, ("../alice", "a/b", ".", "Alice", "a.b")))


class Gateway:
    """What the pager of the how-to talks to."""

    def __init__(self, made, silent_port):
        agent, settings = made["PagerAgent"], made["PagerSettings"]
        self.port, self.pages = free_port(), []
        self.settings = settings(port=self.port)
        self.away, self.silent = agent(settings(port=free_port())), agent(settings(port=silent_port))

    async def answer(self, reader, writer):
        self.pages.append(json.loads(await reader.readline()))
        writer.write(b"ok\n")
        writer.close()

    async def arrived(self):
        return [Arrival(str(page["id"]), (page["to"],), tuple(page)) for page in self.pages]


_blocks = re.findall(r"```python\n(.*?)```", HOW_TO.read_text(encoding="utf-8"), re.DOTALL)
_made: dict = {"AgentSuite": AgentSuite, "Bench": Bench, "pytest": pytest, "__name__": __name__}
for _block in _blocks:
    exec(compile(_block, HOW_TO, "exec"), _made)  # the page is the code under test


class TestHowTo(_made["TestPager"]):
    @pytest.fixture
    async def gateway(self, silent_port):
        made = Gateway(_made, silent_port)
        server = await asyncio.start_server(made.answer, "127.0.0.1", made.port)
        yield made
        server.close()
        await server.wait_closed()
