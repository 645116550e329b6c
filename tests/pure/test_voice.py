"""What the house says to people: once to each, however many they are at one address."""

from datetime import UTC, datetime

import pytest

from angelia.flow.voice import Voice
from angelia.inlet import Receipt, Taken

NOW = datetime(2026, 11, 24, 8, tzinfo=UTC)


@pytest.mark.parametrize("what", ["address_refused", "address_ended", "came_back", "fails", "cut_off", "gave_up"])
async def test_of_two_people_with_one_address_both_hear_of_it_once(what):
    said = {}

    async def accept(source, drafts):
        said.update((draft.idempotency_key, draft.fingerprint) for draft in drafts)
        return [Receipt(number, Taken.NEW) for number, _ in enumerate(drafts)]

    for login in ("alice", "bob", "alice"):
        await getattr(Voice(accept), what)(login, "mail", "both@example.org", "no such user", NOW)
    assert len(said) == 2
