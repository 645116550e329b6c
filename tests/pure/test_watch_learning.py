"""How a log would be read, what is proposed for it, and configurations as people write them, on Windows too."""

import codecs
import json
import re
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from angelia.cli.watching import watch
from angelia.model.errors import BadSettings
from angelia.watch import learning
from angelia.watch.direct_mail import direct_mail
from angelia.watch.rules import Rule, Rules
from angelia.watch.settings import FIELDS, load

LINES = (
    "25.11.2026 10:00:00 info 3 script started run-17",
    "25.11.2026 10:00:05 ERROR 2 насос потерян вакуум",
    "Traceback (most recent call last):",
    '  File "C:\\sonix\\x.py", line 3',
    "25.11.2026 10:00:09 warning 4 motor slow",
)
HUB = '[hub]\nurl = "http://127.0.0.1:9"\n'


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize(
    ("encoding", "mark"),
    [
        ("utf-8", b""),
        ("utf-8", codecs.BOM_UTF8),
        ("cp1251", b""),
        ("utf-16-le", codecs.BOM_UTF16_LE),
        ("utf-16-be", codecs.BOM_UTF16_BE),
    ],
)
def test_what_is_proposed_reads_the_log(tmp_path, encoding, mark, ending):
    """The proposal is put into a file as it is; with it the one error is found, with its continuation."""
    log, config = tmp_path / "протокол 17.log", tmp_path / "watch.toml"
    log.write_bytes(mark + ("".join(f"{line}{ending}" for line in LINES) + "  not yet").encode(encoding))
    learned = learning.learn(log.read_bytes())
    assert learned.encoding == encoding and learned.lines == len(LINES) and learned.begins == 3
    assert learned.kinds == {"info": 1, "error": 1, "warning": 1}
    name = {"\n": "LF", "\r\n": "CRLF", "\r": "CR"}[ending]
    assert learned.endings == {name: len(LINES)}
    config.write_text(HUB + learning.proposed(learned, log), encoding="utf-8")
    (table,) = load(config, environment={}).watches
    assert table.name == "17" and table.record_start
    (found,) = learning.records(table, log)
    assert (found.fields.kind, found.fields.level, found.fields.device) == ("error", 2, "насос")
    assert found.record.text.replace("\r", "") == "\n".join(LINES[1:4])


def test_old_encodings_are_shown_side_by_side_and_never_guessed(tmp_path):
    learned = learning.learn("".join(f"{line}\r\n" for line in LINES).encode("cp866"))
    assert learned.encoding == "cp1251"
    assert "насос потерян вакуум" in learned.samples["cp866"] and "насос" not in learned.samples["cp1251"]
    assert learning.learn(b"error 1 pump lost\n").samples == {}


def test_the_two_commands_say_what_they_find(tmp_path):
    log, config = tmp_path / "run.log", tmp_path / "rules.toml"
    log.write_bytes("".join(f"{line}\r\n" for line in LINES).encode("cp1251") + b"25.11.2026 10:00:10 error 1 x \x1b]0;title\x07\r\n")
    learned = CliRunner().invoke(watch, ["learn", str(log)])
    assert learned.exit_code == 0 and "# line endings: CRLF 6" in learned.output and "\x1b" not in learned.output
    config.write_text(learned.output, encoding="utf-8")  # its comments are comments, and nobody to tell is needed to try
    tried = CliRunner().invoke(watch, ["test", str(config), str(log)])
    assert tried.exit_code == 0 and "2 records would be told" in tried.output and "потерян вакуум" in tried.output
    config.write_text('[hub]\nurl = "http://hub"\ntoken_file = "not-there-yet"\n' + learned.output, encoding="utf-8")
    assert CliRunner().invoke(watch, ["test", str(config), str(log)]).output == tried.output
    assert tomllib.loads(learned.output)["watch"][0]["fallback_encoding"] == "cp1251"


PLAIN = """\
25.11.2026 10:00:00 INFO started 2211
25.11.2026 10:00:05 ERROR simulated error
25.11.2026 10:00:06 INFO авария on vacuum
25.11.2026 10:00:07 INFO nothing else
25.11.2026 10:00:09 INFO finished
"""


def in_the_how_to():
    """The table that docs/how-to/watch.md proposes."""
    page = Path(__file__).parents[2].joinpath("docs/how-to/watch.md").read_text(encoding="utf-8")
    return page.split("```toml\n")[1].split("```")[0]


def test_the_table_of_the_how_to_reads_a_log_that_names_no_devices(tmp_path):
    """The word after the kind is taken for a device: rules, and what begins and ends a measurement, look at it all the same."""
    log, config = tmp_path / "run.log", tmp_path / "watch.toml"
    log.write_text(PLAIN, encoding="utf-8")
    config.write_text(in_the_how_to(), encoding="utf-8")
    tried = CliRunner().invoke(watch, ["test", str(config), str(log)])
    begin, failure, end, count = tried.output.splitlines()
    assert begin.endswith("[measurement.start 2211]") and end.endswith("[measurement.end]")
    assert "авария" in failure and failure.endswith("on vacuum") and count.startswith("3 records")


