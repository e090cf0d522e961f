"""The loop of an engine: claim, run, report, settle, until the lane is empty or the time is up."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import logging
import math
import os
import time
from collections.abc import Callable, Sequence
from typing import cast

import redis
from django.conf import settings
from django.db import DatabaseError, OperationalError, close_old_connections, connection

from marketplace import dispatch
from marketplace.models import Version
from playground import live
from playground.predictions import work
from workers import session
from workers.adapters import AdapterFiles
from workers.engine import EngineError, Job, Outcome, Recipe, StepReport
from workers.finishing import Finisher
from workers.pacing import Heard, Pace
from workers.telling import Telling

log = logging.getLogger(__name__)

DRAIN_SECONDS = 30.0  # then the task ends and sends itself again, so that a stop or an update finds a gap
LINGER_SECONDS = 2.0  # for which an engine with nothing to do listens before it ends its task
PASS_SECONDS = 0.1  # before a hint that an engine may not follow is given to the others again
STOP_SECONDS = 0.25  # between looks, while it listens, at whether the process shall stop
MAX_TRIES = 3  # of processes that end while they make a version ready
TRIES_SECONDS = 1800  # for which they are remembered
LOAD_SECONDS = 900  # for weights that nobody waits for yet; a load that hangs longer ends the process
FINISH_SECONDS = 1.0  # to decode and store a result, which no step tells the length of
LINE_CHARACTERS = 1000  # of one line of a log
LOG_LINES = 2000  # of a run's log, its last ones
BESIDE_SECONDS = 0.05  # that one alone is finished in, before the engine looks for others
AWAY_SECONDS = 20.0  # for which a finished result waits for a database that is being restarted


def drain_lane(lane: str) -> None:
    """Run what waits on `lane`, and for a moment after it what comes then, which so needs no task of its own.

    With nothing to do, have the lane's preferred model ready.
    """
    me = session.current(lane)
    dispatch.woken(lane)
    ends_at = time.monotonic() + DRAIN_SECONDS
    try:
        if len(me.lanes) == 1:  # with several, none may be kept waiting by the quiet of another
            with dispatch.listening(lane) as hint:

                def heard(until: float) -> bool:
                    return _hears(hint, min(ends_at, until))

                while _work_off(me, lane, ends_at, heard) and heard(time.monotonic() + LINGER_SECONDS):
                    pass
        if not _work_off(me, lane, ends_at):
            if _may_take():
                dispatch.send_wake(lane)
            else:
                _pass_on(me, lane)
    finally:
        _finisher.rest()
        Telling.rest()


def _pass_on(me: session.Session, lane: str) -> None:
    """The hint that came here is for whoever may take what it is about: engines that rest or stop do not keep it."""
    others = [one for one in live.engines(lane) if one["worker"] != me.worker and not one["draining"]]
    if others and work.is_waited_for(lane):
        time.sleep(PASS_SECONDS)  # in which the others hear of it first, or it comes back here
        dispatch.wake_now(lane)


def start_threads() -> None:
    """Starts the threads that tell and settle, with the priority of who calls."""
    _finisher.start()
    Telling.start()


def _may_take() -> bool:
    """Whether this engine takes anything new."""
    return not session.is_draining() and not session.is_resting()


def _hears(heard: Callable[[float], bool], until: float) -> bool:
    """Whether a hint comes in time; a process that shall stop does not wait for it."""
    while _may_take() and (left := until - time.monotonic()) > 0:
        if heard(min(left, STOP_SECONDS)):
            return True
    return False


def _work_off(me: session.Session, lane: str, ends_at: float, heard: Heard | None = None) -> bool:
    """Run until the lane is empty: True. False when it is time to stop before that."""
    while _may_take():
        if time.monotonic() > ends_at:
            return False
        pace = _paces.setdefault(lane, Pace(lane))
        jobs = pace.claim(me, heard)
        if jobs:
            pace.ran(jobs[0]["batch_key"], run_batch(me, jobs))
        elif not _preload(me, lane):
            return True
    return False


def run_batch(me: session.Session, claimed: Sequence[work.Job]) -> list[Outcome]:
    """Run claimed jobs, and settle each beside what the engine does next. Every one of them is answered for.

    Returns what became of them, in any order.
    """
    fences = {job["id"]: job["fence"] for job in claimed}
    logs: dict[str, list[str]] = {job["id"]: [] for job in claimed}
    shown: dict[str, str | None] = {}
    time_left = _TimeLeft()

    def on_step(reports: Sequence[StepReport]) -> Sequence[str]:
        left_s = time_left.of(reports)
        if session.is_draining() and left_s + FINISH_SECONDS > session.drain_left_s():
            me.engine.drain()  # better handed back now than lost when the process is ended
        return telling(reports)

    telling = Telling(lambda reports: _progress(me, fences, logs, shown, reports))
    with me.at_work(fences, max(job["max_seconds"] for job in claimed)):
        try:
            if any(job["fence"] > 1 for job in claimed):
                _finisher.wait()  # an engine may have been lost with it before: what is made now is stored first
            jobs, outcomes = _jobs(claimed)
            outcomes += me.engine.run(jobs, on_step)
        except Exception:
            log.exception("the engine broke on a batch of %s", len(claimed))
            error = EngineError("The engine broke on this run. Nothing was charged.", retryable=True)
            outcomes = [Outcome(job["id"], "failed", error=error) for job in claimed]
        left = _left_to_others(me, claimed[0], outcomes)
        me.keep(fences)

    def finish() -> None:
        try:
            telling.finish()
            for outcome in outcomes:
                _add_lines(logs[outcome.id], outcome.logs)
                elsewhere = outcome.id in left
                _settle_safely(outcome, fences[outcome.id], logs[outcome.id], elsewhere=elsewhere)
        finally:
            me.let_go(fences)

    _finisher.hand(finish)
    if len(claimed) == 1:  # two threads would only be in each other's way: hardly anybody is there yet
        _finisher.wait(BESIDE_SECONDS)
    return outcomes


def _left_to_others(me: session.Session, one: work.Job, outcomes: Sequence[Outcome]) -> set[str]:
    """The ids of what this machine cannot open, and another machine of the lane perhaps can.

    `one` is any job of the batch: all of them have the same version.
    """
    if any(outcome.status == "succeeded" for outcome in outcomes):
        me.unfit.forget(one["version"])
    failed = {
        outcome.id: outcome.error
        for outcome in outcomes
        if outcome.error is not None and outcome.error.is_of_machine
    }
    if not failed:
        return set()
    me.unfit.note(one["version"], next(iter(failed.values())))
    me.report()  # before the others look
    return set(failed) if me.unfit.is_fit_elsewhere(one["version"], one["lane"]) else set()


class _TimeLeft:
    """How long a batch will take to its last step, by the steps it has done."""

    def __init__(self) -> None:
        self._first: tuple[int, float] | None = None
        self._step = 0

    def of(self, reports: Sequence[StepReport]) -> float:
        """Seconds to the end; infinite before two steps are done, and where nobody is left to tell of."""
        step, steps = max(((report.step, report.steps) for report in reports), default=(0, 0))
        now = time.monotonic()
        if step == 0 or step < self._step:  # another batch, or the same once more
            self._first = None
        elif self._first is None:
            self._first = (step, now)
        self._step = step
        if self._first is None or step <= self._first[0]:
            return math.inf if step < steps or not steps else 0.0
        began, at = self._first
        return (now - at) / (step - began) * max(steps - step, 0)


def _progress(
    me: session.Session,
    fences: dict[str, int],
    logs: dict[str, list[str]],
    shown: dict[str, str | None],
    reports: Sequence[StepReport],
) -> Sequence[str]:
    """Pass one step of a batch on; the ids that come back are stopped."""
    told: list[work.Report] = []
    for report in reports:
        _add_lines(logs[report.id], report.logs)
        if report.preview is not None:
            shown[report.id] = "data:image/webp;base64," + base64.b64encode(report.preview).decode()
        told.append(
            {
                "id": report.id,
                "fence": fences[report.id],
                "step": report.step,
                "steps": report.steps,
                "preview": shown.get(report.id),
                "logs": logs[report.id],
            }
        )
    try:
        closed = work.step(reports=told)
    except DatabaseError as error:
        # A picture in the making outlives a restart of the database: whether it is still wanted is asked again by the
        # next step, and by its fence at the end.
        log.warning("progress was not noted: %s", error)
        close_old_connections()  # a broken one would fail the next step too
        closed = []
    return [*closed, *me.lost()]


def _add_lines(lines: list[str], new: Sequence[str]) -> None:
    """Add to a run's log: each piece its own line, none longer and no more of them than anybody reads."""
    lines.extend(line[:LINE_CHARACTERS] for text in new for line in text.splitlines())
    del lines[:-LOG_LINES]


