"""The Celery tasks, and what a worker process does when it starts and stops.

An engine process is a prefork worker with one child: the parent never imports torch (a fork after the first tensor
operation hangs the child), the child imports it at its first job. The control process runs on threads, without torch.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from celery import signals
from django.conf import settings
from django.db import close_old_connections, connections
from django.db.backends.postgresql.base import DatabaseWrapper

from billing import arrivals, auditor, invoices, ledger, limits, low_balance
from marketplace import (
    catalog,
    mail,  # noqa: F401 - registers its handler
)
from marketplace.dispatch import app
from marketplace.host.process import die_with_parent
from playground import health, predictions, webhooks
from playground.facades import dialects
from workers import session

dialects.dialects()  # from then on, who was asked for in another protocol is told in its words
log = logging.getLogger(__name__)

Steps = tuple[Callable[[], object], ...]

SWEEP_EVERY_SECONDS = 1.0
TIDY_EVERY_SECONDS = 60.0
DAY_SECONDS = 24 * 3600.0
SWITCH_SECONDS = 0.001  # a step of the next batch waits no longer than that for the storing of the one before
# Tensors take every core they get; pages on the same machine, and what this process tells and settles, go first.
ENGINE_NICENESS = 5


@app.task(name="workers.drain")
def drain(lane: str, **_: Any) -> None:
    """Run what waits on a lane. A hint: it changes nothing when there is nothing to do."""
    from workers.drain import drain_lane  # the engine's room, which control never enters

    drain_lane(lane)


@signals.worker_process_init.connect(weak=False)
def _child_starts(**_: Any) -> None:
    """An engine's child: it dies with its parent and says that it is there."""
    die_with_parent()
    _leave_connections_to_parent()
    sys.setswitchinterval(SWITCH_SECONDS)
    session.start(lanes=session.lanes_of_process())
    from workers.drain import start_threads  # the engine's room, which control never enters

    start_threads()
    os.nice(ENGINE_NICENESS)  # of this thread, which computes, and those that it starts from now on


@signals.task_prerun.connect(weak=False)
@signals.task_postrun.connect(weak=False)
def _give_connection_back(**_: Any) -> None:
    """A task is no request of Django's: its connection goes back to the pool here."""
    close_old_connections()


def _leave_connections_to_parent() -> None:
    """What the parent has open is not to be shared, nor closed from here: the sockets are the parent's.

    Django has no public way to forget a pool without closing it.
    """
    for wrapper in connections.all(initialized_only=True):
        wrapper.connection = None
    DatabaseWrapper._connection_pools.clear()  # type: ignore[attr-defined]


@signals.celeryd_init.connect(weak=False)
def _learn_queues(options: dict[str, Any], **_: Any) -> None:
    session.note_queues(options.get("queues"))


@signals.worker_shutting_down.connect(weak=False)
def _asked_to_stop(**_: Any) -> None:
    """In the parent: the child reads this at its next step and hands its work back."""
    session.ask_to_drain()


@signals.worker_ready.connect(weak=False)
def _ready(**_: Any) -> None:
    """The control process keeps the clock: no embedded beat, which would survive its worker's death as an orphan."""
    if session.is_control():
        threading.Thread(target=_keep_sweeping, name="sweep", daemon=True).start()
        threading.Thread(target=webhooks.keep_delivering, name="postman", daemon=True).start()
        if settings.STRIPE_SANDBOX:
            from billing.sandbox import clockwork  # with Stripe's library, which no engine needs

            threading.Thread(target=clockwork.keep_ticking, name="stripe", daemon=True).start()
    for lane in session.lanes_of_process():
        app.send_task("workers.drain", kwargs={"lane": lane}, queue=f"lane.{lane}")


def _keep_sweeping() -> None:
    tidied = cleaned = float("-inf")
    while True:
        began = time.monotonic()
        is_due, is_daily = began - tidied > TIDY_EVERY_SECONDS, began - cleaned > DAY_SECONDS
        tidied = began if is_due else tidied
        cleaned = began if is_daily else cleaned
        if is_daily:  # beside the clock: it reads all of the books
            threading.Thread(target=audit_once, name="auditor", daemon=True).start()
        sweep_once(with_tidy=is_due, daily=is_daily)
        time.sleep(max(0.05, SWEEP_EVERY_SECONDS - (time.monotonic() - began)))


def sweep_once(*, with_tidy: bool = False, daily: bool = False) -> None:
    """One turn of the clock. What fails is logged and holds up nothing else; its next turn has a connection that works,
    or makes one."""
    steps = [*EACH_TURN, *(EACH_MINUTE if with_tidy else ()), *(EACH_DAY if daily else ())]
    for step in steps:
        try:
            step()
        except Exception:
            log.exception("%s failed in process %s; it tries again", step.__qualname__, os.getpid())
            close_old_connections()
    close_old_connections()  # this thread is no request: nobody else would let go of a broken one


def _sweep() -> None:
    predictions.sweep()
    health.note_sweep()


def _seal() -> None:
    ledger.seal(every=auditor.SEAL_EVERY)


def _take_all_effect() -> None:
    catalog.take_effect(all_of_them=True)


def _forget_of_sandbox() -> None:
    if settings.STRIPE_SANDBOX:
        from billing.sandbox import clockwork

        clockwork.forget_old()


EACH_TURN: Steps = (_sweep, arrivals.tick)
EACH_MINUTE: Steps = (
    predictions.tidy,
    low_balance.find_low,
    limits.find_alerts,
    catalog.take_effect,
    ledger.expire_grants,
    _seal,
    webhooks.tidy,
    arrivals.tidy,
)
EACH_DAY: Steps = (predictions.tidy_daily, _take_all_effect, _forget_of_sandbox, invoices.find_due)


def audit_once() -> None:
    """The nightly audit, where it is due. What it finds it tells by itself; that it failed is logged."""
    try:
        auditor.run_if_due()
    except Exception:
        log.exception("the audit of the ledger failed; it tries again tomorrow")
    finally:
        close_old_connections()
