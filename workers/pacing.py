"""What an engine takes next, and whether it waits a moment first: for what is warm, and for company in a batch.

Hides the weighing of seconds: what loading weights costs, what a batch costs whatever its size, who just had a result
and so is likely to come again. It never makes one wait who is alone.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta

from playground import live
from playground.predictions import work
from playground.predictions.claims import Warmth
from workers.engine import Outcome
from workers.session import Session

log = logging.getLogger(__name__)

CLAIM_LIMIT = 16
IN_TURN = (
    8  # every so many-th claim goes to whoever is next whatever the priorities, so that none of them starves
)
LEAST_HEAD_START_S = 2.0  # by which what is loaded goes first where everything fits
MOST_HEAD_START_S = 30.0
TURN = 4  # times what a change of models costs: for so long a turn of one of them lasts while others wait
MOST_PATIENCE_S = 10.0  # for which what is loaded elsewhere on the lane is left to that engine
MOST_PAUSE_S = 0.25
PRESENCE_S = 1.0  # for which a look at the other engines counts
_KEYS = 64

Heard = Callable[[float], bool]
"""Waits until a moment of the monotonic clock for a hint, and says whether one came."""


@dataclass(slots=True)
class _Times:
    """Batches of one kind: seconds by size in pictures, how many jobs the last was for, how often nobody came who was
    waited for."""

    by_size: dict[int, float] = field(default_factory=dict)
    last: int = 1
    vain: int = 0

    def fixed_s(self) -> float:
        """What a batch takes whatever its size, and two that are made one save: 0.0 until two sizes were seen."""
        small, large = min(self.by_size), max(self.by_size)
        if small == large:
            return 0.0
        slope = (self.by_size[large] - self.by_size[small]) / (large - small)
        return max(0.0, self.by_size[small] - max(slope, 0.0) * small)


class Pace:
    """How one engine takes the work of one lane."""

    def __init__(self, lane: str) -> None:
        self._lane = lane
        self._claims = 0
        self._times: OrderedDict[str, _Times] = OrderedDict()
        self._last_version = ""
        self._seen_at = float("-inf")
        self._elsewhere: set[str] = set()

    def claim(self, me: Session, heard: Heard | None) -> list[work.Job]:
        """The next batch, or nothing. `heard` waits for a hint; without it nothing is waited for."""
        loaded = {resident.id for resident in me.engine.loaded()}
        swap_s = me.engine.swap_s
        jobs: list[work.Job] = []
        if heard is not None and swap_s > 0 and self._last_version in loaded:
            # Who just had a result of what is loaded asks again in a moment; to change models for that moment is dear
            # (anticipatory scheduling: S. Iyer and P. Druschel, SOSP 2001).
            until = time.monotonic() + min(MOST_PAUSE_S, swap_s / 10)
            jobs = self._take(me, loaded, swap_s, steady=True)
            while not jobs and heard(until):
                jobs = self._take(me, loaded, swap_s, steady=True)
        jobs = jobs or self._take(me, loaded, swap_s)
        if jobs:
            self._last_version = jobs[0]["version"]
            if heard is not None:
                jobs = [*jobs, *self._company(me, jobs, heard)]
        return jobs

    def ran(self, kind: str, outcomes: Iterable[Outcome]) -> None:
        """Learns from jobs of one `kind`, their batch key, by what their batches took that ran to their end.

        What failed, was cancelled or handed back says nothing of how long one takes, nor of who comes again.
        """
        # Each batch says the same of itself to all of its jobs.
        batches = Counter((told.batch, told.total_s) for one in outcomes if (told := one.metrics))
        if not kind or not batches:
            return
        times = self._times.setdefault(kind, _Times())
        self._times.move_to_end(kind)
        if len(self._times) > _KEYS:
            self._times.popitem(last=False)
        for size, seconds in batches:
            before = times.by_size.get(size)
            times.by_size[size] = seconds if before is None else 0.7 * before + 0.3 * seconds
        times.last = max(batches.values())

    def _take(self, me: Session, loaded: set[str], swap_s: float, *, steady: bool = False) -> list[work.Job]:
        head_start_s = min(max(LEAST_HEAD_START_S, TURN * swap_s), MOST_HEAD_START_S)
        jobs = work.claim(
            worker=me.worker,
            lane=self._lane,
            limit=CLAIM_LIMIT,
            worker_lock=me.lock,
            warmth=Warmth(
                loaded=sorted(loaded),
                head_start=timedelta(seconds=head_start_s),
                elsewhere=self._others(me, loaded),
                steady=steady,
                left=me.unfit.left(self._lane),
            ),
            in_turn=self._claims % IN_TURN == IN_TURN - 1,
        )
        self._claims += bool(jobs)
        return jobs

    def _others(self, me: Session, loaded: set[str]) -> dict[str, float]:
        """Seconds for which each version that only other engines of the lane have loaded is left to them.

        As long as loading it here would take: then the wait is at most doubled, whatever happens.
        """
        now = time.monotonic()
        if now - self._seen_at > PRESENCE_S:
            self._seen_at = now
            others = [
                one for one in live.engines(self._lane) if one["worker"] != me.worker and not one["draining"]
            ]
            self._elsewhere = {version for one in others for version in one["loaded"]}
        known = me.engine.load_times_s()
        return {
            version: min(known.get(version, MOST_PATIENCE_S), MOST_PATIENCE_S)
            for version in self._elsewhere - loaded
        }

    def _company(self, me: Session, jobs: list[work.Job], heard: Heard) -> list[work.Job]:
        """Those who come for the batch of `jobs` in a moment, where the batch before had more and it pays to wait."""
        times = self._times.get(jobs[0]["batch_key"])
        expected = min(times.last, jobs[0]["max_batch"]) if times else 0
        if times is None or len(jobs) >= expected:
            return []
        until = time.monotonic() + min(MOST_PAUSE_S, times.fixed_s() / 2**times.vain)
        more: list[work.Job] = []
        while len(jobs) + len(more) < expected and heard(until):
            room = jobs[0]["max_batch"] - sum(_pictures(job) for job in [*jobs, *more])
            if room < 1:
                break
            try:
                more += work.join(
                    beside=jobs[0]["id"], worker=me.worker, lane=self._lane, room=room, worker_lock=me.lock
                )
            except Exception:  # those who are here already do not wait for their leases to end because of it
                log.exception("no company for the batch of %s", jobs[0]["id"])
                break
        times.vain = max(0, times.vain - 1) if more else min(times.vain + 1, 6)
        return more


def _pictures(job: work.Job) -> int:
    count = job["input"].get("num_images", 1)
    return count if isinstance(count, int) else 1
