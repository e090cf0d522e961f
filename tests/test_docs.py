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
from playground.docs import clients, moving, tried

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


HANDED = {"vt_", "var"}  # of settings: how a key begins, and the folder of `make run`


def proved(test: str) -> Path:
    """The file of a test that is named as a proof, which has to be there."""
    name, _, function = test.partition("::")
    path = ROOT / "tests" / name
    assert re.search(rf"^def {function}\(", path.read_text(), re.MULTILINE), test
    return path


@pytest.mark.parametrize("way", clients.ways(), ids=lambda way: way.id)
def test_settings_of_clients_are_those_that_tests_use(way: clients.Way) -> None:
    """Every word and every address of them stands in the programs or in their tests; and the README has them."""
    files = [ROOT / "tests" / "clients" / name for name in way.programs]
    files += [proved(f"clients/{test}") for test in way.proofs]
    used = "\n".join(path.read_text() for path in files)
    code = re.sub(r"(//|#) [^=\n]*$", "", way.code, flags=re.MULTILINE).replace(clients.LOCAL, "")
    words = set(re.findall(r"[A-Za-z_][A-Za-z_0-9]+", code)) - HANDED
    assert words
    assert {one for one in words if one not in used} == set()
    for line in way.code.splitlines():
        assert line in README, line
    for test in way.proofs:
        assert test.rpartition("/")[2].partition("::")[0] in README, test
        assert f"`{test.partition('::')[2]}`" in README, test


@pytest.mark.parametrize("one", tried.tried(), ids=lambda one: f"{one.house}: {one.library}")
def test_libraries_that_were_tried_are_in_the_readme(one: tried.Tried) -> None:
    assert f"| {one.library} | `{one.code}` | {one.runs} |" in README
    assert one.house in clients.HOUSES


def test_what_is_said_to_who_moves_here_has_a_test() -> None:
    for one in moving.every():
        assert one.proofs, one.here
        for test in one.proofs:
            proved(test)


def test_an_installation_with_https_needs_no_authority_of_its_own() -> None:
    found = {way.id: way.code for way in clients.ways("https://media.example/")}
    assert all("127.0.0.1:8443" not in code and "localhost" not in code for code in found.values())
    assert [name for name, code in found.items() if "SSL_CERT_FILE" in code] == [
        "way-fal-client-python-the-connect-port"
    ]
    assert "FAL_RUN_HOST=media.example/fal/run\n" in found["way-fal-client-python-two-host-names"]
    assert '"wss://media.example/fal/run"' in found["way-fal-ai-client-javascript-proxyurl"]


def test_ways_have_the_ports_that_there_are_and_say_which_is_missing() -> None:
    there = clients.ways(tls_port=9443, connect_port=9444)
    codes = "\n".join(way.code for way in there)
    assert not any(way.lacks for way in there)
    assert ("8443" in codes, "8444" in codes) == (False, False)
    assert "HTTPS_PROXY=http://127.0.0.1:9444" in codes
    assert "https://localhost:9443/v1" in codes

    def lacking(base: str = clients.LOCAL, **ports: int) -> list[str]:
        return [f"{way.house} {way.lacks}" for way in clients.ways(base, **ports) if way.lacks]

    assert lacking(connect_port=0) == ["fal CONNECT_PORT"] * 2
    assert lacking(tls_port=0) == ["replicate TLS_PORT", *["fal TLS_PORT"] * 3]
    assert lacking("https://media.example", tls_port=0, connect_port=0) == ["fal TLS_PORT"] * 2