@pytest.mark.parametrize(
    ("fields", "record", "pattern", "is_found"),
    [
        (FIELDS, "error motor lost", "^lost", True),
        (FIELDS, "error motor lost", "^motor lost", True),
        (FIELDS, "error motor", "motor", True),
        (FIELDS, "error motor lost", "error", False),
        (r"\[(?P<device>\w+)\] (?P<text>.*)", "[motor] lost", "motor", False),
        (r"(?P<text>\w+) (?P<device>\w+)", "lost motor", "motor", False),
        ("", "error motor", "error", True),
    ],
)
def test_a_rule_looks_at_the_text_and_at_a_word_that_stands_right_before_it(fields, record, pattern, is_found):
    for rules in (Rules(fields, match=[Rule(text_regex=pattern)]), Rules(fields, ignore=[Rule(text_regex=pattern)])):
        assert (rules.told(record) is not None) == (is_found if rules.match else not is_found)


@pytest.mark.parametrize(
    ("logs", "names"),
    [
        (["run.log"], ["run"]),
        (["протокол измерения.log"], ["log"]),
        (["2026-11 протокол (1).log"], ["2026-11-1"]),
        (["a b.log", "x" * 100 + ".log"], ["a-b", "x" * 64]),
    ],
)
def test_any_log_has_a_name(tmp_path, logs, names):
    assert [watch.name for watch in bots(tmp_path, logs)] == names


def test_logs_of_one_name_are_told_apart_the_same_way_each_time(tmp_path):
    first = [watch.name for watch in bots(tmp_path, ["a/run.log", "b/run.log", "c/other.log"])]
    again = [watch.name for watch in bots(tmp_path, ["c/other.log", "b/run.log", "a/run.log"])]
    assert first == again[::-1] and len(set(first)) == 3 and first[2] == "other"
    assert all(name.startswith("run-") for name in first[:2])


def bots(folder, logs):
    """The watches that the bot's own configuration gives for these logs."""
    config = folder / "config.json"
    config.write_text(json.dumps({"mail": {"server": "127.0.0.1", "recipients": ["alice@example.org"]}}))
    return load(config, tuple(logs), environment={}).watches


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_what_editors_on_windows_write(tmp_path, encoding):
    config = tmp_path / "watch.toml"
    text = HUB + "[[watch]]\nname = 'yumo'\npaths = ['D:\\sonix\\протоколы\\*.log']\n"
    config.write_bytes(text.replace("\n", "\r\n").encode(encoding))
    (table,) = load(config, environment={}).watches
    assert table.paths == ("D:\\sonix\\протоколы\\*.log",)


@pytest.mark.parametrize("path", ["D:\\sonix\\log\\run.log", "D:\\temp\\new.log"], ids=["no escape", "a tab and a new line"])
def test_a_backslash_in_double_quotes_is_told_with_the_way_out(tmp_path, path):
    config = tmp_path / "watch.toml"
    config.write_text(f'{HUB}[[watch]]\nname = "yumo"\npaths = ["{path}"]\n')
    with pytest.raises(BadSettings, match="D:/sonix/log"):
        load(config, environment={})
    (tmp_path / "config.json").write_text('{"hub": {"url": "http://127.0.0.1:9"}, "watch": [{"name": "yumo", "paths": ["D:\\sonix\\run.log"]}]}')
    with pytest.raises(BadSettings, match="D:/sonix/log"):
        load(tmp_path / "config.json", environment={})


def test_a_relative_token_file_lies_beside_the_settings(tmp_path, monkeypatch):
    folder = tmp_path / "settings"
    folder.mkdir()
    (folder / "watch.token").write_text("ang_secret\n")
    (folder / "watch.token").chmod(0o600)
    (folder / "watch.toml").write_text('[hub]\nurl = "http://hub"\ntoken_file = "watch.token"\n[[watch]]\nname = "x"\npaths = ["x.log"]\n')
    monkeypatch.chdir(tmp_path)
    assert load(folder / "watch.toml", environment={}).hub.token == "ang_secret"


def test_a_relative_password_file_does_too(tmp_path, monkeypatch):
    folder = tmp_path / "settings"
    folder.mkdir()
    (folder / "mail.password").write_text("secret\n")
    (folder / "mail.password").chmod(0o600)
    table = {"server": "mail.example.org", "recipients": ["alice@example.org"], "user": "bob", "password_file": "mail.password", "ca_file": "ca.pem"}
    watch = [{"name": "x", "paths": ["x.log"]}]
    (folder / "watch.json").write_text(json.dumps({"mail": table, "watch": watch}))
    monkeypatch.chdir(tmp_path)
    direct = direct_mail(load(folder / "watch.json", environment={}).direct["mail"])
    assert (direct.password, direct.ca_file) == ("secret", str(folder / "ca.pem"))
    (folder / "watch.json").write_text(json.dumps({"mail": table | {"password_file": 7}, "watch": watch}))
    with pytest.raises(BadSettings, match=r"mail\.password_file"):
        load(folder / "watch.json", environment={})


