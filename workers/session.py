"""A worker's identity while it lives: its advisory lock, its heartbeat, what it says of itself, and the wish to drain.

The lock is held on a database connection of its own, so that the death of the process is seen within a second; a
process that freezes keeps the connection but not its lease.
"""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import mmap
import os
import secrets
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from uuid import UUID

import psycopg
from django.conf import settings
from django.db import OperationalError, close_old_connections, connections

from marketplace import dispatch
from playground import live
from playground.predictions import work
from playground.predictions.sweep import WORKER_LOCK_CLASS
from workers.engine import Engine, families
from workers.unfit import Unfit

log = logging.getLogger(__name__)

BEAT_SECONDS = 1.0
RENEW_SECONDS = 4.0
HANG_GRACE_SECONDS = (
    10  # beyond an endpoint's limit; then the process ends itself, as nothing else can stop torch
)
LOCKED_GRACE_SECONDS = 5  # beyond that, where not even the thread that watches gets its turn
LOCKED_SECONDS = 120.0  # for which code may hold Python's own lock: no library takes so long to load
KEEP_SECONDS = 600  # in which made results are stored; a disk that hangs longer ends the process
STORE_SECONDS = 30.0  # for which a process that hangs is left to store what it made before
LAST_WORDS_SECONDS = 10.0  # in which a process that hangs says so before it ends
EXIT_HUNG = 70
# A server that vanishes without a word is noticed by the lock's connection within seconds, not within hours.
LOCK_CONNECTION: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}

# When the process was asked to stop, by the clock that parent and child share; 0.0 is never. Set by the parent's
# signal handler, read by the child.
_drain_wish = mmap.mmap(-1, 8)
_resting = threading.Event()
_queues: list[str] = []


def note_queues(queues: object) -> None:
    """Remember which queues this process was started for, before it forks."""
    names = (
        queues.split(",") if isinstance(queues, str) else list(queues) if isinstance(queues, Iterable) else []
    )
    _queues[:] = [str(name) for name in names]


def is_control() -> bool:
    return "control" in _queues


def lanes_of_process() -> list[str]:
    return [name.removeprefix("lane.") for name in _queues if name.startswith("lane.")]


def ask_to_drain() -> None:
    if not is_draining():
        _drain_wish[:] = struct.pack("d", time.monotonic())


def is_draining() -> bool:
    """Whether the process shall stop: it takes nothing new, and hands back what does not end in time."""
    return bool(struct.unpack("d", _drain_wish[:])[0])


def drain_left_s() -> float:
    """Seconds in which what runs may still finish once the process shall stop."""
    asked_at = float(struct.unpack("d", _drain_wish[:])[0])
    return max(0.0, asked_at + float(settings.ENGINE_DRAIN_SECONDS) - time.monotonic())


def is_resting() -> bool:
    """Whether the operator asked this engine to take nothing new; what runs finishes."""
    return _resting.is_set()


def note_rest(shall_rest: bool, *, lanes: Iterable[str]) -> None:  # noqa: FBT001 - what `live.shall_rest` says
    """Rest, or work again: then at once, as who came meanwhile has been hinted at already."""
    if shall_rest:
        _resting.set()
    elif is_resting():
        _resting.clear()
        for lane in lanes:
            dispatch.wake_now(lane)


