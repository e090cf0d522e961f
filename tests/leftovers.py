"""Files and sockets that nobody closed fail the run, and not the test that is at work when they are found.

Python tells of one while it throws it away: at once if nothing points to it any more, but where things point to each
other at some later moment, in the frame of whoever is at work then. An error raised there would hit the innocent.
"""

from __future__ import annotations

import re
import warnings

import pytest

OPEN = re.compile(r"unclosed (file|<?socket)")
_found: list[str] = []


def pytest_warning_recorded(warning_message: warnings.WarningMessage, nodeid: str) -> None:
    if issubclass(warning_message.category, ResourceWarning) and OPEN.search(str(warning_message.message)):
        _found.append(f"{warning_message.message}, found during {nodeid or 'no test'}")


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if _found and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _found:
        terminalreporter.section("left open")
        for line in _found:
            terminalreporter.line(line)
        terminalreporter.line("PYTHONTRACEMALLOC=20 says where each was opened.")
