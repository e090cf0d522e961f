"""The audit of each night: what is left is sealed, months that are over are closed, everything is recomputed, and who
runs this is told what is wrong.

The chain is held against what the audit before saw: who cuts its end off, or makes all of it again, is found, too.
Nothing is repaired here. A finding means that somebody wrote into the database past the ledger, or that the ledger has
a fault: both are for people.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from billing import ledger
from billing.ledger.audit import Problem
from billing.models import Audit, Seal
from marketplace import dispatch, mail
from marketplace.models import User

EVERY = timedelta(hours=20)  # a day, less what clocks and restarts shift it by
LATE = timedelta(hours=50)
SEAL_EVERY = timedelta(hours=1)
MOST_KEPT = 100
MOST_MAILED = 20
LOCK = 0xA0D17
ASK_TASK = "billing.audit_ledger"
ASK_SECONDS = 60
BROKEN_OFF = timedelta(hours=6)  # an audit without an end that began longer ago was broken off

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Audited:
    """What the newest audit found, for who looks at it: the first of its problems, and how many there are."""

    finished_at: datetime
    problem_count: int
    problems: list[Problem]
    is_late: bool


def newest(*, now: datetime | None = None) -> Audited | None:
    """The newest audit that came to its end; `is_late` where the next should have long been there."""
    audit = latest()
    if audit is None or audit.finished_at is None:
        return None
    return Audited(
        finished_at=audit.finished_at,
        problem_count=audit.problem_count,
        problems=[Problem(one["check"], one["detail"]) for one in audit.problems],
        is_late=(now or timezone.now()) - audit.finished_at > LATE,
    )


@dataclass(frozen=True, slots=True)
class Past:
    """One audit of the list; `finished_at` is None while it runs, and where it was broken off."""

    started_at: datetime
    finished_at: datetime | None
    is_running: bool
    problem_count: int
    problems: list[Problem]

    @property
    def seconds(self) -> float | None:
        """How long it took."""
        return (self.finished_at - self.started_at).total_seconds() if self.finished_at else None


def recent(limit: int, *, now: datetime | None = None) -> list[Past]:
    """The last audits, the newest first, also those that came to no end."""
    at = now or timezone.now()
    rows = list(Audit.objects.order_by("-started_at", "-pk")[:limit])
    return [
        Past(
            started_at=row.started_at,
            finished_at=row.finished_at,
            is_running=place == 0 and row.finished_at is None and at - row.started_at < BROKEN_OFF,
            problem_count=row.problem_count,
            problems=[Problem(one["check"], one["detail"]) for one in row.problems],
        )
        for place, row in enumerate(rows)
    ]


def run_soon() -> None:
    """Have an audit made soon, by control: it reads all of the books. Many who ask at once get one."""
    dispatch.hint(ASK_TASK, "now", pending_seconds=ASK_SECONDS)


@dispatch.follower(ASK_TASK)
def follow_run(key: str) -> None:
    """What that asks for."""
    with _alone() as is_free:
        if is_free:
            run()


def run_if_due(*, now: datetime | None = None) -> Audit | None:
    """The audit, unless there was one since yesterday or another process is at it."""
    at = now or timezone.now()
    with _alone() as is_free:
        if not is_free or Audit.objects.filter(started_at__gt=at - EVERY, finished_at__isnull=False).exists():
            return None
        return run(now=at)


@contextlib.contextmanager
def _alone() -> Iterator[bool]:
    """Whether nobody else is at an audit; while inside, nobody begins one."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
        is_free = bool(cursor.fetchone()[0])
        try:
            yield is_free
        finally:
            if is_free:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [LOCK])


def run(*, now: datetime | None = None) -> Audit:
    """Seals, closes months, checks, writes down what was found, and alarms: in the log, by mail to all staff, on the
    console."""
    at = now or timezone.now()
    before = latest()
    audit = Audit.objects.create(started_at=at)
    ledger.seal(thorough=True, now=at)
    ledger.close_months(now=at)
    problems = [*_lost_seals(before), *ledger.verify()]
    audit.finished_at = now or timezone.now()
    audit.heads = ledger.heads()
    audit.problem_count = len(problems)
    audit.problems = [{"check": problem.check, "detail": problem.detail} for problem in problems[:MOST_KEPT]]
    with transaction.atomic():
        audit.save()
        if problems:
            _alarm(problems)
    return audit


def latest() -> Audit | None:
    """The newest audit that came to its end."""
    return Audit.objects.filter(finished_at__isnull=False).order_by("-started_at", "-pk").first()


def _lost_seals(before: Audit | None) -> list[Problem]:
    if before is None:
        return []
    known = Seal.objects.filter(hash__in=before.heads.values()).values_list("hash", flat=True)
    return [
        Problem("the chain goes on from where it was", f"seal {head} of {book} is not there any more")
        for book, head in before.heads.items()
        if head not in set(known)
    ]


def _alarm(problems: list[Problem]) -> None:
    lines = [f"{problem.check}: {problem.detail}" for problem in problems]
    for line in lines[:MOST_KEPT]:
        log.critical("the ledger does not add up: %s", line)
    more = f"\n... and {len(lines) - MOST_MAILED} more" if len(lines) > MOST_MAILED else ""
    body = (
        f"The audit of {settings.PUBLIC_URL} found {len(lines)} things in the ledger that do not add up:\n\n"
        + "\n".join(lines[:MOST_MAILED])
        + more
        + "\n\n`manage.py ledger verify` lists them. Nothing was changed, and runs go on."
    )
    for email in User.objects.filter(is_staff=True, is_active=True).values_list("email", flat=True):
        mail.post(email, subject="The ledger does not add up", body=body)
