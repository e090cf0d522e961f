"""The loop of an engine: claim, run, report, settle, until the lane is empty or the time is up."""

from __future__ import annotations

import base64
import dataclasses
import logging
import time
from collections.abc import Callable, Sequence
from typing import cast

from django.db import DatabaseError, OperationalError, close_old_connections, connection

from marketplace import dispatch
from marketplace.models import Version
from playground.predictions import work
from workers import session
from workers.engine import EngineError, Job, Outcome, Recipe, StepReport
from workers.finishing import Finisher
from workers.pacing import Heard, Pace
from workers.telling import Telling

log = logging.getLogger(__name__)

DRAIN_SECONDS = 30.0  # then the task ends and sends itself again, so that a stop or an update finds a gap
LINGER_SECONDS = 2.0  # for which an engine with nothing to do listens before it ends its task
STOP_SECONDS = 0.25  # between looks, while it listens, at whether the process shall stop
LOAD_SECONDS = 900  # for weights that nobody waits for yet; a load that hangs longer ends the process
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
        if not _work_off(me, lane, ends_at) and not session.is_draining():
            dispatch.send_wake(lane)
    finally:
        _finisher.rest()
        Telling.rest()


def _hears(heard: Callable[[float], bool], until: float) -> bool:
    """Whether a hint comes in time; a process that shall stop does not wait for it."""
    while not session.is_draining() and (left := until - time.monotonic()) > 0:
        if heard(min(left, STOP_SECONDS)):
            return True
    return False


def _work_off(me: session.Session, lane: str, ends_at: float, heard: Heard | None = None) -> bool:
    """Run until the lane is empty: True. False when it is time to stop before that."""
    while not session.is_draining():
        if time.monotonic() > ends_at:
            return False
        pace = _paces.setdefault(lane, Pace(lane))
        jobs = pace.claim(me, heard)
        if jobs:
            pace.ran(jobs, run_batch(me, jobs))
        elif not _preload(me, lane):
            return True
    return False


def run_batch(me: session.Session, claimed: Sequence[work.Job]) -> float:
    """Run claimed jobs, and settle each beside what the engine does next. Every one of them is answered for.

    Returns the seconds that running took, the loading of weights not counted.
    """
    fences = {job["id"]: job["fence"] for job in claimed}
    logs: dict[str, list[str]] = {job["id"]: [] for job in claimed}
    shown: dict[str, str | None] = {}

    def on_step(reports: Sequence[StepReport]) -> Sequence[str]:
        if session.is_draining():
            me.engine.drain()
        return telling(reports)

    telling = Telling(lambda reports: _progress(me, fences, logs, shown, reports))
    began_at = time.monotonic()
    with me.at_work(fences, max(job["max_seconds"] for job in claimed)):
        try:
            outcomes = me.engine.run([_job(job) for job in claimed], on_step)
        except Exception:
            log.exception("the engine broke on a batch of %s", len(claimed))
            error = EngineError("The engine broke on this run. Nothing was charged.", retryable=True)
            outcomes = [Outcome(job["id"], "failed", error=error) for job in claimed]
        me.keep(fences)
    ran_s = time.monotonic() - began_at - sum(one.metrics.load_s for one in outcomes[:1] if one.metrics)

    def finish() -> None:
        try:
            telling.finish()
            for outcome in outcomes:
                _settle_safely(outcome, fences[outcome.id], [*logs[outcome.id], *outcome.logs])
        finally:
            me.let_go(fences)

    _finisher.hand(finish)
    if len(claimed) == 1:  # two threads would only be in each other's way: hardly anybody is there yet
        _finisher.wait(BESIDE_SECONDS)
    return ran_s


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
        logs[report.id].extend(report.logs)
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


def _settle_safely(outcome: Outcome, fence: int, logs: Sequence[str]) -> None:
    """Settle; what goes wrong (a full disk, a lost database) costs this one an attempt and the others nothing.

    A database that is away for a moment costs nothing: the result waits. It is safe to tell it twice, by the fence.
    """
    try:
        _settle(outcome, fence, logs)
    except Exception as error:
        log.exception("the outcome of %s could not be kept", outcome.id)
        try:
            if isinstance(error, OperationalError) and _is_database_back():
                _settle(outcome, fence, logs)
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


def _settle(outcome: Outcome, fence: int, logs: Sequence[str]) -> None:
    if outcome.status == "succeeded":
        media: list[work.Medium] = [{"data": one.data, "meta": one.meta} for one in outcome.outputs]
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
            retryable=error.retryable,
            logs=logs,
        )


def _job(job: work.Job) -> Job:
    recipe = {
        **job["recipe"],
        "id": job["version"],
        "batch_on": job["batch_on"],
        "max_batch": job["max_batch"],
    }
    return Job(id=job["id"], recipe=cast("Recipe", recipe), input=job["input"], exact=job["exact"])


def _preload(me: session.Session, lane: str) -> bool:
    """Open what the lane's publishers asked to have ready, while there is room. True if something was opened."""
    loaded = {resident.id for resident in me.engine.loaded()}
    wanted = Version.objects.filter(
        endpoints__offers__lane=lane, endpoints__offers__is_enabled=True, manifest__recipe__preload=True
    ).filter(listing__default_version_id__isnull=False)
    for version in sorted(wanted.distinct(), key=lambda one: not one.recipe.get("pin")):
        if version.sha256 in loaded or version.sha256 in _could_not_open:
            continue
        me.report()
        try:
            with me.at_work({}, LOAD_SECONDS):
                opened = me.engine.make_ready(cast("Recipe", {**version.recipe, "id": version.sha256}))
        except EngineError as error:
            opened = False
            _could_not_open.add(version.sha256)
            log.warning("%s could not be made ready: %s", version, error.sentence)
        me.report()
        if opened:
            return True
    return False


_could_not_open: set[str] = set()
_paces: dict[str, Pace] = {}
_finisher = Finisher()
