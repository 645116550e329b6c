"""What the watcher tells around an error: the records before it, in files and rotations of any kind; and measurements that nobody ended."""

import pytest

from angelia.watch.settings import WatchSettings
from angelia.watch.watching import Watch

NOW = 1_793_000_000.0


def watching(log, **options):
    return Watch(
        WatchSettings(**{"name": "yumo", "paths": (str(log),), "start": "beginning", "dedup_for": "0s", "rate": "", "flush_after": "0s"} | options)
    )


def looked(watch):
    return [message for message in watch.turn(NOW) if message is not None]


def before(message):
    return message["attachment"]["text"].split("\n") if "attachment" in message else []


@pytest.mark.parametrize(("encoding", "end"), [("utf-8", "\n"), ("utf-8-sig", "\n"), ("cp1251", "\r\n"), ("utf-16", "\r\n"), ("utf-16-be", "\n")])
@pytest.mark.parametrize("parts", [1, 7])
def test_the_last_twenty_records_go_with_an_error(tmp_path, encoding, end, parts):
    log, lines = tmp_path / "run.log", [f"info 3 насос шаг {number}" for number in range(30)]
    data = "".join(line + end for line in [*lines, "error 1 насос авария", "info 3 x y", "error 2 насос опять"]).encode(encoding)
    watch = watching(log, encoding="utf-16-be" if encoding == "utf-16-be" else "auto")
    told = []
    for part in range(1, parts + 1):
        log.write_bytes(data[: len(data) * part // parts])
        told += looked(watch)
    watch.close()
    assert [before(message) for message in told] == [lines[-20:], [*lines[-18:], "error 1 насос авария", "info 3 x y"]]
    assert told[0]["attachment"]["name"] == "yumo-before.txt"


def test_where_reading_began_at_the_error_the_records_before_it_are_there_too(tmp_path):
    log = tmp_path / "run.log"
    log.write_text("".join(f"info 3 pump step {number} {'x' * 100}\n" for number in range(1_000)))
    watch = watching(log, start="end")
    assert looked(watch) == []
    with log.open("a") as file:
        file.write("error 1 pump lost\n")
    (told,) = looked(watch)
    watch.close()
    assert [line.split()[4] for line in before(told)] == [str(number) for number in range(980, 1_000)]


def test_records_of_many_lines_count_as_one_and_terminal_sequences_are_left_out(tmp_path):
    log = tmp_path / "run.log"
    log.write_text("10:00 info a\n  more\n10:01 info \x1b[31mb\n10:02 error c\n  trace\n10:03 info d\n")
    watch = watching(log, record_start=r"^\d\d:\d\d ", context=2)
    (told,) = looked(watch)
    watch.close()
    assert told["body"] == "10:02 error c\n  trace" and before(told) == ["10:00 info a", "  more", "10:01 info b"]


def test_no_record_of_another_file_goes_with_it_and_none_where_none_is_wanted(tmp_path):
    log = tmp_path / "run.log"
    log.write_text("info 3 old one\n")
    watch, bare = watching(log), watching(log, context=0)
    assert looked(watch) == looked(bare) == []
    log.rename(tmp_path / "run.log.1")
    log.write_text("error 1 pump first\ninfo 3 new one\nerror 1 pump second\n")
    first, second = looked(watch)
    assert before(first) == [] and before(second) == ["error 1 pump first", "info 3 new one"]
    assert all("attachment" not in message for message in looked(bare))
    watch.close()
    bare.close()


MEASURED = {"measurement_start": r"started (?P<name>\S+)", "measurement_end": "finished", "silence_alarm": "30m"}


def test_a_measurement_that_nobody_ended_is_over_when_the_next_begins(tmp_path):
    log = tmp_path / "run.log"
    log.write_text("info 3 script started run-17\ninfo 3 script started run-18\ninfo 3 script started run-18\ninfo 3 script finished\n")
    watch = watching(log, **MEASURED)
    told = looked(watch)
    of_first = [(message["type"], message["subject"]) for message in told if message["object"] == "instrument/yumo/run-17"]
    assert of_first == [
        ("instrument.measurement.start", "yumo: started run-17"),
        ("instrument.measurement.end", "yumo: run-17 is over: run-18 began, and no end of run-17 was written"),
    ]
    # The same that begins again goes on; its end is its own.
    of_second = [message["type"] for message in told if message["object"] == "instrument/yumo/run-18"]
    assert of_second == ["instrument.measurement.start", "instrument.measurement.start", "instrument.measurement.end"]
    assert len({message["idempotency_key"] for message in told}) == len(told)
    watch.close()


def test_a_measurement_begins_in_a_log_that_names_no_devices(tmp_path):
    log = tmp_path / "run.log"
    log.write_text("INFO started 2211\nINFO finished\n")
    watch = watching(log, **MEASURED)
    begin, end = looked(watch)
    assert (begin["type"], begin["object"], begin["subject"]) == ("instrument.measurement.start", "instrument/yumo/2211", "yumo: started 2211")
    assert (end["type"], end["object"], end["subject"]) == ("instrument.measurement.end", "instrument/yumo/2211", "yumo: finished")
    watch.close()


def test_silence_is_that_of_the_measurement_that_is_on(tmp_path):
    log = tmp_path / "run.log"
    log.write_text("info 3 script started run-17\ninfo 3 script started run-18\n")
    watch = watching(log, **MEASURED)
    looked(watch)
    (silence,) = [message for message in watch.turn(NOW + 1_801) if message is not None]
    assert (silence["type"], silence["object"]) == ("instrument.silence", "instrument/yumo/run-18")
    assert [message for message in watch.turn(NOW + 9_000) if message is not None] == []
    with log.open("a") as file:
        file.write("info 3 script finished\n")
    looked(watch)
    assert [message for message in watch.turn(NOW + 20_000) if message is not None] == []
    watch.close()


async def test_the_file_goes_with_the_letter_and_a_second_reading_of_it_is_a_repeat(bench):
    await bench.person("alice")
    message = {"type": "instrument.error", "to": ["alice"], "subject": "yumo: lost", "body": "b", "idempotency_key": "k1"}
    message |= {"attachment": {"name": "yumo-before.txt", "text": "info 3 <b>насос</b>"}}
    first = await bench.call("POST", "/api/v1/messages", message, 201)
    again = await bench.call("POST", "/api/v1/messages", message | {"attachment": {"name": "yumo-before.txt", "text": "more"}}, 200)
    assert again["id"] == first["id"]
    await bench.call("POST", "/api/v1/messages", message | {"body": "another"}, 409)
    for wrong in (
        {"name": "../x", "text": "a"},
        {"name": "x", "text": ""},
        {"name": "x"},
        {"name": ".x", "text": "a"},
        {"name": "x", "text": "a" * 65_537},
    ):
        await bench.call("POST", "/api/v1/messages", message | {"idempotency_key": "k2", "attachment": wrong}, 422)
    await bench.work()
    (letter,) = bench.mail.letters
    assert (letter.message.attachment.name, letter.message.attachment.text) == ("yumo-before.txt", "info 3 <b>насос</b>")
