"""One supervised process: how it starts, what it says, how it is found again and how it ends.

Hides sessions and process groups, the lock that outlives a supervisor, and the pumping of output. A child is started
from the main thread only: the kernel ties its life to the thread that made it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from marketplace.host import process
from marketplace.host.places import HostProblem, Places, say_os_error

LOG_BYTES = 5 * 1024 * 1024  # a log is set aside as .1 when it has grown beyond this
SURVIVOR_SECONDS = 8.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Child:
    """What to run. `wrap` stands before the launcher (a change of user), `stop` asks the program to end and `orphaned`
    is what it gets when the supervisor is gone. A `quiet` child writes to its log only."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    wrap: Sequence[str] = ()
    stop: signal.Signals = signal.SIGTERM
    orphaned: signal.Signals = signal.SIGKILL
    quiet: bool = False
    before: Callable[[], None] | None = None
    cwd: Path | None = None


class Running:
    """A started child."""

    def __init__(self, child: Child, places: Places, say: Say) -> None:
        """Start it. Raises HostProblem when the program cannot be executed."""
        self.child = child
        self.started = time.monotonic()
        if child.before is not None:
            child.before()
        lock = places.run / f"{child.name}.pid"
        launcher = [sys.executable, "-I", "-S", "-B", process.__file__]
        command = [
            *child.wrap,
            *launcher,
            str(lock),
            str(int(child.orphaned)),
            str(os.getpid()),
            *child.command,
        ]
        log_path = places.log / f"{child.name}.log"
        try:
            log = open_log(log_path)
            self.popen = subprocess.Popen(
                command,
                env={**os.environ, "VITRINE_DATA": str(places.root), **child.env},
                cwd=child.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log if child.quiet else subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise say_os_error(error, Path(error.filename or log_path)) from None
        self.pump: threading.Thread | None = None
        if child.quiet:
            log.close()
        else:
            self.pump = threading.Thread(
                target=_pump, args=(self.popen.stdout, log, log_path, child.name, say), daemon=True
            )
            self.pump.start()

    @property
    def pid(self) -> int:
        return self.popen.pid

    def ended(self) -> int | None:
        """The exit status when it has ended (negative: the signal); what it left running in its group ends too."""
        if self.popen.returncode is None:
            if hasattr(os, "waitid") and _has_exited(self.pid):
                self.signal(signal.SIGKILL)  # while its id is still reserved for it
            if self.popen.poll() is not None and self.pump is not None:
                self.pump.join(timeout=1)
        return self.popen.returncode

    def signal(self, sign: signal.Signals) -> None:
        """Send `sign` to its whole group. One that has ended is passed over."""
        if self.popen.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, sign)

    def ask_to_stop(self) -> None:
        """Send the signal that asks it to end: to it alone, because it tells its own children."""
        if self.popen.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, self.child.stop)


def stop_all(running: Sequence[Running], *, grace_seconds: float) -> None:
    """Ask all to end, wait, and end by force what is still there after `grace_seconds`."""
    for one in running:
        one.ask_to_stop()
    deadline = time.monotonic() + grace_seconds
    while time.monotonic() < deadline and any(one.ended() is None for one in running):
        time.sleep(0.02)
    for one in running:
        one.signal(signal.SIGKILL)
    for one in running:
        while one.ended() is None:
            time.sleep(0.01)


def end_survivors(places: Places, say: Say) -> None:
    """End what an earlier supervisor of this folder left behind. Call it with the folder's lock held.

    Raises HostProblem when one cannot be ended.
    """
    held = [path for path in sorted(places.run.glob("*.pid")) if is_held(path)]
    for path in held:
        pid = _owner(path)
        if pid is not None:
            say(f"an earlier {path.stem} (process {pid}) is still there: ending it")
        # SIGTERM would let PostgreSQL wait for its clients.
        _signal_owner(path, signal.SIGINT if path.stem == "postgres" else signal.SIGTERM)
    deadline = time.monotonic() + SURVIVOR_SECONDS
    for path in held:
        _wait_until_free(path, until=deadline - SURVIVOR_SECONDS / 2)
        _signal_owner(path, signal.SIGKILL)
    for path in held:
        _wait_until_free(path, until=deadline)
        if is_held(path):
            raise HostProblem(
                f"an earlier {path.stem} does not end: end it by hand, its process id is in {path}"
            )


def open_log(path: Path) -> IO[bytes]:
    """Open a log for appending; one that has grown too long is set aside first."""
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))
    return open(path, "ab", buffering=0, opener=lambda name, flags: os.open(name, flags, 0o600))


def _pump(source: IO[bytes], log: IO[bytes], path: Path, name: str, say: Say) -> None:
    """Copy lines to the log and, with the child's name before them, to the console. A full disk loses lines only."""
    written = path.stat().st_size
    for line in source:
        say(f"{name:<8}| {line.decode('utf-8', 'replace').rstrip()}")
        with contextlib.suppress(OSError):
            written += log.write(line) or 0
            if written > LOG_BYTES:
                log.close()
                log, written = open_log(path), 0


def _has_exited(pid: int) -> bool:
    """Whether our child has exited, without taking its status: until that is taken its id cannot be given away."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def is_held(path: Path) -> bool:
    """Whether a living process holds the lock that `process._become` took."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def _owner(path: Path) -> int | None:
    """The group that a held lock names, unless its id went to another process since."""
    if not is_held(path):
        return None
    pid, _, started = path.read_text(encoding="ascii").strip().partition(" ")
    if not pid.isdigit() or process.started_at(int(pid)) not in {started, ""}:
        return None
    return int(pid)


def _signal_owner(path: Path, sign: signal.Signals) -> None:
    pid = _owner(path)
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, sign)


def _wait_until_free(path: Path, *, until: float) -> None:
    while time.monotonic() < until and is_held(path):
        time.sleep(0.02)
