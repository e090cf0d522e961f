"""What a workspace spent: by day, model, key and member, what the month comes to, and each record for the books.

Reads the days of usage, which the database counts up as records are written, so a month of a busy workspace is a few
hundred rows and not a million. Days are those of UTC. Nothing here writes.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection
from django.db.models import F, Min, Q, QuerySet, Sum
from django.utils import timezone

from billing.ledger.accounts import current_book
from billing.models import Hold, Refund, UsageDay, UsageRecord

AVERAGE_DAYS = 7
ROUND = 100  # micro-dollars: an estimate pretends to no more than four decimals
CHUNK = 2000
RECENT = ("-occurred_at", "-id")


class Group(StrEnum):
    """What usage can be broken down by."""

    DAY = "day"
    MODEL = "model"
    KEY = "key"
    MEMBER = "member"


COLUMNS = {Group.DAY: "day", Group.MODEL: "model", Group.KEY: "key_id", Group.MEMBER: "user_id"}


class Sums(NamedTuple):
    """Runs, those of them that cost nothing as they failed or were canceled, and what the others cost.

    `refunded_micros` was given back in that time, of whatever runs: it is not taken off the amount.
    """

    runs: int = 0
    not_charged: int = 0
    amount_micros: int = 0
    refunded_micros: int = 0

    def plus(self, other: Sums) -> Sums:
        return Sums(*(a + b for a, b in zip(self, other, strict=True)))


Name = date | str | int  # of a group: a day, a model, or the row id of a key or member, 0 for none
Days = Mapping[date, Mapping[Name, Sums]]


class Projection(NamedTuple):
    """What this month comes to, if the days that are left are like the last `days` full ones."""

    spent_micros: int
    per_day_micros: int
    days: int
    days_left: int

    @property
    def amount_micros(self) -> int:
        return self.spent_micros + self.per_day_micros * self.days_left


@dataclass(frozen=True, slots=True)
class Record:
    """One settled run, as the statement lists it."""

    reference: UUID
    model: str
    status: str
    key_id: int | None
    user_id: int | None
    amount_micros: int
    occurred_at: datetime


def by_day(
    workspace_id: int, group: Group, first: date, last: date, *, book: str | None = None
) -> dict[date, dict[Name, Sums]]:
    """What was used on each day from `first` to `last`, by the group's names; days without usage are missing."""
    return _by_step("day", workspace_id, group, first, last, book)


def by_week(
    workspace_id: int, group: Group, first: date, last: date, *, book: str | None = None
) -> dict[date, dict[Name, Sums]]:
    """What was used in each week, by its Monday, as `by_day` says it of days; only days from `first` to `last` count,
    so that the weeks at both ends may be parts of one."""
    # 1900 began on a Monday.
    return _by_step("day - (day - date '1900-01-01') %% 7", workspace_id, group, first, last, book)


def _by_step(
    step: str, workspace_id: int, group: Group, first: date, last: date, book: str | None
) -> dict[date, dict[Name, Sums]]:
    """Summed up by the database, which has ten thousands of rows for a busy year, and told past the ORM, which takes
    longer to hand the sums over than the database to find them."""
    found: dict[date, dict[Name, Sums]] = {}
    query = f"""
        SELECT {step}, {COLUMNS[group] if group is not Group.DAY else step},
               sum(runs)::bigint, sum(not_charged)::bigint, sum(amount_micros)::bigint,
               sum(refunded_micros)::bigint
          FROM billing_usageday WHERE workspace_id = %s AND book = %s AND day BETWEEN %s AND %s GROUP BY 1, 2"""  # noqa: S608 - made of constants
    with connection.cursor() as cursor:
        cursor.execute(query, [workspace_id, current_book(book), first, last])
        for day, name, *sums in cursor:
            found.setdefault(day, {})[name] = Sums(*sums)
    return found


def by(
    workspace_id: int, group: Group, first: date, last: date, *, book: str | None = None
) -> dict[Name, Sums]:
    """What was used from `first` to `last` by the group's names: days in order, all else by what it cost."""
    rows = (
        _days(workspace_id, book)
        .filter(day__range=(first, last))
        .values_list(COLUMNS[group])
        .annotate(Sum("runs"), Sum("not_charged"), Sum("amount_micros"), Sum("refunded_micros"))
    )
    order = [COLUMNS[group]] if group is Group.DAY else ["-amount_micros__sum", "-runs__sum", COLUMNS[group]]
    return {name: Sums(*sums) for name, *sums in rows.order_by(*order)}


