"""What a hub that serves changes in its own process."""

import gc

import pytest

from angelia.cli.reach import Reach
from angelia.cli.running import settings_of
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


@pytest.mark.parametrize(
    ("said", "reached"),
    [
        ({}, "http://127.0.0.1:9000"),
        ({"ANGELIA__HOUSE__BASE_URL": "https://hub.example.org"}, "https://hub.example.org"),
        ({"ANGELIA__WEB__PORT": "7000"}, "http://127.0.0.1:9000"),
    ],
)
def test_a_port_says_how_people_reach_it_only_where_nobody_has(monkeypatch, tmp_path, said, reached):
    """Otherwise a hub behind a proxy forgets that it is reached over TLS."""
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    settings = settings_of(Reach("", "", "", as_json=False), str(tmp_path), "", 9_000)
    assert (settings.house.base_url, settings.web.port) == (reached, 9_000)


def test_the_file_says_how_people_reach_it(tmp_path):
    (tmp_path / "angelia.toml").write_text('[house]\nbase_url = "https://hub.example.org"\n')
    settings = settings_of(Reach(str(tmp_path / "angelia.toml"), "", "", as_json=False), str(tmp_path), "", 9_000)
    assert settings.house.base_url == "https://hub.example.org"
