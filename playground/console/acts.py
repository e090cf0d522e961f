"""What the operator can do, each act in one transaction and with a line in the log that says who did it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from django.db import transaction

from marketplace.ids import parse
from marketplace.models import User, Version
from playground import live
from playground.models import Prediction
from playground.predictions import attach_model, faults, work

log = logging.getLogger(__name__)

ENDED = "ended_by_operator"


class Gone(LookupError):
    """What the act was meant for is not there any more."""


@dataclass(frozen=True, slots=True)
class Act:
    """One act: what it is asked and done with, and what it says before and after."""

    title: str  # a question, with the name of what it is about
    detail: str
    button: str
    said: str
    does: Callable[[str, User], None]
    is_there: Callable[[str], str]  # the name of what it is about; raises Gone
    is_danger: bool = False


def confirm(act: str, target: str) -> tuple[Act, str]:
    """The act and the name of what it is about. Raises KeyError for no act, Gone."""
    found = ACTS[act]
    return found, found.is_there(target)


def do(act: str, target: str, *, by: User) -> str:
    """Do it; a sentence that says so. Raises KeyError for no act, Gone, redis.RedisError."""
    found, name = confirm(act, target)
    found.does(target, by)
    log.warning("audit: %s did “%s” to %s (%s)", by.email, act, name, target)
    return found.said.format(name=name)


def _engine(worker: str) -> str:
    for lane in live.lanes():
        if any(engine["worker"] == worker for engine in live.engines(lane)):
            return worker
    raise Gone("This engine is not there any more.")


def _run(uid: str) -> str:
    _running(uid)
    return uid


def _running(uid: str, *, locked: bool = False) -> Prediction:
    public_id = parse(uid, "p")
    rows = Prediction.objects.select_for_update(no_key=True) if locked else Prediction.objects.all()
    running = rows.filter(status=Prediction.Status.RUNNING)
    row = running.filter(public_id=public_id).first() if public_id is not None else None
    if row is None:
        raise Gone("This run is not running any more.")
    return attach_model(row)


def _quarantine(pk: str) -> str:
    found = faults.quarantined().filter(pk=int(pk)).first() if pk.isdecimal() and len(pk) < 19 else None
    if found is None:
        raise Gone("This version is not paused any more.")
    return found.version.listing.model_id


def _unfit(target: str) -> str:
    """The model and the machine, of a version and a machine with an @ between them."""
    version, _, machine = target.partition("@")
    for lane in live.lanes():
        for engine in live.engines(lane):
            if live.machine_of(engine["worker"]) == machine and version in engine.get("unfit", ()):
                row = Version.objects.select_related("listing__publisher").filter(sha256=version).first()
                return f"{row.listing.model_id if row else version[:12]} on {machine}"
    raise Gone("This model is not left to other machines any more.")


def _rest(worker: str, by: User) -> None:
    live.ask_to_rest(worker, rests=True)


def _work(worker: str, by: User) -> None:
    live.ask_to_rest(worker, rests=False)


def _try(target: str, by: User) -> None:
    version, _, machine = target.partition("@")
    live.ask_to_try(machine, version)


def _requeue(uid: str, by: User) -> None:
    with transaction.atomic():
        work.requeue(
            _running(uid, locked=True), note="The operator gave it back to the queue; it keeps its place."
        )


def _end(uid: str, by: User) -> None:
    with transaction.atomic():
        message = "The operator of this site ended the run. Nothing was charged."
        work.close_failed(_running(uid, locked=True), code=ENDED, message=message)


def _let_go(pk: str, by: User) -> None:
    if faults.let_go(int(pk), by=by) is None:
        raise Gone("This version is not paused any more.")


ACTS: dict[str, Act] = {
    "drain": Act(
        "Drain {name}?",
        "It takes nothing new until you let it work again, or it is started anew. What it runs finishes, and its "
        "process stays, with what it has loaded.",
        "Drain",
        "{name} takes nothing new.",
        _rest,
        _engine,
    ),
    "undrain": Act(
        "Let {name} work again?",
        "It takes what waits on its lanes, as before.",
        "Let it work",
        "{name} works again.",
        _work,
        _engine,
    ),
    "try": Act(
        "Try {name} again?",
        "The engines of the machine open it for the next run that wants it, as after you have put its weights in "
        "order. Where they still cannot, it is left to other machines as before.",
        "Try it again",
        "{name} is tried again.",
        _try,
        _unfit,
    ),
    "requeue": Act(
        "Give {name} back to the queue?",
        "Its worker stops at the next step. The run keeps its place and begins anew, here or elsewhere; it does not "
        "count as a fault.",
        "Requeue",
        "{name} is in the queue again.",
        _requeue,
        _run,
    ),
    "end": Act(
        "End {name}?",
        "It fails with a sentence that says that you ended it. Nothing is charged, and it is not tried again.",
        "End the run",
        "{name} is ended. Nothing was charged.",
        _end,
        _run,
        is_danger=True,
    ),
    "release": Act(
        "Let {name} go?",
        "Engines take its runs again at once. What it did before is forgotten: it is paused again only after it ends "
        "several more.",
        "Let it go",
        "{name} runs again.",
        _let_go,
        _quarantine,
    ),
}
