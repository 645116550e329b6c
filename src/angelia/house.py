"""Composition root: which store, agents and stages there are, how they start and stop. Read here first."""

import asyncio
import contextlib
import fcntl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from angelia import telemetry
from angelia.agent import Agent, Surroundings, edits_in_place
from angelia.brokers.embedded import EmbeddedBroker
from angelia.deadlines import Deadlines
from angelia.dialects.oda_recipe import CODE_FILE, MOST_CODE, recipe
from angelia.flow.announcer import Announcer
from angelia.flow.answers import Answers
from angelia.flow.attempt import attempt
from angelia.flow.bounces import Bounces
from angelia.flow.clock import SteadyClock, now
from angelia.flow.digester import Digester
from angelia.flow.dispatcher import Dispatcher, JobPolicy
from angelia.flow.ear import Heard
from angelia.flow.escalator import Escalator
from angelia.flow.fallbacks import Fallbacks
from angelia.flow.handover import Born, HandOver
from angelia.flow.inbox_feed import LONGEST_WRITE, WithInboxes
from angelia.flow.intake import Intake
from angelia.flow.janitor import Chore, Janitor
from angelia.flow.job_runner import JobPatience
from angelia.flow.letters import Letters, Links
from angelia.flow.lookout import LookOut
from angelia.flow.loop import LONG_REST, Hint, Stage, keep, run
from angelia.flow.outbox import Patience
from angelia.flow.planner import Planner
from angelia.flow.profiles import People
from angelia.flow.relay import Lifetimes, Relay
from angelia.flow.replies import Replies
from angelia.flow.reserve import Reserve
from angelia.flow.sentinel import Sentinel
from angelia.flow.streams import Streams
from angelia.flow.transitions import Crier, ForgetExperiments, Herald
from angelia.flow.uploads import Uploads
from angelia.flow.verification import code_letter, verification_link
from angelia.flow.voice import Voice
from angelia.inlet import Inlet
from angelia.making import make_agents, make_broker, make_directory, make_inlets, make_instruments, make_mail_inlets, make_outlets, make_providers
from angelia.model.delivery import Delivery, Sent
from angelia.model.errors import BadSettings, StoreUnavailable
from angelia.model.job import Job
from angelia.model.message import Attachment
from angelia.model.moments import to_text
from angelia.model.person import Address, Person
from angelia.outbound import Outbound
from angelia.plugins import part
from angelia.settings import Settings, secret_of
from angelia.store import InboxItem
from angelia.stores.sql import SqlStore, make_store, open_store
from angelia.stores.upkeep import AWAY
from angelia.web.live import Live
from angelia.web.shapes import item_out
from angelia.wire.circles import mark_of

STATES_KEPT = timedelta(days=90)
FRESH_FOR = 2.0  # seconds in which what was read of people and site is not read again
STAGES = ("planner", "digester", "relay", "escalator", "sentinel", "janitor", "crier", "herald", "dispatcher", "announcer")
"""The life of a message, in order, and what did not come; then what is done with reported transitions, and jobs; then what is told of all that."""


