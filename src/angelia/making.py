"""What is made of the settings: agents, instruments, directories, providers, the broker, and where things come in.

What only some sites have is read only there (`part`): every start and every command would wait for it.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

from angelia.agent import Agent, Surroundings
from angelia.broker import Broker
from angelia.brokers.embedded import EmbeddedBroker
from angelia.directories.local import LocalDirectory
from angelia.directories.together import TogetherDirectory
from angelia.directory import Directory
from angelia.flow.transitions import Form, Outlets
from angelia.inlet import Watched
from angelia.instrument import Instrument, Lent
from angelia.layers import section
from angelia.model.errors import BadSettings
from angelia.model.experiment import CleanUp
from angelia.outbound import Outbound
from angelia.parameters.reading import read_declaration
from angelia.plugins import agent_classes, instrument_class, part, provider_class
from angelia.settings import Settings
from angelia.stores.sql import SqlStore
from angelia.web.signin.providers import Provider

Clock = Callable[[], datetime]


def make_agents(settings: Settings, lent: Surroundings) -> dict[str, Agent]:
    """One agent for each entry point, with its own table of settings; those that are opt-in only where there is one."""
    classes = agent_classes()
    for name, table in settings.agents.items():
        if name not in classes:
            raise BadSettings(f"there is no agent {name!r}; there are {', '.join(classes)}")
        if not isinstance(table, Mapping):
            raise BadSettings(f"[agents.{name}] is a table of settings")
    agents: dict[str, Agent] = {}
    for name, kind in classes.items():
        if kind.Settings is None:
            agents[name] = kind()
            continue
        if kind.is_opt_in and name not in settings.agents:
            continue
        agents[name] = kind(_rooted(section(kind.Settings, f"agents.{name}", settings.agents.get(name, {})), settings), lent)
    return agents


def make_instruments(settings: Settings, outbound: Outbound) -> dict[str, Instrument]:
    """One for each table: what it computes is in a declaration file, or its adapter says it; what remains is for the adapter."""
    instruments: dict[str, Instrument] = {}
    for name, table in settings.instruments.items():
        own = dict(table)
        path, adapter = str(own.pop("declaration", "")), str(own.pop("adapter", ""))
        declaration = read_declaration(Path(path)) if path else None
        try:
            kind = instrument_class(adapter or (declaration.adapter if declaration is not None else name))
            declaration = declaration or kind.declares
            if declaration is None:
                raise BadSettings("needs a declaration: the path of a file that says what it computes")
            declaration = replace(declaration, name=name)
            made = None if kind.Settings is None else section(kind.Settings, f"instruments.{name}", {**declaration.settings, **own})
            lent = Lent(outbound, settings.data_dir.resolve() / "instruments" / name)
            instruments[name] = kind(declaration, made, lent)
        except BadSettings as error:
            # An adapter does not know whose it is.
            raise BadSettings(f"[instruments.{name}] {error}") from error
    return instruments


def make_directory(settings: Settings, store: SqlStore, outbound: Outbound) -> Directory:
    """The hub's own directory first, then each relation source in the order of the settings."""
    directories: list[Directory] = [LocalDirectory(store, monotonic)]
    for name, table in settings.directories.items():
        path = f"directories.{name}"
        if not isinstance(table, Mapping) or not table.get("url"):
            raise BadSettings(f"{path} is a table with a url")
        kind, asked = part("angelia.directories.http:HttpDirectory"), part("angelia.directories.http:HttpDirectorySettings")
        directories.append(kind(name, section(asked, path, table), outbound, store, monotonic))
    return directories[0] if len(directories) == 1 else TogetherDirectory(directories)


def make_providers(settings: Settings) -> dict[str, Provider]:
    """Those who vouch for people, in the order of the settings."""
    if not settings.oidc:
        return {}
    kind, outbound = provider_class(), settings.outbound
    return {name: kind(name, entry, outbound.allow, outbound.ca_file) for name, entry in settings.oidc.items()}


def make_outlets(settings: Settings) -> Outlets:
    """Where transitions go."""
    told = settings.transitions
    clean_up = CleanUp(timedelta(seconds=told.shutdown_after), timedelta(seconds=told.destroy_after))
    return Outlets(told.experiments, told.usage, Form(told.form), clean_up, told.messages)


def make_broker(settings: Settings, store: SqlStore, now: Clock) -> Broker:
    """In the hub's own store, or RabbitMQ."""
    if settings.broker.url:
        broker: Broker = part("angelia.brokers.rabbitmq:RabbitMQBroker")(settings.broker.url, settings.exchanges, store)
        return broker
    return EmbeddedBroker(store, settings.exchanges, now)


def make_mail_inlets(settings: Settings, store: SqlStore, door: Callable[[], Any], now: Clock) -> list[Watched]:
    """One for each way that is set; `door` makes what they put mail into."""
    wanted, inlets = settings.mail_inlet, list[Watched]()
    if wanted.port:
        inlets.append(part("angelia.inlets.mail.lmtp:MailInlet")(wanted, door()))
    if wanted.url:
        inlets.append(part("angelia.inlets.mail.imap:MailboxInlet")(wanted, door(), store, now))
    return inlets


def make_inlets(settings: Settings, store: SqlStore, broker: Broker, wake: Callable[[], None], now: Clock) -> list[Watched]:
    """One for each table: on a queue of a broker, or on an exchange of the hub's own."""
    inlets: list[Watched] = []
    for name, entry in settings.amqp_inlets.items():
        mapping = part("angelia.inlets.mapping:load_mapping")(entry.mapping) if entry.mapping else None
        if mapping is not None and mapping.each:
            raise BadSettings(f"inlets.amqp.{name}.mapping: {entry.mapping} takes bodies apart, as only webhooks are: [inlets.hook.{name}]")
        source = entry.source or name
        receiver = part("angelia.inlets.receiving:Receiver")(name, source, mapping, store, now)
        if entry.transitions:
            plain = receiver if mapping else None
            receiver = part("angelia.inlets.transitions:TransitionReceiver")(name, source, plain, store, now, wake)
        queue = entry.queue.replace("{name}", name)
        binding = part("angelia.inlets.amqp:Binding")(entry.exchange, entry.patterns, queue, entry.declare, entry.prefetch)
        url = entry.url or settings.broker.url
        if url:
            inlets.append(part("angelia.inlets.amqp:AmqpInlet")(receiver, url, binding))
        else:
            inlets.append(part("angelia.inlets.amqp:ExchangeInlet")(receiver, broker, binding, store))
    return inlets


def _rooted(made: object, settings: Settings) -> object:
    """Settings that keep files put them below the data folder, if they offer to."""
    below = getattr(made, "below", None)
    return below(settings.data_dir.resolve()) if below is not None else made
