"""A bench on which alice is reached by three agents, beside the inbox."""

from tests.house.conftest import knows

from angelia.flow.letters import Letters, Links
from angelia.flow.relay import Lifetimes, Relay
from angelia.flow.voice import Voice
from angelia.model.delivery import Sent
from angelia.model.person import Address, AddressState
from angelia_testing.recording import RecordingAgent

PUSH = ("mail", "pager", "horn")


async def reach(bench, login, *agents):
    """More addresses of a person."""
    person = await bench.store.person(login)
    for agent in agents:
        address = Address(address_id=0, person_id=person.person_id, agent=agent, value=f"{login}@{agent}.example.org", state=AddressState.OK)
        await bench.store.add_address(address)


def with_three_agents(bench):
    """Mail, a pager and a horn; what each answers is `bench.answers[name]`, a list that is used up, and then Sent."""
    house = bench.house
    knows(house, *PUSH)
    bench.answers = {name: [] for name in PUSH}
    bench.pushed = {name: RecordingAgent(name=name, answer=_answering(bench.answers[name])) for name in PUSH}
    bench.mail = bench.pushed["mail"]
    agents = bench.pushed | {name: agent for name, agent in house.agents.items() if agent.is_pull}
    letters = Letters(house.store, house.people, Links("http://hub", house.secret))
    bench.relay = Relay(house.store, agents, letters, Voice(house.intake.accept), lambda: bench.now, Lifetimes(), fallbacks=house.fallbacks)
    return bench


def _answering(script):
    return lambda _: script.pop(0) if script else Sent("recorded")


def subjects(bench, name):
    """What went by an agent, single messages only."""
    return [letter.message.subject for letter in bench.pushed[name].letters if letter.message is not None]


async def trail(bench, message, login="alice"):
    """How the deliveries of a message by the three stand: (agent, state, reason)."""
    why = await bench.why(message, login)
    return [(one["agent"], one["state"], one["reason"]) for one in why["deliveries"] if one["agent"] in PUSH]