class House:
    """Everything put together; `async with House.open(settings) as house`."""

    def __init__(
        self,
        settings: Settings,
        store: SqlStore,
        agents: Mapping[str, Agent],
        node: int,
        lent: Surroundings,
        templates: dict[str, str],
        clock: SteadyClock,
    ) -> None:
        self.settings = settings
        self.now = clock
        self.store = store
        self.agents = agents
        self.secret, self.outbound = lent.secret, lent.outbound
        self._templates = templates
        self._stop = asyncio.Event()
        self._is_only_worker = False
        self._attended_at: datetime | None = None
        self._broken: dict[str, str] = {}  # inlets that had to begin again, and why
        self.hints = {name: Hint() for name in STAGES}
        editing = frozenset(name for name, agent in agents.items() if edits_in_place(agent))
        self.people = People(store, editing, frozenset(name for name, agent in agents.items() if agent.is_interruptive), frozenset(agents))
        self.directory = make_directory(settings, store, self.outbound)
        self.providers = make_providers(settings)
        self.broker = make_broker(settings, store, self.now)
        self.inlets = make_inlets(settings, store, self.broker, self.wake_transitions, self.now)
        outgoing = settings.broker.outgoing
        if outgoing:
            store.announce(self.hints["announcer"])
        self._began_at = self.now()
        self.reserve = Reserve(settings.data_dir, settings.house.disk_reserve)
        self.intake = Intake(store, self.now.us, node, self._wake("planner", "messages"), self.reserve.lack)
        self.fallbacks = Fallbacks(store, self.people, self.intake.new_id)
        self.dispatcher = self._dispatcher()
        self.live = Live(store)
        self.answers = Answers(store, self.now, self.live.forget)
        self.ears = Heard(store, self.answers, self.now, self.secret, self.changed)
        self.mail_inlets = make_mail_inlets(settings, store, self._door, self.now)
        # SQLite has one process that writes, in the order of ids.
        looks_back = LONGEST_WRITE if settings.database.startswith("postgresql") else timedelta()
        self.sources = WithInboxes(self.broker, store, shown, self.live.forget, looks_back)
        self.streams = Streams(self.sources)
        store.hear(lambda topic: self.sources.look() if topic == "inboxes" else None)
        self.task_watch = self._task_watch()
        self._stale = Hint()
        self.look_out = LookOut(store, list(agents), self._ring, self.now)
        self.stages = self._stages()

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, settings: Settings, clock: SteadyClock | None = None) -> AsyncIterator["House"]:
        """Open the store and the agents; close them at the end. `clock`: another time than the machine's, for what is played through."""
        store = await open_store(settings.database)
        try:
            secret, node = secret_of(settings), await store.new_node()
        except BaseException:
            await store.close()
            raise
        async with cls._around(store, settings, secret, node, clock or now) as house:
            await house.refresh()
            yield house

    @classmethod
    @contextlib.asynccontextmanager
    async def unopened(cls, settings: Settings) -> AsyncIterator["House"]:
        """All its parts, to see whether they can be made: neither a database nor a file of its own is touched."""
        async with cls._around(make_store(settings.database), settings, bytes(32), 0, now) as house:
            yield house

    @classmethod
    @contextlib.asynccontextmanager
    async def _around(cls, store: SqlStore, settings: Settings, secret: bytes, node: int, clock: SteadyClock) -> AsyncIterator["House"]:
        templates: dict[str, str] = {}
        async with contextlib.AsyncExitStack() as parts:
            parts.push_async_callback(store.close)
            outbound = Outbound(settings.outbound.allow, ca_file=settings.outbound.ca_file, mark=mark_of(secret))
            parts.push_async_callback(outbound.close)
            lent = Surroundings(lambda: templates, outbound, secret)
            agents = make_agents(settings, lent)
            for agent in agents.values():
                parts.push_async_callback(agent.close)
            house = cls(settings, store, agents, node, lent, templates, clock)
            parts.push_async_callback(house._close_providers)
            for part_of in (house.dispatcher, house.directory, house.broker, house.streams):
                parts.push_async_callback(part_of.close)
            yield house

    async def _close_providers(self) -> None:
        """Those that there are at the end: one may have been put in the place of another."""
        for provider in self.providers.values():
            await provider.close()

    async def refresh(self) -> None:
        """Read again what is kept in memory."""
        await self.people.refresh()
        await self.people.refresh_types()
        templates = await self.store.templates()
        self._templates.clear()
        self._templates.update(templates)

    def _wake(self, stage: str, topic: str) -> Callable[[], None]:
        def wake() -> None:
            self.hints[stage]()
            self.store.wake(topic)

        return wake

    def _stages(self) -> tuple[Stage, ...]:
        lifetime, chat = self.settings.lifetimes
        lifetimes = Lifetimes(lifetime, {name: chat for name, agent in self.agents.items() if agent.is_interruptive})
        seen_once = self.settings.delivery.seen_once
        patient = frozenset(name for name, agent in self.agents.items() if not agent.is_pull and not agent.is_interruptive)
        patience = Patience(timedelta(seconds=self.settings.delivery.seen_wait if seen_once else 0), patient)
        links = Links(self.settings.house.base_url, self.secret)
        letters = Letters(self.store, self.people, links, seen_once=seen_once, editing=self.people.editing)
        wake_relay = self._wake("relay", "deliveries")
        hand_over: HandOver[Born] = HandOver(self.hints["relay"])
        retention = timedelta(days=self.settings.delivery.retention_days)
        chores: list[Chore] = [
            self._attend,
            self._wake_snoozed,
            self._forget_states,
            ForgetExperiments(self.store, retention),
            self.dispatcher.forget_old,
            self.dispatcher.count,
        ]
        if isinstance(self.broker, EmbeddedBroker):
            chores.append(self.broker.prune)
        outlets = make_outlets(self.settings)
        if self.task_watch is not None:
            chores.append(self.task_watch.prune)
        return (
            Planner(self.store, self.people, self.directory, self.intake, wake_relay, patience, self._look_at_inboxes, hand_over),
            Digester(self.store, self.people, self.intake, wake_relay, seen_once=seen_once),
            Relay(
                self.store,
                self.agents,
                letters,
                Voice(self.intake.accept),
                self.now,
                lifetimes,
                self.hints["relay"],
                self._wake_senders,
                self.fallbacks,
                hand_over,
            ),
            Escalator(self.store, self.people, self.intake, self._wake_senders, self._look_at_inboxes),
            Sentinel(self.store, self.intake.accept, self.settings.house.base_url),
            Janitor(self.store, retention, chores),
            Crier(self.store, self.broker, outlets),
            Herald(self.store, self.intake.accept, outlets),
            self.dispatcher,
            *self._announcers(),
        )

    def _announcers(self) -> tuple[Announcer, ...]:
        told = self.settings.broker
        return (Announcer(self.store, self.broker, told.outgoing, told.outgoing_kept),) if told.outgoing else ()

    async def _bounced(self, delivery: Delivery, why: str, at: datetime) -> bool:
        is_news = await self.fallbacks.bounced(delivery, why, at)
        if is_news:
            self._wake_senders()
        return is_news

    def _wake_senders(self) -> None:
        """Something goes another way: at once, or in a digest."""
        self.hints["relay"]()
        self.hints["digester"]()

    def _dispatcher(self) -> Dispatcher:
        told, folder = self.settings.jobs, self.settings.data_dir.resolve()
        told_at = (self.settings.oda.products_url or self.settings.house.base_url).rstrip("/")
        patience = JobPatience(timedelta(seconds=told.unreachable_after), timedelta(seconds=told.silent_after))
        return Dispatcher(
            self.store,
            make_instruments(self.settings, self.outbound),
            self.intake.accept,
            self.intake.new_id,
            self.now,
            folder=folder / "jobs",
            uploads=Uploads(folder / "oda" / "uploads", f"{told_at}/dispatch-data/download_file", told.most_uploaded),
            base_url=self.settings.house.base_url,
            products_url=self.settings.oda.products_url.rstrip("/"),
            code_of=self._code,
            secret=self.secret,
            wake=self._wake("dispatcher", "jobs"),
            tell_others=lambda: self.store.wake("reports"),
            policy=JobPolicy(
                most_waiting=told.most_waiting,
                most_bytes=told.most_bytes,
                keep=timedelta(days=told.keep_days),
                progress_every=told.progress_every,
                copies_to=tuple(name for part in told.copies_to.split(",") if (name := part.strip())),
                patience=patience,
            ),
        )

    def _door(self) -> Any:
        """Where mail that comes back goes."""
        bounces = Bounces(self.store, Voice(self.intake.accept), self.now, self._bounced)
        replies = Replies(self.store, self.answers, lambda: self.people.site, self.now, self.changed)
        return part("angelia.inlets.mail.door:Door")(self.store, self.secret, bounces, replies, self.now)

    async def _attend(self, at: datetime) -> None:
        """Say that somebody works. After days without, be it that the hub was stopped or the machine's clock wrong, nothing has run out that could
        not be tried (promise P13).
        """
        was, self._attended_at = self._attended_at, at
        is_back = was is None or at - was >= AWAY
        away = await self.store.attend(at, is_back=is_back)
        if is_back and abs(away) >= AWAY:
            telemetry.log.warning("was_away", hours=round(away / timedelta(hours=1), 1))

    async def _wake_snoozed(self, at: datetime) -> None:
        if awake := await self.store.wake_snoozed(at):
            for person_id in awake:
                self.live.forget(person_id)
            self._look_at_inboxes()

    async def _forget_states(self, at: datetime) -> None:
        """What inlets saw last, and not for long."""
        while await self.store.forget_states(at - STATES_KEPT, 1_000) == 1_000:
            pass

    def _task_watch(self) -> Any:
        """Where brainlife's tokens are known and its exchange is there."""
        wanted = self.settings.brainlife
        if not self.settings.streams.public_key or wanted.exchange not in self.broker.exchanges:
            return None
        kind = part("angelia.dialects.brainlife_requests:TaskWatch")
        return kind(wanted, self.store, self.broker, self.intake.accept, self.outbound, self.now, lambda: self.changed("people"))

    def wake_transitions(self) -> None:
        """A transition was reported."""
        self.hints["crier"]()
        self.hints["herald"]()
        self.store.wake("transitions")

    def _look_at_inboxes(self) -> None:
        self.sources.look()
        self.store.wake("inboxes")

    def changed(self, topic: str) -> None:
        """Somebody changed what the stages decide by."""
        for hint in self.hints.values():
            hint()
        self.store.wake(topic)

    async def ready(self) -> dict[str, str]:
        """Promise P17: what is not well, by part; empty means ready."""
        faults: dict[str, str] = {}
        if lack := self.reserve.lack():
            faults["disk"] = lack
        try:
            await self.store.ping()
            faults |= await self._overdue()
        except StoreUnavailable as error:
            faults["store"] = str(error)
        for exchange, text in (await self.broker.faults()).items():
            faults[f"exchange {exchange}" if exchange else "broker"] = text
        faults |= {f"inlet {name}": why for name, why in self._broken.items()}
        faults |= {f"inlet {inlet.name}": inlet.fault for inlet in (*self.inlets, *self.mail_inlets) if inlet.fault}
        return faults

    async def _overdue(self) -> dict[str, str]:
        """Does anybody decide what is taken? Only the age of the hub's own work counts: a medium that is away makes no other wait."""
        most = timedelta(seconds=self.settings.house.overdue_after)
        oldest = await self.store.oldest_undecided(self.now()) if most else None
        # What came before this process began could not be decided earlier: it has its time from then on.
        if oldest is None or self.now() - max(oldest, self._began_at) <= most:
            return {}
        return {"planner": f"a message of {to_text(oldest)} is not decided yet: does a process run with the stages, and what does its log say?"}

    def _code(self, job: Job, values: Mapping[str, object]) -> Attachment | None:
        """As it goes with the mails on a job, at a site whose people use that client; not where it is longer than anybody reads."""
        if not self.settings.oda.secret:
            return None
        code = self.recipe(job, values)
        return Attachment(CODE_FILE, code) if len(code) <= MOST_CODE else None

    def recipe(self, job: Job, values: Mapping[str, object]) -> str:
        """How a client of the analysis service asks for the same."""
        return recipe(job.instrument, job.product, values, self.settings.oda.products_url or self.settings.house.base_url)

    async def verify(self, address: Address, person: Person, code: str) -> None:
        """A code goes straight to its agent: the planner sends nothing to an address that is not verified."""
        link = verification_link(self.settings.house.base_url, self.secret, address.address_id, code)
        letter = code_letter(self.settings.house.title, person, address, code, link, self.intake.new_id, self.now())
        outcome, _ = await attempt(self.agents[address.agent], letter, Deadlines())
        if not isinstance(outcome, Sent):
            raise StoreUnavailable(f"the code could not be sent: {getattr(outcome, 'why', 'try again later')}", retry_after=60)

    async def work(self) -> None:
        """Run the stages until `stop`."""
        with self._only_worker():
            await self._work()

    @contextlib.contextmanager
    def _only_worker(self) -> Iterator[None]:
        """On SQLite one process works: so the leases of one that was killed need not run out (figure R1), and nobody works against it."""
        if self.store.engine.dialect != "sqlite":
            yield
            return
        with (self.settings.data_dir / "work.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise BadSettings("another process works on this SQLite database; for several use PostgreSQL") from None
            self._is_only_worker = True
            yield

    async def _work(self) -> None:
        if self._is_only_worker:
            await self.store.release_leases()
        if not self.settings.broker.outgoing:
            await self.store.trim_announcements(0)  # of a time when they were asked for
        if back := await self.store.forget_future(self.now()):
            telemetry.log.warning("clock_went_back", due_now=back)
        await self._attend(self.now())
        jobs = [asyncio.create_task(run(stage, self.hints[stage.name], self.now, self._stop, LONG_REST), name=stage.name) for stage in self.stages]
        jobs += [asyncio.create_task(self._keep_fresh()), asyncio.create_task(self.look_out.run(self._stop), name="look-out")]
        listening = asyncio.create_task(keep("listener", self._listen))
        taking = [asyncio.create_task(self._taking(inlet), name=f"inlet {inlet.name}") for inlet in (*self.inlets, *self.mail_inlets)]
        taking.append(asyncio.create_task(self.ears.run(self.agents), name="ears"))
        if self.task_watch is not None:
            taking.append(asyncio.create_task(keep("task watch", self.task_watch.run), name="task watch"))
        try:
            await self._all_ended(jobs)
        finally:
            # What they have in hand is not acknowledged: it comes again, to whoever is next.
            for task in (listening, *taking):
                task.cancel()
            await asyncio.gather(listening, *taking, return_exceptions=True)

    async def _all_ended(self, jobs: list[asyncio.Task[None]]) -> None:
        try:
            await asyncio.gather(*jobs)
        except Exception:
            # One broke: the others end in good order before that is told, and work on nothing that is closed by then.
            self.stop()
            await asyncio.gather(*jobs, return_exceptions=True)
            raise

    async def _taking(self, inlet: Inlet) -> None:
        async def begin() -> None:
            self._broken.pop(inlet.name, None)
            await inlet.run(self.intake.accept)

        await keep(f"inlet {inlet.name}", begin, lambda why: self._broken.update({inlet.name: why}))

    async def _keep_fresh(self) -> None:
        """What others change is seen within seconds (promise P10)."""
        while not self._stop.is_set():
            await self._stale.wait(LONG_REST)
            with contextlib.suppress(StoreUnavailable):
                await self.refresh()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FRESH_FOR):
                    await self._stop.wait()

    def _ring(self) -> None:
        """Something was written, or its time has come."""
        for hint in (*self.hints.values(), self._stale):
            hint()

    async def _listen(self) -> None:
        topics = {
            "messages": ("planner",),
            "deliveries": ("relay",),
            "transitions": ("crier", "herald"),
            "jobs": ("dispatcher",),
            "reports": ("dispatcher",),
            "people": STAGES,
            "inboxes": (),
            "rights": (),
        }
        async for topic in self.store.hints():
            if topic == "reports":
                self.dispatcher.hear()
            for stage in topics.get(topic, STAGES):
                self.hints[stage]()

    def stop(self) -> None:
        """Refuse what is new, finish what is in hand (promise P18)."""
        self.intake.close()
        self._stop.set()
        self._ring()


def shown(item: InboxItem) -> bytes:
    """An inbox entry as the API shows it."""
    text: bytes = part("angelia.web.stream.forms:dumped")(item_out(item))
    return text