def of_keys(
    workspace_id: int, key_ids: Iterable[int], *, book: str | None = None, now: datetime | None = None
) -> dict[int, tuple[int, int]]:
    """What each key was charged today and this month, by its row id; those that were not are missing."""
    today = (now or timezone.now()).astimezone(UTC).date()
    rows = (
        _days(workspace_id, book)
        .filter(day__range=(today.replace(day=1), today), key_id__in=list(key_ids))
        .values_list("key_id")
        .annotate(day=Sum("amount_micros", filter=Q(day=today), default=0), month=Sum("amount_micros"))
    )
    return {key: (day, month) for key, day, month in rows}


def runs_this_month(
    workspace_id: int, model: str, *, book: str | None = None, now: datetime | None = None
) -> int:
    """The workspace's volume of a model, by which tiers go: its runs, by whatever key or member and of any version,
    that were settled since the 1st of this month of UTC, without those that cost nothing as they did not succeed.

    Runs that are open do not count yet, so a run's tier is that of what was settled when it was quoted.
    """
    today = (now or timezone.now()).astimezone(UTC).date()
    days = _days(workspace_id, book).filter(day__range=(today.replace(day=1), today), model=model)
    sums = days.aggregate(runs=Sum("runs", default=0), not_charged=Sum("not_charged", default=0))
    return int(sums["runs"] - sums["not_charged"])


def reach(*, now: datetime | None = None) -> tuple[date, date]:
    """The first and the last of the days that a projection looks at."""
    today = (now or timezone.now()).astimezone(UTC).date()
    return min(today.replace(day=1), today - timedelta(days=AVERAGE_DAYS)), today


def projection(
    workspace_id: int, *, known: Days | None = None, book: str | None = None, now: datetime | None = None
) -> Projection:
    """What the month comes to: what was spent, and for each day that is left after today the average of the last seven
    full days, or of as many as there are since the first usage. Today counts as spent so far.

    `known` is what `by_day` has found on all days of `reach`, and perhaps on others, where the caller has asked it.
    """
    first, today = reach(now=now)
    if known is None:
        known = by_day(workspace_id, Group.DAY, first, today, book=book)
    spent = {day: sum(sums.amount_micros for sums in groups.values()) for day, groups in known.items()}
    since = today - timedelta(days=AVERAGE_DAYS)
    if not any(day <= since for day in spent):
        since = max(since, _days(workspace_id, book).aggregate(first=Min("day"))["first"] or today)
    days = (today - since).days
    month = sum(micros for day, micros in spent.items() if today.replace(day=1) <= day <= today)
    recent = sum(micros for day, micros in spent.items() if since <= day < today)
    left = monthrange(today.year, today.month)[1] - today.day
    per_day = round(recent / days / ROUND) * ROUND if days else 0
    return Projection(month, per_day, days, left)


def open_holds(workspace_id: int, *, book: str | None = None) -> int:
    """How many runs hold credit now."""
    return Hold.objects.filter(workspace_id=workspace_id, book=current_book(book), state="open").count()


def records(workspace_id: int, first: date, last: date, *, book: str | None = None) -> Iterator[list[Record]]:
    """Every settled run from `first` to `last`, newest first, so many at a time: there may be millions."""
    rows = UsageRecord.objects.filter(workspace_id=workspace_id, book=current_book(book))
    rows = rows.filter(occurred_at__gte=_midnight(first)).order_by(*RECENT)
    fields = ("reference", "model", "status", "key_id", "user_id", "amount_micros", "occurred_at", "id")
    beyond = Q(occurred_at__lt=_midnight(last + timedelta(days=1)))
    while True:
        chunk = list(rows.filter(beyond).values_list(*fields)[:CHUNK])
        if chunk:
            yield [Record(*row[:-1]) for row in chunk]
        if len(chunk) < CHUNK:
            return
        *_, moment, row_id = chunk[-1]
        beyond = Q(occurred_at__lte=moment) & (Q(occurred_at__lt=moment) | Q(id__lt=row_id))


class Charge(NamedTuple):
    """What runs of one model at one unit price were charged in one step of time; `at` is its beginning, None where the
    whole range is one. `key_id` and `user_id` are 0 for none, and where it is not asked by whom."""

    at: datetime | None
    model: str
    key_id: int
    user_id: int
    unit: str
    unit_price: Decimal
    quantity: Decimal
    runs: int
    amount_micros: int


