"""Whether this installation works, part by part."""

from __future__ import annotations

import logging
import secrets
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


def problems() -> list[str]:
    """One sentence for each thing that does not work; nothing when all does."""
    found = []
    for check in (_database, _redis, _broker, _control, _engines, _storage):
        problem = _try(check)
        if problem:
            found.append(problem)
    return found


def note_sweep() -> None:
    """Called by the control process after each sweep."""
    redis_client().set(SWEEP_KEY, time.time(), ex=3600)


def _try(check: Callable[[], str]) -> str:
    try:
        return check()
    except DatabaseError as error:
        return f"database: {_first_line(error)}"
    except redis.RedisError as error:
        return f"redis: {_first_line(error)}"
    except Exception as error:  # a storage or a broker raises what its library likes
        if not isinstance(error, OperationalError | OSError):
            log.exception("the check of %s failed", check.__name__.strip("_"))
        return f"{check.__name__.strip('_')}: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


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
    said = redis_client().get(SWEEP_KEY)
    if (
        said is None
        or time.time() - float(str(said, "ascii") if isinstance(said, bytes) else 0) > SWEEP_SILENCE_SECONDS
    ):
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
