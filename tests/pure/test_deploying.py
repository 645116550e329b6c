"""The examples of how to run a hub: what they name is there."""

import re
from pathlib import Path

import yaml

from angelia.cli.main import COMMANDS
from angelia.settings import all_settings

ROOT = Path(__file__).parents[2]
CONTAINER = ROOT / "deploy" / "container"
FILE = (CONTAINER / "Containerfile").read_text()
COMPOSE = yaml.safe_load((CONTAINER / "compose.yaml").read_text())
OURS = {name: service for name, service in COMPOSE["services"].items() if "build" in service}


def test_every_variable_is_a_setting():
    known = {"ANGELIA__" + name.upper().replace(".", "__") for name, *_ in all_settings()}
    named = set(re.findall(r"\bANGELIA__\w+", FILE)) | {name for service in OURS.values() for name in service["environment"]}
    assert len(named) > 5
    assert {name.removesuffix("_FILE") for name in named} - known == set()


def test_what_is_built_is_there():
    for name in re.findall(r"(?:sh |requirements/|scripts/)([\w./-]+)", FILE):
        assert any((ROOT / folder / name).exists() for folder in ("", "requirements", "scripts")), name
    for service in OURS.values():
        assert (CONTAINER / service["build"]["context"] / service["build"]["dockerfile"]).resolve() == CONTAINER / "Containerfile"
    # What is built for the machine at hand, and secrets, do not go into an image.
    ignored = (ROOT / ".containerignore").read_text().split()
    assert {".git", ".venv", "deploy/container/secrets", "src/angelia/web/static"} <= set(ignored)


def test_services_do_what_there_is_to_do_and_may_do_no_more():
    assert {service["command"][0] for service in OURS.values()} == {"db", "web", "work"} <= COMMANDS.keys()
    for name, service in OURS.items():
        assert service["read_only"] and service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"], name
        assert set(service["secrets"]) <= COMPOSE["secrets"].keys()
        assert {volume.partition(":")[0] for volume in service["volumes"]} <= COMPOSE["volumes"].keys()
        assert {path for path in map(str, service["environment"].values()) if path.startswith("/run/secrets/")} == {
            f"/run/secrets/{one}" for one in service["secrets"]
        }
    # Nothing of it is reached from afar without a proxy.
    assert all(port.startswith("127.0.0.1:") for service in COMPOSE["services"].values() for port in service.get("ports", ()))
    assert re.search(r"^USER 10001$", FILE, re.MULTILINE)