STEPS = ("minute", "hour", "day", "week", "month")  # of UTC
_CHARGES = """
    SELECT {step}, model, {who}, unit, unit_price, sum(quantity), count(*), sum(amount_micros)::bigint
      FROM (
        SELECT occurred_at, model, coalesce(key_id, 0) AS key_id, coalesce(user_id, 0) AS user_id, amount_micros,
               CASE WHEN is_one THEN line ->> 'unit' ELSE 'request' END AS unit,
               CASE WHEN is_one THEN (line ->> 'unit_price')::numeric ELSE amount_micros / 1e6 END AS unit_price,
               CASE WHEN is_one THEN (line ->> 'quantity')::numeric ELSE 1 END AS quantity
          FROM (
            SELECT *, quote -> 'lines' -> 0 AS line,
                   coalesce(jsonb_array_length(quote -> 'lines'), 0) = 1 AND quote ->> 'done_share' = '1' AS is_one
              FROM billing_usagerecord
             WHERE workspace_id = %(workspace)s AND book = %(book)s AND amount_micros > 0
               AND occurred_at >= %(since)s AND occurred_at < %(until)s
               AND (%(models)s::text[] IS NULL OR model = ANY (%(models)s))
               AND (%(keys)s::bigint[] IS NULL OR key_id = ANY (%(keys)s))
               AND (%(users)s::bigint[] IS NULL OR user_id = ANY (%(users)s))
          ) AS charged
      ) AS lines
     GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 5, 6
     LIMIT %(most)s OFFSET %(skip)s"""


def charges(
    workspace_id: int,
    since: datetime,
    until: datetime,
    *,
    step: str | None = None,
    by_whom: bool = False,
    models: Collection[str] | None = None,
    key_ids: Collection[int] | None = None,
    user_ids: Collection[int] | None = None,
    skip: int = 0,
    most: int = CHUNK,
    book: str | None = None,
) -> list[Charge]:
    """What was charged from `since` on, before `until`, by step of time, model, unit and unit price; `most` of it at
    most, without the first `skip`.

    A run that was priced in several units, or of which only a part was done, is told as one `request`.
    """
    if step is not None and step not in STEPS:
        raise ValueError(f"{step!r} is no step of time")
    query = _CHARGES.format(
        step=f"date_trunc('{step}', occurred_at, 'UTC')" if step else "NULL::timestamptz",
        who="key_id, user_id" if by_whom else "0::bigint, 0::bigint",
    )
    asked: dict[str, Any] = {
        "workspace": workspace_id,
        "book": current_book(book),
        "since": since,
        "until": until,
        "models": list(models) if models is not None else None,
        "keys": list(key_ids) if key_ids is not None else None,
        "users": list(user_ids) if user_ids is not None else None,
        "most": most,
        "skip": skip,
    }
    with connection.cursor() as cursor:
        cursor.execute(query, asked)
        return [Charge(*row) for row in cursor]


def charged_runs(
    workspace_id: int,
    since: datetime,
    until: datetime,
    *,
    models: Collection[str] | None = None,
    references: Collection[UUID] | None = None,
    key_ids: Collection[int] | None = None,
    user_ids: Collection[int] | None = None,
    book: str | None = None,
) -> QuerySet[UsageRecord]:
    """The runs that cost something, each by its `public_id`; `RECENT` is their order, newest first."""
    rows = UsageRecord.objects.filter(workspace_id=workspace_id, book=current_book(book), amount_micros__gt=0)
    rows = rows.filter(occurred_at__gte=since, occurred_at__lt=until).annotate(public_id=F("reference"))
    asked = {"model__in": models, "reference__in": references, "key_id__in": key_ids, "user_id__in": user_ids}
    return rows.filter(**{name: value for name, value in asked.items() if value is not None})


def references(workspace_id: int, *, book: str | None = None) -> QuerySet[UsageRecord]:
    """The settled runs of a workspace for good, each by its `public_id`; `RECENT` is their order, newest first."""
    rows = UsageRecord.objects.filter(workspace_id=workspace_id, book=current_book(book))
    return rows.annotate(public_id=F("reference")).only("id", "occurred_at", "reference")


def refunds(workspace_id: int, references: Collection[UUID], *, book: str | None = None) -> dict[UUID, int]:
    """What was given back of the charges of these runs; those of which nothing was are missing."""
    rows = Refund.objects.filter(workspace_id=workspace_id, book=current_book(book), reference__in=references)
    return dict(rows.values_list("reference").annotate(total=Sum("amount_micros")))


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _days(workspace_id: int, book: str | None) -> QuerySet[UsageDay]:
    return UsageDay.objects.filter(workspace_id=workspace_id, book=current_book(book)).order_by()