class Session:
    """One engine process at work. `at_work` marks what it is doing; threads beat for it meanwhile.

    The watch over what hangs, lock, leases and presence have a thread each: that Redis or the database does not answer
    one of them must not cost what the others keep.
    """

    def __init__(self, lanes: list[str]) -> None:
        self.worker = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self.lanes = lanes
        self.unfit = Unfit(self.worker)
        if settings.ENGINE_FAMILIES is not None:
            families.add_folder(settings.ENGINE_FAMILIES)
        self.engine = Engine(
            threads=settings.ENGINE_THREADS,
            memory_budget_bytes=settings.ENGINE_MEMORY_MB * 2**20 or None,
            parking_bytes=settings.ENGINE_PARKING_MB * 2**20,
            weights_folder=settings.WEIGHTS_DIR,
            cores_folder=settings.CORES_DIR,
        )
        self.lock = 0
        self._jobs: dict[str, int] = {}
        self._kept: dict[str, int] = {}
        self._kept_until = float("inf")
        self._lost: set[str] = set()
        self._ends_at = float("inf")
        self._hung_at: float | None = None
        self._busy_since: float | None = None
        self._since = time.time()
        self._guard = threading.Lock()
        self._take_lock()
        _wind_up(LOCKED_SECONDS)
        for beat, seconds in (
            (self._watch, BEAT_SECONDS),
            (self._keep_lock, BEAT_SECONDS),
            (self._renew, RENEW_SECONDS),
            (self.report, BEAT_SECONDS),
        ):
            threading.Thread(target=_keep_doing, args=(beat, seconds), name="heartbeat", daemon=True).start()

    @contextlib.contextmanager
    def at_work(self, fences: Mapping[str, int], max_seconds: int) -> Iterator[None]:
        """While inside, the leases of these jobs are renewed and a hang ends the process."""
        with self._guard:
            self._jobs, self._lost = dict(fences), set()
            self._busy_since = time.time()
            self._ends_at = time.monotonic() + max_seconds + HANG_GRACE_SECONDS
        _wind_up(max_seconds + HANG_GRACE_SECONDS + LOCKED_GRACE_SECONDS)
        try:
            yield
        finally:
            with self._guard:
                self._jobs, self._ends_at, self._busy_since = {}, float("inf"), None

    def keep(self, fences: Mapping[str, int]) -> None:
        """Renew the leases of these jobs until `let_go`: they are made, and are being stored.

        Storing that hangs ends the process.
        """
        with self._guard:
            self._kept |= fences
            self._kept_until = time.monotonic() + KEEP_SECONDS

    def let_go(self, fences: Mapping[str, int]) -> None:
        """The end of `keep`."""
        with self._guard:
            self._kept = {one: fence for one, fence in self._kept.items() if fences.get(one) != fence}
            if not self._kept:
                self._kept_until = float("inf")

    def lost(self) -> set[str]:
        """The jobs that a renewal found lost."""
        with self._guard:
            return set(self._lost)

    def _take_lock(self) -> None:
        parameters = connections["default"].get_connection_params()
        wanted = ("host", "port", "user", "password", "dbname", "sslmode", "sslrootcert", "sslcert", "sslkey")
        connection = psycopg.connect(
            **LOCK_CONNECTION,
            **{name: parameters[name] for name in wanted if parameters.get(name)},
            autocommit=True,
            application_name=f"vitrine engine {self.worker}"[:63],
        )
        # The number it had, so that what runs now is kept over a restart of the server; another one where the server
        # has not noticed yet that the old connection ended.
        lock = self.lock or secrets.randbelow(2**31 - 1) + 1
        while connection.execute(
            "SELECT pg_try_advisory_lock(%s, %s)", [WORKER_LOCK_CLASS, lock]
        ).fetchone() != (True,):
            lock = secrets.randbelow(2**31 - 1) + 1
        self._connection, self.lock = connection, lock

    def _watch(self) -> None:
        """End a process that hangs, once what it made before is stored."""
        now = time.monotonic()
        if now > self._kept_until:
            log.error("a result hangs as it is stored; ending the process %s", os.getpid())
            os._exit(EXIT_HUNG)
        said = self.engine.pulse.hangs()
        if not said and now <= self._ends_at:
            self._hung_at = None
            _wind_up(min(self._ends_at, self._kept_until) - now + LOCKED_GRACE_SECONDS)
            return
        if self._hung_at is None:
            self._hung_at = now
        left_s = self._hung_at + STORE_SECONDS - now
        if self._kept and left_s > 0:
            _wind_up(left_s + LOCKED_GRACE_SECONDS)
        else:
            self._end_hung(said)

    def _keep_lock(self) -> None:
        """Take the lock again where its connection broke."""
        try:
            self._connection.execute("SELECT 1")
        except psycopg.OperationalError:
            log.warning("the lock's connection broke; taking the lock again")
            self._connection.close()
            self._take_lock()

    def _end_hung(self, said: str) -> None:
        """End the process, and say before it of what: its runs need not be missed first, and try elsewhere.

        Of a run that took longer than it may nothing is `said`, as it was closed for that.
        """
        log.error("%s Ending the process %s", said or "The engine hangs beyond its limit.", os.getpid())
        threading.Timer(LAST_WORDS_SECONDS, os._exit, [EXIT_HUNG]).start()  # where the database says nothing
        _wind_up(LAST_WORDS_SECONDS + LOCKED_GRACE_SECONDS)
        with self._guard:
            made = dict(self._kept)
            jobs = {one: fence for one, fence in self._jobs.items() if one not in made}
        if said:
            _fail(jobs, code="hung", message=f"{said} Its worker was ended for it, and nothing was charged.")
        message = "Its result could not be stored before its worker was ended. Nothing was charged."
        _fail(made, code="not_stored", message=message, killed=False)
        os._exit(EXIT_HUNG)

    def _renew(self) -> None:
        with self._guard:
            jobs = {**self._kept, **self._jobs}
        if jobs:
            lost = work.renew(fences=jobs)
            with self._guard:
                # What was claimed anew in the meantime is another attempt.
                self._lost |= {one for one in lost if self._jobs.get(one) == jobs[one]}

    def report(self) -> None:
        """Say to each lane what is loaded and what is being loaded; hear whether this engine shall rest, or try again
        what it could not open."""
        loading = self.engine.loading()
        residents = self.engine.loaded()
        used_bytes, budget_bytes = self.engine.memory()
        is_asked_to_try = self.unfit.heed()
        unfit = self.unfit.notes()
        for lane in self.lanes:
            live.report_engine(
                {
                    "worker": self.worker,
                    "lane": lane,
                    "loaded": [resident.id for resident in residents],
                    "loading": loading[0].id if loading else None,
                    "loading_expected_s": loading[0].expected_s if loading else None,
                    "loading_elapsed_s": loading[0].elapsed_s if loading else None,
                    "busy": bool(self._jobs),
                    "draining": is_draining() or is_resting(),
                    "stopping": is_draining(),
                    "since": self._since,
                    "busy_since": self._busy_since,
                    "sizes": {resident.id: resident.bytes for resident in residents},
                    "load_times_s": {resident.id: round(resident.load_s, 3) for resident in residents},
                    "used_bytes": used_bytes,
                    "budget_bytes": budget_bytes,
                    "loads": self.engine.residents.loads,
                    "evictions": self.engine.residents.evictions,
                    "unfit": list(unfit),
                    "unfit_notes": unfit,
                }
            )
        if is_asked_to_try:
            for lane in self.lanes:
                dispatch.wake_now(lane)
        note_rest(live.shall_rest(self.worker), lanes=self.lanes)


