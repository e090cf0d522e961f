"""Work that leaves the process: the one Celery app, wake-ups of lanes, and the outbox.

Two kinds of message, with opposite promises. A wake-up is only a hint that a lane has work: the rows are the truth,
so a lost, doubled or late hint changes nothing. An outbox message must be handled at least once: it is a row written
in the transaction that causes it, sent when that commits, sent again by the sweep until its handler has deleted it.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any

import django
import redis
from celery import Celery
from django.apps import apps
from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone
from kombu.exceptions import OperationalError

if not (
    apps.ready or apps.loading
):  # `celery -A marketplace.dispatch`: Celery imports us before Django is set up
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "marketplace.settings")
    django.setup()

from marketplace.models import Outbox

log = logging.getLogger(__name__)

CONTROL_QUEUE = "control"
DRAIN_TASK = "workers.drain"  # lives a room above: called by name
WAKE_TTL_SECONDS = 5  # how long one pending hint stands for all; bounds the harm of a lost one
RETRY_SECONDS = (5, 15, 60, 300, 900)  # outbox re-sends, by attempt; the last repeats
PRESENCE_SECONDS = 4  # an engine that was silent so long is gone

Payload = Mapping[str, Any]

# Without Celery's own care of Django's connections, which ends the connection pool before and after every task, so
# that each pays for new connections. `workers.tasks` gives connections back instead.
app = Celery("vitrine", fixups=[])
app.conf.update(
    broker_url=settings.CELERY_BROKER_URL,
    task_ignore_result=True,
    task_serializer="json",
    accept_content=["json"],
    task_default_queue=CONTROL_QUEUE,
    task_create_missing_queues=True,
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    worker_send_task_events=False,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"socket_timeout": None, "socket_keepalive": True},
    broker_pool_limit=20,
    task_publish_retry=False,
    timezone="UTC",
    include=["workers.tasks"],
)


@functools.cache
def redis_client() -> redis.Redis:
    """The process's synchronous Redis client. One pool; connections are made at first use and not shared by a fork."""
    return redis.Redis.from_url(
        settings.REDIS_URL, socket_timeout=10, socket_connect_timeout=5, health_check_interval=30
    )


def lane_queue(lane: str) -> str:
    return f"lane.{lane}"


def wake(lane: str) -> None:
    """Hint to the lane's engines that there is work, when the present transaction commits.

    Many submits make one message: while a hint is pending no second is sent. Never raises: the sweep wakes again.
    """
    transaction.on_commit(functools.partial(wake_now, lane), robust=True)


def wake_now(lane: str) -> None:
    """`wake` without waiting for a commit: at once where an idle engine listens, else by a message of Celery's."""
    try:
        if redis_client().publish(_hints(lane), b""):
            return
    except redis.RedisError as error:
        log.warning("nobody on lane %s could be hinted at: %s", lane, error)
    send_wake(lane)


def send_wake(lane: str, *, pending_seconds: int = WAKE_TTL_SECONDS) -> None:
    """Wake any engine of the lane, by a message: who listens may be frozen.

    No second message is sent for `pending_seconds`, unless this one is taken. Never raises.
    """
    flag = f"wake:{lane}"
    try:
        if redis_client().set(flag, 1, nx=True, ex=pending_seconds):
            try:
                app.send_task(DRAIN_TASK, kwargs={"lane": lane}, queue=lane_queue(lane))
            except BaseException:
                redis_client().delete(flag)
                raise
    except (redis.RedisError, OperationalError, OSError) as error:
        log.warning("lane %s could not be woken, the sweep will: %s", lane, error)


def _hints(lane: str) -> str:
    return f"hints:{lane}"


@contextlib.contextmanager
def listening(lane: str) -> Iterator[Callable[[float], bool]]:
    """While inside, the lane's hints come here and not through the broker, which saves each of them a task.

    Yields a function that waits for a hint, so many seconds at most, and says whether there was one. Whoever stops
    listening looks at the rows once more: a hint may have come after the last wait. Without Redis there are none.
    """
    channel = redis_client().pubsub(ignore_subscribe_messages=True)

    def heard(seconds: float) -> bool:
        try:
            found = channel.get_message(timeout=seconds) is not None
            while found and channel.get_message() is not None:
                pass  # many hints are as good as one
        except redis.RedisError as error:
            log.warning("hints of lane %s are not heard: %s", lane, error)
            time.sleep(seconds)
            return False
        return found

    try:
        with contextlib.suppress(redis.RedisError):
            channel.subscribe(_hints(lane))
        yield heard
    finally:
        with contextlib.suppress(redis.RedisError):
            channel.close()


