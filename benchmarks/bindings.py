"""What does an event cost that matches k bindings, among 1,000 of them and among 100,000? And what does a binding keep?

python benchmarks/bindings.py      in one process, without sockets: matching, encoding and calling the writers, each event with a key of its own
"""

import asyncio
import gc
import time
import tracemalloc

from angelia.broker import ExchangeSettings
from angelia.flow.cursor import MOST_BINDINGS
from angelia.flow.streams import Streams
from angelia.model.event import Event, Position
from angelia.web.stream.forms import SocketForm
from angelia_testing.memory_broker import MemoryBroker

EVENTS = 2_000
ROUNDS = 5
BODY = b'{"text":"%s"}' % (b"x" * 185)


async def bound(count, matching):
    """Streams with so many bindings; every event of `keys` matches so many of them, some by a word and some by a pattern."""
    exchanges = {"news": ExchangeSettings(access="public")}
    streams = Streams(MemoryBroker(exchanges))
    form, written = SocketForm(), [0]

    def write(data):
        written[0] += 1

    for number in range(matching):
        listener = streams.join(form, write, lambda: None)
        await streams.bind(listener, [("news", ("run.*.done", "run.#", "*.*.done")[number % 3])])
        streams.go_live(listener)
    left, number = count - matching, 0
    while left > 0:
        some = min(MOST_BINDINGS, left)
        # As the pages of a site have them: one's own task, one's own project, in some project anything.
        patterns = [f"task{number + at}.*" if at % 2 else f"project.*.{number + at}.#" for at in range(some)]
        listener = streams.join(form, write, lambda: None)
        await streams.bind(listener, [("news", pattern) for pattern in patterns])
        streams.go_live(listener)
        left, number = left - some, number + some
    return streams, written


def microseconds(streams, written, first, matching):
    trunk = streams._trunks["news"]
    events = [Event("news", f"run.r{first + n}.done", BODY, "application/json", position=Position("memory", first + n)) for n in range(EVENTS)]
    written[0] = 0
    began = time.process_time()
    for event in events:
        streams.deliver(trunk, [event])
    took = time.process_time() - began
    assert written[0] == EVENTS * matching, written
    return took / EVENTS * 1e6


async def main():
    print("| k | us an event, 1,000 bindings | 100,000 bindings | ratio (aim: at most 2) |\n|---|---|---|---|", flush=True)
    for matching in (1, 10, 100):
        few, few_written = await bound(1_000, matching)
        many, many_written = await bound(100_000, matching)
        gc.collect()
        gc.freeze()
        best = [float("inf"), float("inf")]
        for turn in range(ROUNDS):
            # Positions of their own: the text of an event is made once for all.
            best[0] = min(best[0], microseconds(few, few_written, 1 + turn * EVENTS, matching))
            best[1] = min(best[1], microseconds(many, many_written, 1_000_001 + turn * EVENTS, matching))
        gc.unfreeze()
        print(f"| {matching} | {best[0]:.1f} | {best[1]:.1f} | {best[1] / best[0]:.2f} |", flush=True)
        await few.close()
        await many.close()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    streams, _ = await bound(64_000, 0)
    print(
        f"memory: {(tracemalloc.get_traced_memory()[0] - before) / 64_000:.0f} bytes a binding, 64 a client, without its socket (aim: at most 1,024)"
    )
    await streams.close()


if __name__ == "__main__":
    asyncio.run(main())
