"""What a hub that serves changes in its own process."""

import gc

from angelia.serving import sweep_seldom


def test_a_batch_is_not_searched_for_rubbish_while_it_is_made():
    before, seen = gc.get_threshold(), []
    gc.callbacks.append(lambda phase, about: seen.append((phase, about["generation"])))
    try:
        gc.collect()
        sweep_seldom()
        assert gc.get_freeze_count() > 1_000
        seen.clear()
        batch = [{"params": {"number": number}} for number in range(4_000)]
        assert (len(batch), seen) == (4_000, [])
        ring = []
        ring.append(ring)
        del ring
        assert gc.collect() >= 1  # what is rubbish is still found
    finally:
        gc.callbacks.pop()
        gc.unfreeze()
        gc.set_threshold(*before)
