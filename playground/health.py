"""Whether this installation works, part by part.

Everybody may ask, so what a driver says of hosts and users goes to the log, and asking often costs nothing.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable

import redis
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import Error as DatabaseError
from django.db import connection
from kombu.exceptions import OperationalError

from marketplace.dispatch import app, redis_client
from marketplace.models import Offer
from playground import live

log = logging.getLogger(__name__)

SWEEP_KEY = "sweep:at"
SWEEP_SILENCE_SECONDS = 15
STORAGE_CHECK_SECONDS = 60.0
_storage_checked_at = 0.0


KEEP_SECONDS = 1.0

_checking = threading.Lock()
_checked: tuple[float, list[str]] = (float("-inf"), [])


def problems() -> list[str]:
    """One sentence for each thing that does not work, at most a second old; nothing when all does."""
    global _checked
    is_first = _checked[0] == float("-inf")
    if time.monotonic() - _checked[0] > KEEP_SECONDS and _checking.acquire(blocking=is_first):
        # Whoever asks while somebody looks is told what was found last, and waits for nothing.
        try:
            checks = (_database, _redis, _broker, _control, _engines, _storage)
            found = [problem for problem in map(_try, checks) if problem]
            _checked = (time.monotonic(), found)
        finally:
            _checking.release()
    return list(_checked[1])


def note_sweep() -> None:
    """Called by the control process after each sweep."""
    redis_client().set(SWEEP_KEY, time.time(), ex=3600)


def sweep_age_s() -> float | None:
    """Seconds since the last sweep; None where none is known of. Raises redis.RedisError."""
    said = redis_client().get(SWEEP_KEY)
    return max(0.0, time.time() - float(said.decode())) if isinstance(said, bytes) else None


def _try(check: Callable[[], str]) -> str:
    part = check.__name__.strip("_")
    try:
        return check()
    except (DatabaseError, redis.RedisError, OperationalError, OSError) as error:
        if isinstance(error, DatabaseError):
            part = "database"
        elif isinstance(error, redis.RedisError):
            part = "redis"
        log.warning("health: %s: %s", part, (str(error).splitlines() or [type(error).__name__])[0][:200])
    except Exception:  # a storage or a broker raises what its library likes
        log.exception("the check of %s failed", part)
    return f"{part}: does not answer; the log of the web process says more"


def _database() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM django_migrations")
    return ""


def _redis() -> str:
    redis_client().ping()
    return ""


def _broker() -> str:
    with app.connection_for_write(connect_timeout=3) as broker:
        broker.ensure_connection(max_retries=0, timeout=3)
    return ""


def _control() -> str:
    age = sweep_age_s()
    if age is None or age > SWEEP_SILENCE_SECONDS:
        return "control: no sweep for a while; start the control process"
    return ""


def _engines() -> str:
    lanes = Offer.objects.filter(is_enabled=True).values_list("lane", flat=True).distinct()
    silent = [lane for lane in lanes if not live.engines(lane)]
    return f"engine: none is running on lane {', '.join(silent)}" if silent else ""


def _storage() -> str:
    """Media can be written; tried once a minute."""
    global _storage_checked_at
    if time.monotonic() - _storage_checked_at < STORAGE_CHECK_SECONDS:
        return ""
    name = default_storage.save(f"check/{secrets.token_hex(8)}", ContentFile(b"ok"))
    default_storage.delete(name)
    _storage_checked_at = time.monotonic()
    return ""