def woken(lane: str) -> None:
    """Called by an engine as it starts to drain: hints that come from now on are news."""
    redis_client().delete(f"wake:{lane}")


def post(task: str, payload: Payload, *, delay_seconds: int = 0) -> None:
    """Write one outbox message in the present transaction; `task` is handled at least once after it commits."""
    due = timezone.now() + timedelta(seconds=delay_seconds)
    row = Outbox.objects.create(
        task=task, payload=dict(payload), send_after=due + timedelta(seconds=RETRY_SECONDS[0])
    )
    if not delay_seconds:
        transaction.on_commit(functools.partial(_send, row.pk, task), robust=True)


def hint(task: str, key: str, *, pending_seconds: int) -> None:
    """Ask control to do `task` about `key`; none is sent again for so long, or until `unhint`. Never raises.

    Like a wake-up it may be lost or come twice: a row says what there is to do, and the sweep hints again.
    """
    try:
        if redis_client().set(_hinted(task, key), 1, nx=True, ex=pending_seconds):
            app.send_task(task, kwargs={"key": key}, queue=CONTROL_QUEUE)
    except (redis.RedisError, OperationalError, OSError) as error:
        log.warning("%s about %s was not asked for, the sweep will: %s", task, key, error)


def unhint(task: str, key: str) -> None:
    """The hint was not followed: the next one is sent."""
    redis_client().delete(_hinted(task, key))


def _hinted(task: str, key: str) -> str:
    return f"hint:{task}:{key}"


def follower(task: str) -> Callable[[Callable[[str], None]], Callable[[str], None]]:
    """Register a function as what follows hints named `task`."""

    def register(function: Callable[[str], None]) -> Callable[[str], None]:
        def follow(key: str, **_: object) -> None:
            function(key)

        app.task(name=task)(follow)
        return function

    return register


def resend_due(limit: int = 200) -> int:
    """Send again what has waited too long for its handler. Returns how many were sent."""
    now = timezone.now()
    with transaction.atomic():
        rows = list(
            Outbox.objects.select_for_update(skip_locked=True)
            .filter(send_after__lte=now)
            .order_by("send_after")[:limit]
        )
        for row in rows:
            wait = RETRY_SECONDS[min(row.attempts, len(RETRY_SECONDS) - 1)]
            row.attempts += 1
            row.send_after = now + timedelta(seconds=wait)
        Outbox.objects.bulk_update(rows, ["attempts", "send_after"])
    for row in rows:
        _send(row.pk, row.task)
    return len(rows)


def _send(message_id: int, task: str) -> None:
    try:
        app.send_task(task, kwargs={"message_id": message_id}, queue=CONTROL_QUEUE)
    except (redis.RedisError, OperationalError, OSError) as error:
        log.warning("outbox message %s stays for the sweep: %s", message_id, error)


def handler(task: str) -> Callable[[Callable[[Payload], None]], Callable[..., None]]:
    """Register a function as the handler of outbox messages named `task`.

    It runs in one transaction with the deletion of its message: done together or not at all. A message that is being
    handled elsewhere, or already was, is passed over. What it raises is logged once and kept on the row.
    """

    def register(function: Callable[[Payload], None]) -> Callable[..., None]:
        @functools.wraps(function)
        def handle(message_id: int, **_: object) -> None:
            try:
                with transaction.atomic():
                    row = Outbox.objects.select_for_update(skip_locked=True).filter(pk=message_id).first()
                    if row is None:
                        return
                    function(row.payload)
                    row.delete()
            except Exception as error:
                log.exception("outbox message %s (%s) failed", message_id, task)
                Outbox.objects.filter(pk=message_id).update(
                    attempts=F("attempts") + 1, last_error=f"{type(error).__name__}: {error}"[:2000]
                )

        app.task(name=task)(handle)
        return handle

    return register
