"""What a test leaves open fails the run, whichever test finds it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent
LEFT = "def test_left(tmp_path):\n    (tmp_path / 'a').open('w')"
CIRCLE = """
class Holder: pass

def test_guilty(tmp_path):
    holder = Holder()
    holder.itself, holder.file = holder, (tmp_path / "a").open("w")

def test_innocent():
    import gc
    gc.collect()
"""


@pytest.mark.parametrize(
    ("source", "ends", "more"),
    [
        (LEFT, 1, ()),
        (LEFT, 1, ("-n", "1")),
        ("import socket\ndef test_left():\n    socket.socket()", 1, ()),
        (CIRCLE, 1, ()),
        ("def test_closed(tmp_path):\n    (tmp_path / 'a').open('w').close()", 0, ()),
        ("import warnings\ndef test_other():\n    warnings.warn('unclosed mind', ResourceWarning)", 0, ()),
    ],
    ids=["file", "file in another process", "socket", "found by another", "closed", "another warning"],
)
def test_what_is_left_open_fails_the_run(tmp_path, source, ends, more):
    (tmp_path / "test_some.py").write_text(source)
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = default\n")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "tests.leftovers",
        "-c",
        str(tmp_path / "pytest.ini"),
    ]
    done = subprocess.run(
        [*command, *more, str(tmp_path)], cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == ends, done.stdout
    assert " failed" not in done.stdout
    assert ("left open" in done.stdout) is bool(ends)
