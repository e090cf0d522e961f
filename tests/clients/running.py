"""Programs that use another house's unmodified client, run the way its users run theirs: in a process of their own.

A program gets its settings by the environment, as its client documents them, and prints one JSON value as its last
line, which is what `python` and `javascript` give back. The clients were put there by `make clients`; nothing of our
own packages can be imported by a program in Python, and no proxy of the machine is used.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pytest

CLIENTS = Path(__file__).resolve().parent.parent.parent / ".venv" / "clients"
SECONDS = 240
OLDEST_NODE = 22  # what openai asks for


def python(
    program: Path,
    settings: Mapping[str, str],
    *arguments: str | Path,
    clients: str = "python",
    seconds: float = SECONDS,
) -> Any:
    """The JSON that `program` prints last; a program that fails fails the test with all that it said.

    `clients` is the folder it imports from: `python` (fal_client, huggingface_hub, openai, replicate 2) or
    `replicate-1`. `settings` are environment variables, `arguments` its `sys.argv[1:]`.
    """
    if clients == "replicate-1" and sys.version_info >= (3, 14):
        pytest.skip(
            "replicate 1 cannot be imported by this Python: it is written for pydantic's first generation"
        )
    folder = _installed(clients)
    # -S: no packages but the client's; -P: a program's neighbours are no modules.
    command = [sys.executable, "-S", "-P", str(program), *map(str, arguments)]
    return _answer(command, {"PYTHONPATH": str(folder), **settings}, seconds=seconds)


def javascript(
    program: Path, settings: Mapping[str, str], *arguments: str | Path, seconds: float = SECONDS
) -> Any:
    """As `python`, for a module that imports `@fal-ai/client`, `@huggingface/inference`, `openai`, `replicate`, `ws`.

    `arguments` are its `process.argv.slice(2)`.
    """
    folder = _installed("node")
    # A module that comes by standard input imports what lies in the folder that node is started in.
    command = [_node(folder), "--input-type=module", "-", *map(str, arguments)]
    return _answer(command, settings, seconds=seconds, folder=folder, source=program.read_text())


def node_version() -> tuple[int, ...]:
    """Of the Node that runs the programs in JavaScript: `(22, 23)`."""
    return _version(_node(_installed("node")))


def _installed(name: str) -> Path:
    folder = CLIENTS / name
    if not (folder / ".lock").exists():
        _missing(f"the clients in {folder} are not installed: make clients")
    return folder


@functools.cache
def _node(folder: Path) -> str:
    """The Node that was installed beside the clients; on a machine that it is not made for, the one on PATH."""
    beside = next(folder.glob("node_modules/node-*/bin/node"), None)
    node = str(beside) if beside is not None else shutil.which("node")
    if node is None:
        _missing("node is not on PATH")
    version = _version(node)
    if version[0] < OLDEST_NODE:
        _missing(f"node is {version[0]}: the clients in JavaScript need {OLDEST_NODE} or newer")
    return node


@functools.cache
def _version(node: str) -> tuple[int, ...]:
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    return tuple(int(part) for part in said.strip().removeprefix("v").split(".")[:2])


def _missing(what: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


def _answer(
    command: Sequence[str],
    settings: Mapping[str, str],
    *,
    seconds: float,
    folder: Path | None = None,
    source: str | None = None,
) -> Any:
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy") and not name.startswith(("PYTHON", "NODE_"))
    }
    done = subprocess.run(
        command,
        env={**inherited, "NO_COLOR": "1", **settings},
        cwd=folder,
        input=source,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    said = f"{done.stdout}\n{done.stderr}".strip()
    assert done.returncode == 0, f"the program ended with {done.returncode}:\n{said[-6000:]}"
    lines = done.stdout.strip().splitlines()
    assert lines, f"the program printed nothing:\n{said[-6000:]}"
    return json.loads(lines[-1])