def checked(folder, document, name="config.json"):
    """What `--check` says of a configuration, and its exit code."""
    (folder / "run.log").write_text("info 1 user started\n")
    path = folder / name
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    path.chmod(0o600)
    try:
        done = CliRunner().invoke(watch, ["--config", str(path), "--log", str(folder / "run.log"), "--check"], catch_exceptions=False)
    except BadSettings as error:
        return str(error)
    return done.output


MAIL = {"user": "yumo@example.org", "password": "x", "server": "mail.example.org", "recipients": ["alice@example.org"]}
TO_HUB = {"hub": {"url": "http://h"}}


def test_a_check_says_what_would_be_done(tmp_path):
    said = checked(tmp_path, {"mail": MAIL, "telegram": {"bot-id": "1:a", "channel-id": -100}})
    assert said == f"tells mail and telegram\nrun follows {tmp_path}/run.log: 1 file is there now\n"
    said = checked(tmp_path, f'{HUB}[[watch]]\nname = "yumo"\npaths = ["{tmp_path}/*.dat"]\n', "watch.toml")
    assert said.splitlines()[:2] == ["tells the hub http://127.0.0.1:9", f"yumo follows {tmp_path}/*.dat: no such file is there now"]
    assert not (tmp_path / "watch-state").exists()


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"mail": MAIL | {"recipients": "alice@example.org"}}, "mail needs server and recipients"),
        ({"mail": 5}, "mail is a table"),
        ({"telegram": {"bot_id": "1:a", "channel-id": "-1"}}, "telegram.bot_id is no setting"),
        ({"telegram": {"bot-id": "1:a", "channel-id": "-1", "timeout": "long"}}, "telegram.timeout is a number"),
        ({"hub": {"url": "hub.example.org"}}, "begins with https://"),
        ({"hub": {"url": "http://h"}, "state": 5}, "state is the name of a folder"),
        ({"hub": {"url": "http://h"}, "watch": {"name": "a"}}, "two brackets"),
        ({"hub": {"url": "http://h"}, "watch": [{"name": "a", "paths": "x.log"}]}, r'is a list, such as \["x.log"\]'),
        ({"hub": {"url": "http://h"}, "watch": [{"name": "a", "paths": ["x"], "measurement_start": "(?P<nme>x)"}]}, "no group nme"),
        ({"hub": {"url": "http://h"}, "watch": [{"name": "a", "paths": ["x"], "fields": "(?P<knd>x)"}]}, "no group knd"),
        ({"mail": MAIL | {"port": 70_000}}, "mail.port is a number from 1"),
        ({"mail": MAIL | {"timeout": 0}}, "mail.timeout more than 0"),
        ({"telegram": {"bot-id": "1:a", "channel-id": "-1", "timeout": -1}}, "telegram.timeout is more than 0"),
        ({"hub": {"url": "http://h", "timeout": 0}}, "hub.timeout is more than 0"),
        (TO_HUB | {"watch": [{"name": "a", "paths": [1]}]}, r"watch\.paths is a list of texts"),
        (TO_HUB | {"watch": [{"name": "a", "paths": ["x"], "to": ["alice", 7]}]}, r"watch\.to is a list of texts"),
        (TO_HUB | {"watch": [{"name": "a", "paths": ["x"], "dedup_key": ["device", "txet"]}]}, r"watch\.dedup_key knows no txet; .* text_normalised"),
        (TO_HUB | {"watch": [{"name": "a", "paths": ["x"], "fallback_encoding": "cp1521"}]}, "unknown encoding: cp1521"),
        (TO_HUB | {"watch": [{"name": "a", "paths": ["x"], "fallback_encoding": "auto"}]}, "unknown encoding: auto"),
        (TO_HUB | {"watch": [{"name": "a", "paths": ["x"], "encoding": "hex"}]}, "'hex' is not a text encoding"),
        (TO_HUB | {"watch": [{"name": "a", "paths": ["x"], "time_format": "%d.%m.%Q"}]}, "'Q' is a bad directive"),
        (TO_HUB | {"watch": [{"name": "a", "paths": ["x"], "rate": "6/x"}]}, r"such as 6/10m, not '6/x'"),
    ],
)
def test_a_slip_in_a_configuration_is_named_before_the_start(tmp_path, document, said):
    assert re.search(said, checked(tmp_path, document)), checked(tmp_path, document)
