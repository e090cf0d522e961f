"""Each client can be imported, at the version that is locked, without any package of ours."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.clients import running

LOCKS = Path(__file__).resolve().parent.parent.parent / "requirements"

PYTHON = """
import importlib, importlib.metadata, json, sys
module, distribution = sys.argv[1:]
importlib.import_module(module)
try:
    import django
except ImportError:
    django = None
print("not the answer")
print(json.dumps([importlib.metadata.version(distribution), django is None]))
"""

JAVASCRIPT = """
import { fal } from "@fal-ai/client";
import { InferenceClient } from "@huggingface/inference";
import OpenAI from "openai";
import Replicate from "replicate";
import { WebSocket } from "ws";
const kinds = [fal.run, InferenceClient, OpenAI, Replicate, WebSocket].map((it) => typeof it);
const [major] = process.versions.node.split(".");
console.log(JSON.stringify([process.argv.slice(2), Number(major), ...kinds]));
"""


@pytest.mark.parametrize(
    ("clients", "module", "distribution"),
    [
        ("python", "fal_client", "fal-client"),
        ("python", "huggingface_hub", "huggingface-hub"),
        ("python", "openai", "openai"),
        ("python", "replicate", "replicate"),
        ("replicate-1", "replicate", "replicate"),
    ],
)
def test_the_clients_in_python(clients: str, module: str, distribution: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PYTHON)
    lock = LOCKS / ("clients.lock" if clients == "python" else f"clients-{clients}.lock")
    locked = re.search(rf"^{distribution}==(\S+)", lock.read_text(), re.MULTILINE)
    assert locked
    assert running.python(program, {}, module, distribution, clients=clients) == [locked[1], True]


def test_the_clients_in_javascript(tmp_path: Path) -> None:
    program = tmp_path / "program.mjs"
    program.write_text(JAVASCRIPT)
    given, node, *kinds = running.javascript(program, {}, "given")
    assert (given, kinds) == (["given"], ["function"] * 5)
    assert node >= running.OLDEST_NODE


def test_a_program_that_fails_says_why(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("raise SystemExit('of its own will')")
    with pytest.raises(AssertionError, match="of its own will"):
        running.python(program, {})