def _fail(fences: Mapping[str, int], *, code: str, message: str, killed: bool = True) -> None:
    """Say of each of these jobs why its attempt is over, with the log as viewers saw it last."""
    for one, fence in fences.items():
        try:
            seen = live.read(UUID(one))
            logs = seen["logs"] if seen is not None and seen["attempt"] == fence else ()
            work.fail(
                id=one, fence=fence, code=code, message=message, retryable=True, logs=logs, killed=killed
            )
        except Exception:
            log.exception("of %s nothing could be told; it comes back by the end of the process", one)


def _wind_up(seconds: float) -> None:
    """Winds up anew the clock that ends this process, and tells what hangs, when it has run down.

    It is a clock of C's: code that hangs with Python's own lock leaves no thread of ours a turn.
    """
    allowed_s = min(seconds, LOCKED_SECONDS)
    faulthandler.dump_traceback_later(allowed_s, exit=True, file=sys.__stderr__ or sys.stderr)


def _keep_doing(beat: Callable[[], None], seconds: float) -> None:
    while True:
        time.sleep(seconds)
        try:
            beat()
        except (psycopg.OperationalError, OperationalError) as error:
            log.warning("the database does not answer: %s", error)
        except Exception:
            log.exception("heartbeat of process %s: %s", os.getpid(), beat.__name__)
        finally:
            close_old_connections()


_session: Session | None = None


def start(*, lanes: list[str]) -> None:
    """Make this process's session; in a control process, which has no lanes, there is none."""
    global _session
    if lanes:
        _session = Session(lanes)
        _session.report()


def current(lane: str) -> Session:
    """The session of this process, made at first need where the process serves a lane without a fork."""
    global _session
    if _session is None:
        _session = Session([lane])
    return _session
