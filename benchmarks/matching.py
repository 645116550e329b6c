"""What does it cost to find whose rules may match a message, among up to 1,000,000?"""

import random
import resource
import sqlite3
import time

from angelia.planning.topic import PatternIndex, matches

WORDS = [f"w{number}" for number in range(40)]


def rules(count: int):
    chance = random.Random(1)
    for number in range(count):
        words = [chance.choice(WORDS) for _ in range(3)]
        kind = number % 10
        if kind == 0:
            words[1] = "*"
        elif kind == 1:
            words[2:] = ["#"]
        yield ".".join(words), ("package", f"p{number % 400}"), number


def microseconds(function, repeat: int) -> float:
    function()
    began = time.perf_counter()
    for _ in range(repeat):
        function()
    return (time.perf_counter() - began) / repeat * 1e6


def main() -> None:
    print("| rules | matches | index us | no match us | linear us | SQLite us | bytes a rule | built in s |\n|---|---|---|---|---|---|---|---|")
    for count in (1_000, 100_000, 1_000_000):
        everything = list(rules(count))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began = time.perf_counter()
        index = PatternIndex()
        for pattern, condition, number in everything:
            index.add(pattern, condition, number)
        built = time.perf_counter() - began
        size = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / count
        # 2,450 of a million have one pattern and condition, as in a release that everybody waits for.
        hot = max(1, count // 400)
        for number in range(hot):
            index.add("hot.topic.now", ("package", "p1"), number)
        found, key = {"package": "p1"}, "hot.topic.now"
        hit = microseconds(lambda: index.find(key, found), 300)
        miss = microseconds(lambda: index.find("w1.w2.unheard.of", {"package": "none"}), 3_000)
        flat = [*everything, *(("hot.topic.now", ("package", "p1"), number) for number in range(hot))]
        linear = microseconds(lambda: [n for p, c, n in flat if found.get(c[0]) == c[1] and matches(p, key)], 1 if count == 1_000_000 else 3)
        database = sqlite3.connect(":memory:")
        database.execute("CREATE TABLE r (pattern TEXT, name TEXT, value TEXT, id INTEGER)")
        database.executemany("INSERT INTO r VALUES (?, ?, ?, ?)", ((p, *c, n) for p, c, n in flat))
        database.execute("CREATE INDEX i ON r (pattern, name, value)")
        candidates = [".".join(p) for p in (("hot", "topic", "now"), ("hot", "*", "now"), ("hot", "topic", "#"), ("hot", "#"), ("#",))]
        query = f"SELECT id FROM r WHERE name = ? AND value = ? AND pattern IN ({','.join('?' * len(candidates))})"
        sql = microseconds(lambda: database.execute(query, ("package", "p1", *candidates)).fetchall(), 20)
        print(f"| {count:,} | {hot:,} | {hit:.1f} | {miss:.1f} | {linear:,.0f} | {sql:,.0f} | {size:.0f} | {built:.1f} |", flush=True)


if __name__ == "__main__":
    main()
