"""What is made of the settings: agents, instruments, directories, providers, the broker, and where things come in."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from time import monotonic

from angelia.agent import Agent, Surroundings
from angelia.broker import Broker
from angelia.brokers.embedded import EmbeddedBroker
from angelia.brokers.rabbitmq import RabbitMQBroker
from angelia.directories.http import HttpDirectory, HttpDirectorySettings
from angelia.directories.local import LocalDirectory
from angelia.directories.together import TogetherDirectory
from angelia.directory import Directory
from angelia.flow.transitions import Form, Outlets
from angelia.inlets.amqp import AmqpInlet, Binding, ExchangeInlet
from angelia.inlets.mail import MailInlet
from angelia.inlets.mail.door import Door
from angelia.inlets.mail.imap import MailboxInlet
from angelia.inlets.mapping import load_mapping
from angelia.inlets.receiving import Receiver, Receiving
from angelia.inlets.transitions import TransitionReceiver
from angelia.instrument import Instrument, Lent
from angelia.model.errors import BadSettings
from angelia.model.experiment import CleanUp
from angelia.outbound import Outbound
from angelia.parameters.reading import read_declaration
from angelia.plugins import agent_classes, instrument_class, provider_class
from angelia.settings import Settings, section
from angelia.stores.sql import SqlStore
from angelia.web.signin.providers import Provider

Clock = Callable[[], datetime]


def make_agents(settings: Settings, lent: Surroundings) -> dict[str, Agent]:
    """One agent for each entry point, with its own table of settings; those that are opt-in only where there is one."""
    classes = agent_classes()
    for name in settings.agents:
        if name not in classes:
            raise BadSettings(f"there is no agent {name!r}; there are {', '.join(classes)}")
    agents: dict[str, Agent] = {}
    for name, kind in classes.items():
        if kind.Settings is None:
            agents[name] = kind()
            continue
        if kind.is_opt_in and name not in settings.agents:
            continue
        table = dict(settings.agents.get(name, {}))
        agents[name] = kind(_rooted(section(kind.Settings, f"agents.{name}", table), settings), lent)
    return agents


def make_instruments(settings: Settings, outbound: Outbound) -> dict[str, Instrument]:
    """One for each table: what it computes is in a declaration file, or its adapter says it; what remains is for the adapter."""
    instruments: dict[str, Instrument] = {}
    for name, table in settings.instruments.items():
        own = dict(table)
        path, adapter = str(own.pop("declaration", "")), str(own.pop("adapter", ""))
        declaration = read_declaration(Path(path)) if path else None
        kind = instrument_class(adapter or (declaration.adapter if declaration is not None else name))
        declaration = declaration or kind.declares
        if declaration is None:
            raise BadSettings(f"[instruments.{name}] needs a declaration: the path of a file that says what it computes")
        declaration = replace(declaration, name=name)
        made = None if kind.Settings is None else section(kind.Settings, f"instruments.{name}", {**declaration.settings, **own})
        lent = Lent(outbound, settings.data_dir.resolve() / "instruments" / name)
        instruments[name] = kind(declaration, made, lent)
    return instruments


def make_directory(settings: Settings, store: SqlStore, outbound: Outbound) -> Directory:
    """The hub's own directory first, then each relation source in the order of the settings."""
    directories: list[Directory] = [LocalDirectory(store, monotonic)]
    for name, table in settings.directories.items():
        path = f"directories.{name}"
        if not isinstance(table, Mapping) or not table.get("url"):
            raise BadSettings(f"{path} is a table with a url")
        directories.append(HttpDirectory(name, section(HttpDirectorySettings, path, table), outbound, store, monotonic))
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
        return RabbitMQBroker(settings.broker.url, settings.exchanges, store)
    return EmbeddedBroker(store, settings.exchanges, now)


def make_mail_inlets(settings: Settings, store: SqlStore, door: Door, now: Clock) -> list[MailInlet | MailboxInlet]:
    """One for each way that is set."""
    wanted = settings.mail_inlet
    inlets: list[MailInlet | MailboxInlet] = [MailInlet(wanted, door)] if wanted.port else []
    return [*inlets, MailboxInlet(wanted, door, store, now)] if wanted.url else inlets


def make_inlets(settings: Settings, store: SqlStore, broker: Broker, wake: Callable[[], None], now: Clock) -> list[AmqpInlet | ExchangeInlet]:
    """One for each table: on a queue of a broker, or on an exchange of the hub's own."""
    inlets: list[AmqpInlet | ExchangeInlet] = []
    for name, entry in settings.amqp_inlets.items():
        mapping = load_mapping(entry.mapping) if entry.mapping else None
        source = entry.source or name
        plain = Receiver(name, source, mapping, store, now)
        receiver: Receiving = plain
        if entry.transitions:
            receiver = TransitionReceiver(name, source, plain if mapping else None, store, now, wake)
        binding = Binding(entry.exchange, entry.patterns, entry.queue.replace("{name}", name), entry.declare, entry.prefetch)
        url = entry.url or settings.broker.url
        inlets.append(AmqpInlet(receiver, url, binding) if url else ExchangeInlet(receiver, broker, binding, store))
    return inlets


def _rooted(made: object, settings: Settings) -> object:
    """Settings that keep files put them below the data folder, if they offer to."""
    below = getattr(made, "below", None)
    return below(settings.data_dir.resolve()) if below is not None else made
