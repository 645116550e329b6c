"""A large audience is settled in groups: what comes of it is what comes of settling each person by herself."""

from dataclasses import replace
from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st

from angelia.flow.outbox import MANY, Candidacy, Chunk, Outbox
from angelia.flow.profiles import People
from angelia.model.person import AddressState
from angelia.planning.decision import Standing
from angelia.planning.document import parse_site
from angelia.planning.resolve import Alike
from angelia.planning.trial import _message
from pure.test_alike import FewPeople, row_of
from pure.test_resolve import CASES, SITE, scenario

_KINDS = ["A1", "A2", "A3", "A35"]
ESCALATING = SITE | {"escalate": {"*": {"after": "1h", "to": ["chat"], "severity": "low"}}}


def settled(site, now, chunks):
    """Ledger, deliveries and escalations as they would be stored, ids aside; what was counted; all ids."""
    numbers = count(1)
    outbox = Outbox(site, lambda many: [next(numbers) for _ in range(many)], now)
    outbox.needs(chunks)
    plans = outbox.plans(chunks, {}, {})
    ledger = [(row.person_id, row.because, row.decisions) for plan in plans for row in plan.ledger]
    deliveries = [delivery for plan in plans for delivery in plan.deliveries]
    for shared in (shared for plan in plans for shared in plan.shared):
        ledger += [(person_id, shared.because, shared.decisions) for person_id in shared.person_ids]
        for copies in shared.copies:
            for delivery_id, person_id, address_id in zip(copies.delivery_ids, shared.person_ids, copies.address_ids, strict=True):
                deliveries.append(replace(copies.one, delivery_id=delivery_id, person_id=person_id, address_id=address_id))
    ids = [delivery.delivery_id for delivery in deliveries]
    assert len(set(ids)) == len(ids)
    bare = sorted(repr(replace(delivery, delivery_id=0)) for delivery in deliveries)
    begun = sorted(repr(one) for plan in plans for one in plan.escalations)
    return sorted(map(repr, ledger)), bare, begun, sorted(map(repr, outbox._counts.items())), len(outbox.flood_marks), outbox.is_anything_due


@settings(max_examples=40)
@given(
    st.sampled_from(sorted(CASES)),
    st.lists(st.tuples(st.sampled_from(_KINDS), st.sampled_from(list(AddressState)), st.booleans()), min_size=MANY, max_size=MANY + 10),
    st.booleans(),
)
async def test_a_crowd_is_settled_as_its_persons_are(case, crowd, is_escalating):
    message, now = _message(scenario({}, CASES[case][1], [])["message"])
    message = replace(message, object=message.object or "KDE/okular")
    site = parse_site(ESCALATING if is_escalating else SITE)
    rows = []
    for number, (kind, state, has_more) in enumerate(crowd, 1):
        row = row_of(number, f"p{number}", kind)
        addresses = tuple(replace(one, state=state) for one in row.addresses) if has_more else ()
        rows.append(replace(row, addresses=addresses, document=row.document | {"follows": [message.object]}))
    profiles = await People(FewPeople(rows)).profiles(range(1, len(rows) + 1))
    decide = Alike(message, site, now)
    candidacies = [
        Candidacy(message, profile, addresses, resolution)
        for profile, addresses in profiles.values()
        if (resolution := decide(profile, Standing())) is not None
    ]
    together = settled(site, now, [Chunk(message, 1, candidacies)])
    assert together == settled(site, now, [Chunk(message, 1, [one]) for one in candidacies])


async def test_who_has_an_address_is_no_copy_of_who_has_none():
    message, now = _message(scenario({}, CASES["A35"][1], [])["message"])
    site = parse_site({"preferences": {"*": {"web": "now", "mail": "daily"}}, "schedules": {"daily": {"every": "day", "at": ["08:00"]}}})
    rows = [replace(row_of(number, f"p{number}", "A1"), document={"follows": [message.object]}) for number in range(1, 2 * MANY + 1)]
    profiles = await People(FewPeople(rows)).profiles(range(1, 2 * MANY + 1))
    decide = Alike(message, site, now)
    candidacies = []
    for number, (profile, addresses) in profiles.items():
        # As where an address was lost since it was decided: the profile says that she can be reached.
        candidacies.append(Candidacy(message, profile, addresses if number % 2 else (), decide(profile, Standing())))
    outbox = Outbox(site, range, now)
    (plan,) = outbox.plans([Chunk(message, 1, candidacies)], {}, {})
    reached, others = sorted(plan.shared, key=lambda shared: len(shared.copies), reverse=True)
    assert (plan.ledger, plan.deliveries) == ([], [])
    assert reached.person_ids == list(range(1, 2 * MANY, 2))
    assert others.person_ids == list(range(2, 2 * MANY + 1, 2))
    held = next(copies for copies in reached.copies if copies.one.agent == "mail")
    assert held.address_ids == [10 * number for number in reached.person_ids]
    assert [copies.one.agent for copies in others.copies] == ["web"]
