"""Keeps a set of processes alive, and ends them in order.

Hides restarts with backoff, signals, the deadline of a stop and the lock by which one folder has one supervisor.
Everything here happens in the main thread: the kernel ties each child's life to it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import FrameType

from marketplace.host.child import Child, Running, Say, stop_all
from marketplace.host.places import HostProblem, Places, say_os_error

FIRST_BACKOFF_SECONDS = 0.5
LAST_BACKOFF_SECONDS = 30.0
HEALTHY_SECONDS = 60.0  # a child that lived so long starts again without having been punished
WORKERS_GRACE_SECONDS = 7.0  # together with the servers' below the ten seconds in which everything ends
SERVERS_GRACE_SECONDS = 2.0
TICK_SECONDS = 0.05
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(Exception):
    """A signal asked for the end while something was waited for."""


@contextlib.contextmanager
def sole(places: Places) -> Iterator[None]:
    """Hold the folder for this process. Raises HostProblem when another one holds it. Ends with the process."""
    try:
        handle = os.open(places.lock, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise say_os_error(error, places.lock) from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.read(handle, 20).decode("ascii", "replace").strip()
            raise HostProblem(
                f"{places.root} is in use by another run (process {pid or 'unknown'}): "
                "stop that one, or set VITRINE_DATA to another folder"
            ) from None
        os.ftruncate(handle, 0)
        os.write(handle, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(handle)


@dataclass
class _Slot:
    """A child's place: what runs in it now, and when it may be started again."""

    child: Child
    floor: int
    running: Running | None = None
    failures: int = 0
    retry_at: float = 0.0


@dataclass
class Supervisor:
    """Starts children floor by floor, starts again what dies, and stops them from the top floor down.

    Use it as a context manager: signals are taken over inside, and leaving it stops everything within ten seconds.
    """

    places: Places
    say: Say
    is_stopping: bool = False
    _slots: list[_Slot] = field(default_factory=list)
    _signalled_at: float = 0.0
    _handlers: dict[signal.Signals, object] = field(default_factory=dict)

    def __enter__(self) -> Supervisor:
        for sign in STOP_SIGNALS:
            self._handlers[sign] = signal.signal(sign, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.stop()
        finally:
            for sign, handler in self._handlers.items():
                signal.signal(sign, handler)  # type: ignore[arg-type]

    def start(self, children: Sequence[Child], *, floor: int) -> list[Running]:
        """Start `children` on `floor`; 0 is the ground that the others stand on. Raises HostProblem."""
        started = []
        for child in children:
            slot = _Slot(child=child, floor=floor)
            self._slots.append(slot)
            slot.running = Running(child, self.places, self.say)
            started.append(slot.running)
        return started

    def run_once(self, child: Child) -> int:
        """Run `child` to its end while the others are tended; its exit status. Raises Stopped at a signal."""
        running = Running(child, self.places, self.say)
        try:
            self.wait(lambda: running.ended() is not None)
        finally:
            stop_all([running], grace_seconds=SERVERS_GRACE_SECONDS)
        return running.popen.returncode

    def tend(self) -> None:
        """Look at every child once: notice the dead, start again those whose time has come."""
        now = time.monotonic()
        for slot in self._slots:
            if slot.running is not None and (status := slot.running.ended()) is not None:
                if now - slot.running.started >= HEALTHY_SECONDS:
                    slot.failures = 0
                delay = min(LAST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2**slot.failures)
                slot.failures += 1
                slot.retry_at = now + delay
                slot.running = None
                self.say(f"{slot.child.name} {describe_exit(status)}; starting it again in {delay:g} s")
            if slot.running is None and now >= slot.retry_at:
                try:
                    slot.running = Running(slot.child, self.places, self.say)
                except HostProblem as problem:
                    slot.retry_at = now + LAST_BACKOFF_SECONDS
                    self.say(f"{slot.child.name} cannot start: {problem}")

    def wait(self, until: Callable[[], bool] = lambda: False, *, seconds: float = float("inf")) -> bool:
        """Tend until `until` is true (True) or `seconds` are over (False). Raises Stopped at a signal."""
        deadline = time.monotonic() + seconds
        while True:
            if self.is_stopping:
                raise Stopped
            self.tend()
            if until():
                return True
            if time.monotonic() >= deadline:
                return False
            time.sleep(TICK_SECONDS)

    def stop(self) -> None:
        """End everything, the top floor first; what does not end in its time is killed with all its children."""
        self.is_stopping = True
        for floor in sorted({slot.floor for slot in self._slots}, reverse=True):
            grace = SERVERS_GRACE_SECONDS if floor == 0 else WORKERS_GRACE_SECONDS
            on_it = [slot.running for slot in self._slots if slot.floor == floor and slot.running is not None]
            stop_all(on_it, grace_seconds=grace)
        self._slots.clear()

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        now = time.monotonic()
        # make passes SIGTERM on, so one request may arrive twice; a person's second one means now.
        if self.is_stopping and now - self._signalled_at > 1.0:
            for slot in self._slots:
                if slot.floor > 0 and slot.running is not None:
                    slot.running.signal(signal.SIGKILL)
        if not self.is_stopping:
            self._signalled_at = now
        self.is_stopping = True


def describe_exit(status: int) -> str:
    """How a process ended, in words."""
    if status >= 0:
        return f"ended with status {status}"
    with contextlib.suppress(ValueError):
        return f"was ended by {signal.Signals(-status).name}"
    return f"was ended by signal {-status}"