def _settle_safely(outcome: Outcome, fence: int, logs: Sequence[str], *, elsewhere: bool = False) -> None:
    """Settle; what goes wrong (a full disk, a lost database) costs this one an attempt and the others nothing.

    A database that is away for a moment costs nothing: the result waits. It is safe to tell it twice, by the fence.
    """
    try:
        _settle(outcome, fence, logs, elsewhere=elsewhere)
    except Exception as error:
        log.exception("the outcome of %s could not be kept", outcome.id)
        try:
            if isinstance(error, OperationalError) and _is_database_back():
                _settle(outcome, fence, logs, elsewhere=elsewhere)
            else:
                message = "The result could not be stored. Nothing was charged."
                work.fail(
                    id=outcome.id, fence=fence, code="not_stored", message=message, retryable=True, logs=logs
                )
        except Exception:
            log.exception("nothing could be told of %s; it comes back by its lease", outcome.id)


def _is_database_back() -> bool:
    """Wait until the database answers; False if it does not in time."""
    deadline = time.monotonic() + AWAY_SECONDS
    while time.monotonic() < deadline:
        close_old_connections()
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
        except DatabaseError:
            time.sleep(0.5)
        else:
            return True
    return False


def _settle(outcome: Outcome, fence: int, logs: Sequence[str], *, elsewhere: bool) -> None:
    """Tell what became of a run; `elsewhere`: what failed here goes back into the queue for another machine."""
    if outcome.status == "succeeded":
        media: list[work.Medium] = [
            {"data": one.data, "meta": one.meta, "poster": one.poster} for one in outcome.outputs
        ]
        metrics = dataclasses.asdict(outcome.metrics) if outcome.metrics else {}
        work.succeed(id=outcome.id, fence=fence, media=media, seed=outcome.seed, metrics=metrics, logs=logs)
    elif outcome.status == "released":
        work.release(id=outcome.id, fence=fence, reason="The worker is restarting; the run keeps its place.")
    elif outcome.status == "failed":
        error = outcome.error or EngineError("The model failed without saying why.")
        work.fail(
            id=outcome.id,
            fence=fence,
            code=error.code,
            message=error.sentence,
            retryable=error.retryable or elsewhere,
            logs=logs,
            elsewhere=elsewhere,
        )


