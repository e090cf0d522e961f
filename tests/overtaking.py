"""Two acts of which the second comes while the transaction of the first is open."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from django.db import connection, transaction

from tests.edge.web import until
from tests.predictions.test_races import at_once


def overtaking(first: Callable[[], Any], second: Callable[[], Any]) -> Any:
    """What `second` returns, or raises, that begins when `first` is done but not committed, and waits for its end."""
    has_begun = threading.Event()

    def lead() -> None:
        try:
            with transaction.atomic():
                first()
                has_begun.set()
                until(is_waited_for)
        finally:
            has_begun.set()

    def follow() -> Any:
        has_begun.wait(60)
        return second()

    wrong, found = at_once(lead, follow)
    assert wrong is None, wrong
    return found


def is_waited_for() -> bool:
    """Whether another connection waits for what this one has locked."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid)) LIMIT 1"
        )
        return cursor.fetchone() is not None
