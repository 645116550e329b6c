"""The ledger: why somebody was told, and by which rule."""

from datetime import timedelta

from angelia.model.delivery import Reason
from angelia.model.moments import first_id
from angelia.planning.decision import Decision, Verdict
from angelia.store import LedgerRow, Plan, Store
from angelia_testing.suites.store.making import LEASE, MINUTE, NOW, row


class LedgerSuite:
    """The promises of `angelia.store.LedgerStore`."""

    async def test_candidacies_are_counted_by_type_and_reason(self, store: Store) -> None:
        early, late = first_id(NOW - timedelta(days=8)), first_id(NOW - timedelta(days=1))
        for number, kind in ((early, "old.one"), (late, "obs.build.fail"), (late + 1, "obs.build.fail"), (late + 2, "obs.request")):
            await store.add_messages([row(number, kind=kind)])
            (claimed,) = await store.claim_messages(1, LEASE, NOW)
            because = ("role:maintainer", "follow") if kind == "obs.build.fail" else ("to",)
            ledger = [LedgerRow(number, 1, because, (), NOW), LedgerRow(number, 2, ("to",), (), NOW)]
            await store.record_plans([Plan(claimed.message, claimed.fence, ledger, [])], [], [], NOW)
        assert await store.counts_since(1, NOW - timedelta(days=7), 100) == [
            ("obs.build.fail", ("role:maintainer", "follow"), 2),
            ("obs.request", ("to",), 1),
        ]
        assert await store.counts_since(1, NOW - timedelta(days=7), 1) == [("obs.request", ("to",), 1)]
        assert await store.counts_since(3, NOW - timedelta(days=7), 100) == []

    async def test_what_rules_did_is_found_in_the_ledger(self, store: Store) -> None:
        first = first_id(NOW)
        await store.add_messages([row(first + n) for n in range(5)])
        claimed = await store.claim_messages(10, LEASE, NOW)
        said = ["rule:a", "follow", "rule:a\nrule:b", "rule:a_", 'rule:"q"']
        off = (Decision("mail", Verdict.SUPPRESSED, Reason.RULE_OFF, "rule:off"),)
        for n, item in enumerate(claimed):
            decided = LedgerRow(first + n, 1, tuple(said[n].split("\n")), off if n == 1 else (), NOW + n * MINUTE)
            await store.record_plans([Plan(item.message, item.fence, [decided] if n != 4 else [])], [], [], NOW + n * MINUTE)
        hits = await store.rule_hits(1, NOW - MINUTE, NOW + MINUTE, 100)
        assert {rule: (hit.count, hit.last_at) for rule, hit in hits.items()} == {
            "a": (1, NOW + 2 * MINUTE), "b": (1, NOW + 2 * MINUTE), "off": (1, NOW + MINUTE), "a_": (1, NOW + 3 * MINUTE),
        }  # fmt: skip
        assert await store.rule_hits(1, NOW + MINUTE, NOW, 100) == {}
        assert await store.rule_hits(2, NOW, NOW, 100) == {}
        spoke = {rule: [m.message_id - first for m, _ in await store.history(1, NOW, 10, rule_id=rule)] for rule in ("a", "b", "off", "a_", "x")}
        assert spoke == {"a": [2, 0], "b": [2], "off": [1], "a_": [3], "x": []}
        assert [m.message_id - first for m, _ in await store.history(1, NOW, 2, subtree="obs", before_id=first + 3)] == [2, 1]
        assert await store.history(1, NOW, 2, subtree="ob") == []
        seen = await store.recent(1, NOW, 3)
        assert [(m.message_id - first, because) for m, because in seen] == [(4, None), (3, ("rule:a_",)), (2, ("rule:a", "rule:b"))]
        assert [m.message_id - first for m, _ in await store.recent(1, NOW, 10, first + 2)] == [1, 0]
        assert await store.recent(1, NOW + MINUTE, 10) == []