def _jobs(claimed: Sequence[work.Job]) -> tuple[list[Job], list[Outcome]]:
    """What the engine gets, and the outcomes of those whose adapters cannot be had."""
    jobs: list[Job] = []
    refused: list[Outcome] = []
    for one in claimed:
        try:
            jobs.append(_job(one))
        except EngineError as error:
            refused.append(Outcome(one["id"], "failed", error=error))
    return jobs, refused


def _job(job: work.Job) -> Job:
    recipe = {
        **job["recipe"],
        "id": job["version"],
        "batch_on": job["batch_on"],
        "max_batch": job["max_batch"],
    }
    worn = tuple(_adapter_files.fetch(one) for one in job["adapters"])
    return Job(
        id=job["id"], recipe=cast("Recipe", recipe), input=job["input"], exact=job["exact"], adapters=worn
    )


def _preload(me: session.Session, lane: str) -> bool:
    """Open what the lane's publishers asked to have ready, while there is room. True if something was opened."""
    loaded = [resident.id for resident in me.engine.loaded()]
    passed_over = {*loaded, *me.unfit.notes(), *_could_not_open}
    wanted = Version.objects.filter(
        endpoints__offers__lane=lane, endpoints__offers__is_enabled=True, manifest__recipe__preload=True
    ).filter(listing__default_version_id__isnull=False)
    for version in sorted(wanted.distinct(), key=lambda one: not one.recipe.get("pin")):
        if version.sha256 in passed_over:
            continue
        me.report()
        if not _may_try(version.sha256, worker=me.worker, lane=lane):
            _could_not_open.add(version.sha256)
            log.error(
                "%s ended %s engines as they made it ready; it is not tried again now", version, MAX_TRIES
            )
            continue
        try:
            with me.at_work({}, LOAD_SECONDS):
                opened = me.engine.make_ready(cast("Recipe", {**version.recipe, "id": version.sha256}))
        except EngineError as error:
            opened = False
            if error.is_of_machine:
                me.unfit.note(version.sha256, error)
            else:
                _could_not_open.add(version.sha256)
            log.warning("%s could not be made ready: %s", version, error.sentence)
        except Exception:  # what its family did not foresee is no reason to take nothing else
            opened = False
            _could_not_open.add(version.sha256)
            log.exception("%s could not be made ready", version)
        _survived(version.sha256)
        me.report()
        if opened:
            return True
    return False


_could_not_open: set[str] = set()
os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(settings.COMPILED_DIR))  # read when torch is imported
_adapter_files = AdapterFiles(settings.ADAPTERS_DIR, room_bytes=settings.ADAPTERS_MB * 2**20)
_paces: dict[str, Pace] = {}
_finisher = Finisher()


def _may_try(version: str, *, worker: str, lane: str) -> bool:
    """Note one try to make a version ready. Who dies of it tries again as the next process, but not for ever.

    Engines that are at it now, as all of a lane that was just started, have not died of it.
    """
    client, key = dispatch.redis_client(), _tries_key(version)
    alive = {engine["worker"] for engine in live.engines(lane)}
    try:
        tried = {one.decode() for one in cast("set[bytes]", client.smembers(key))}
        if len(tried - alive) >= MAX_TRIES:
            return False
        client.sadd(key, worker)
        client.expire(key, TRIES_SECONDS)
    except redis.RedisError:
        pass  # who cannot know tries
    return True


def _survived(version: str) -> None:
    with contextlib.suppress(redis.RedisError):
        dispatch.redis_client().delete(_tries_key(version))


def _tries_key(version: str) -> str:
    return f"preload:{version}:tried"
