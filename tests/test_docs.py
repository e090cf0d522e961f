"""What the README says is so: its commands and addresses exist, its words are the code's, every setting is described.

Error codes are told on `/docs`: tests/pages/test_docs.py looks for every one.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.urls import get_resolver

from playground.api.codes import FAILURES
from playground.console import metrics

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
SETTINGS = (ROOT / "marketplace" / "settings.py").read_text()
GLOSSARY = [
    "Workspace",
    "Membership",
    "Invitation",
    "ApiKey",
    "Publisher",
    "Listing",
    "Version",
    "Endpoint",
    "Price",
    "Offer",
    "Prediction",
    "Asset",
    "Refund",
    "Invoice",
]


def test_every_make_target_named_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z]+)", README, re.MULTILINE))
    assert {"run", "test", "check", "bench", "eval"} <= named
    assert named <= targets


def test_every_management_command_named_exists() -> None:
    commands = {path.stem for path in ROOT.glob("*/management/commands/*.py") if path.stem != "__init__"}
    named = set(re.findall(r"manage\.py ([a-z_]+)", README))
    assert named
    assert named <= commands
    assert commands - named == set()


def test_every_setting_is_described() -> None:
    read = set(re.findall(r"env(?:_int|_bool)?\(\s*\"([A-Z_]+)\"", SETTINGS))
    table = SETTINGS.split('"""')[1]
    assert read
    assert {name for name in read if not re.search(rf"\b{name}\b", table)} == set()


def test_every_address_named_exists() -> None:
    known = {f"/{pattern.pattern}" for pattern in get_resolver().url_patterns}
    named = set(re.findall(r"`(?:GET |POST )?(/[^`<]*)`", README))
    assert {"/docs", "/llms.txt", "/healthz", "/-/components"} <= named
    assert {one for one in named if one not in known and f"/api/v1{one}" not in known} <= {"/accounts/…", "/"}


def test_every_failure_of_a_prediction_is_described() -> None:
    """A code that runs fail with and that the table of the documentation does not have fails here."""
    rooms = (ROOT / "playground" / "predictions", ROOT / "playground" / "console", ROOT / "workers")
    sources = [path.read_text() for room in rooms for path in room.rglob("*.py")]
    used = {code for text in sources for code in re.findall(r"\bcode=\"([a-z_]+)\"", text)}
    assert {"worker_lost", "not_stored", "bad_weights"} <= used
    assert used <= set(FAILURES)
    codes = re.search(
        r"^Code = Literal\[(.+)\]$", (ROOT / "workers/engine/contract.py").read_text(), re.MULTILINE
    )
    assert codes is not None
    assert set(re.findall(r"\"([a-z_]+)\"", codes[1])) <= set(FAILURES)


@pytest.mark.django_db
def test_every_figure_is_described() -> None:
    assert {name for name in metrics.names() if f"`{name}`" not in README} == set()


@pytest.mark.parametrize("word", GLOSSARY)
def test_the_glossary_is_the_code(word: str) -> None:
    assert f"**{word}**" in README
    assert any(
        re.search(rf"^class {word}\(", path.read_text(), re.MULTILINE) for path in ROOT.glob("*/models/*.py")
    )


def test_pictures_and_files_named_exist() -> None:
    for path in re.findall(r"\]\(((?!http)[^)#]+)\)", README):
        assert (ROOT / path).exists(), path
