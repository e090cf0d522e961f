"""What a workspace used and paid, as people and programs read it: ranges, names, receipts and the lines of a file.

Hides that the ledger knows keys and members by number only, and that a cell of a spreadsheet may be a formula.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypedDict
from uuid import UUID

from django.conf import settings
from django.urls import reverse
from django.utils import timezone

from billing import usage
from billing.usage import Group, Name, Sums
from marketplace.ids import encode, parse
from marketplace.models import ApiKey, User, Workspace
from playground.models import Prediction

DEFAULT_DAYS = 30
MAX_DAYS = 366
MICROS = 1_000_000
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")  # below zero too: no formula
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
CSV_HEAD = (
    "settled_at",
    "prediction",
    "model",
    "status",
    "key_id",
    "key",
    "member",
    "amount_usd",
    "amount_micros",
)


class BadRange(ValueError):
    """The range cannot be shown; `field` names the end that is wrong and the message says why."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True)
class Range:
    """Days of UTC, both ends within."""

    first: date
    last: date

    @property
    def days(self) -> list[date]:
        return [self.first + timedelta(days=n) for n in range((self.last - self.first).days + 1)]


@dataclass(frozen=True, slots=True)
class Named:
    """A key or a member by what people know it by. Empty for none, and for what is no more."""

    uid: str = ""
    name: str = ""
    detail: str = ""  # a key's prefix, a member's address


class ReceiptJson(TypedDict):
    """What one run cost and why. Amounts are integer micro-dollars, times ISO 8601 in UTC.

    A receipt outlives its run: two days after that was deleted it is what the books keep, without `via` and
    `started_at`, and with the lines that were charged.
    """

    prediction: str
    is_deleted: bool
    model: str
    status: str
    via: str | None
    lines: list[dict[str, Any]]
    quoted_micros: int
    held_micros: int
    charged_micros: int | None
    released_micros: int | None
    currency: str
    created_at: str
    started_at: str | None
    settled_at: str | None
    urls: dict[str, str | None]


class UsageSumsJson(TypedDict):
    """What runs came to."""

    runs: int
    not_charged_runs: int
    amount_micros: int


UsageJson = TypedDict(
    "UsageJson",
    {
        "from": str,
        "to": str,
        "group_by": str,
        "currency": str,
        "total": UsageSumsJson,
        "results": list[dict[str, Any]],
    },
)


def today() -> date:
    return timezone.now().astimezone(UTC).date()


def range_of(first: str, last: str) -> Range:
    """The range that two texts spell; each may be empty, for the last thirty days. Raises BadRange."""
    end = _day("to", last) if last else today()
    begin = _day("from", first) if first else max(date.min + timedelta(1), end - timedelta(DEFAULT_DAYS - 1))
    if begin > end:
        raise BadRange("from", "must not be after the last day")
    if (end - begin).days >= MAX_DAYS:
        raise BadRange("from", f"must be at most {MAX_DAYS} days before the last day")
    return Range(begin, end)


def _day(field: str, text: str) -> date:
    try:
        found = date.fromisoformat(text) if len(text) == 10 else None
    except ValueError:
        found = None
    if found is None or not 2000 <= found.year < 9999:
        raise BadRange(field, "must be a day like 2027-01-31")
    return found


def names_of(workspace: Workspace, group: Group, ids: Iterable[Name]) -> dict[Name, Named]:
    """Who or what the row ids of a group are. Models and days are their own names."""
    wanted = {one for one in ids if isinstance(one, int) and one}
    if group is Group.KEY:
        rows = ApiKey.objects.filter(workspace=workspace, pk__in=wanted)
        return {row.pk: Named(row.uid, row.name, f"vt_{row.key_id}") for row in rows}
    if group is Group.MEMBER:
        people = User.objects.filter(pk__in=wanted)
        return {row.pk: Named(encode(row.public_id, "u"), row.get_short_name(), row.email) for row in people}
    return {}


def usage_json(workspace: Workspace, span: Range, group: Group) -> UsageJson:
    """`GET /api/v1/usage`: the sums of a range by one group; by day, every day of it."""
    found = usage.by(workspace.pk, group, span.first, span.last)
    total = Sums()
    for sums in found.values():
        total = total.plus(sums)
    names = names_of(workspace, group, found)
    if group is Group.DAY:
        found = {day: found.get(day, Sums()) for day in span.days}
    return {
        "from": span.first.isoformat(),
        "to": span.last.isoformat(),
        "group_by": group.value,
        "currency": "USD",
        "total": _sums_json(total),
        "results": [
            {group.value: _name_json(group, name, names), **_sums_json(sums)} for name, sums in found.items()
        ],
    }


def _sums_json(sums: Sums) -> UsageSumsJson:
    return {
        "runs": sums.runs,
        "not_charged_runs": sums.not_charged,
        "amount_micros": sums.amount_micros,
    }


def _name_json(group: Group, name: Name, names: Mapping[Name, Named]) -> Any:
    if isinstance(name, date):
        return name.isoformat()
    if group is Group.MODEL:
        return name
    known = names.get(name)
    if known is None:
        return None
    return {"id": known.uid, "name": known.name} | ({"prefix": known.detail} if group is Group.KEY else {})


class NoSuchRun(LookupError):
    """The workspace never had such a run."""


def receipts(workspace: Workspace, public_ids: Sequence[UUID]) -> list[ReceiptJson]:
    """The receipts of these runs of the workspace, in this order, also of deleted ones. Three statements for all.

    Those that the workspace never had are left out.
    """
    rows = Prediction.objects.filter(workspace=workspace, public_id__in=public_ids)
    found = {row.public_id: _receipt(row) for row in rows}
    gone = [one for one in public_ids if one not in found]
    if gone:
        kept = usage.settled(workspace.pk, gone)
        found |= {one: _receipt_by_the_books(row) for one, row in kept.items()}
    return [found[one] for one in public_ids if one in found]


def receipt(workspace: Workspace, public_id: str) -> ReceiptJson:
    """What a run was quoted, what of it was held, and what of that was charged and released; null while it is open.

    By any spelling of its id. Raises NoSuchRun.
    """
    number = parse(public_id, "p")
    found = receipts(workspace, [number]) if number is not None else []
    if not found:
        raise NoSuchRun("There is no such prediction in this workspace.")
    return found[0]


def _receipt(row: Prediction) -> ReceiptJson:
    return {
        "prediction": row.uid,
        "is_deleted": row.deletion_id is not None,
        "model": row.model,
        "status": row.status,
        "via": row.via,
        "lines": list(row.quote.get("lines", [])),
        "quoted_micros": int(row.quote.get("amount_micros", row.held_micros)),
        "held_micros": row.held_micros,
        "charged_micros": row.cost_micros,
        "released_micros": row.held_micros - row.cost_micros if row.cost_micros is not None else None,
        "currency": "USD",
        "created_at": row.created_at.isoformat(),
        "started_at": row.started_at.isoformat() if row.started_at else None,
        "settled_at": row.finished_at.isoformat() if row.finished_at else None,
        "urls": _receipt_urls(row.uid, is_deleted=row.deletion_id is not None),
    }


def _receipt_by_the_books(row: usage.Settled) -> ReceiptJson:
    uid = encode(row.reference, "p")
    return {
        "prediction": uid,
        "is_deleted": True,
        "model": row.model,
        "status": row.status,
        "via": None,
        "lines": list(row.quote.get("lines", [])),
        "quoted_micros": row.held_micros,  # a hold is the quote
        "held_micros": row.held_micros,
        "charged_micros": row.amount_micros,
        "released_micros": row.held_micros - row.amount_micros,
        "currency": "USD",
        "created_at": row.opened_at.isoformat(),
        "started_at": None,
        "settled_at": row.occurred_at.isoformat(),
        "urls": _receipt_urls(uid, is_deleted=True),
    }


def _receipt_urls(uid: str, *, is_deleted: bool) -> dict[str, str | None]:
    return {
        "get": settings.PUBLIC_URL + reverse("api-receipt", args=[uid]),
        "prediction": None if is_deleted else settings.PUBLIC_URL + reverse("api-prediction", args=[uid]),
        "page": None if is_deleted else settings.PUBLIC_URL + reverse("prediction", args=[uid]),
    }


def csv_name(workspace: Workspace, span: Range) -> str:
    """What the file of a range is called."""
    return f"vitrine-usage-{workspace.slug}-{span.first}-{span.last}.csv"


def csv_lines(workspace: Workspace, span: Range) -> Iterator[str]:
    """Every settled run of the range as lines of CSV (RFC 4180), newest first, read as they are asked for."""
    yield csv_line(CSV_HEAD)
    keys: dict[Name, Named] = {}
    members: dict[Name, Named] = {}
    for chunk in usage.records(workspace.pk, span.first, span.last):
        for group, known, ids in (
            (Group.KEY, keys, {row.key_id or 0 for row in chunk}),
            (Group.MEMBER, members, {row.user_id or 0 for row in chunk}),
        ):
            new = ids - set(known)
            known |= dict.fromkeys(new, Named()) | names_of(workspace, group, new)
        for row in chunk:
            key, member = keys[row.key_id or 0], members[row.user_id or 0]
            yield csv_line(
                (
                    _moment(row.occurred_at),
                    encode(row.reference, "p"),
                    row.model,
                    row.status,
                    key.detail,
                    key.name,
                    member.detail,
                    f"{row.amount_micros // MICROS}.{row.amount_micros % MICROS:06}",
                    str(row.amount_micros),
                )
            )


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def csv_line(cells: Iterable[str]) -> str:
    """One line of a file (RFC 4180), with cells that no spreadsheet takes for formulas."""
    out = io.StringIO()
    csv.writer(out).writerow([_inert(cell) for cell in cells])
    return out.getvalue()


def _inert(cell: str) -> str:
    """What a spreadsheet would take for a formula begins with an apostrophe, which it takes for text."""
    if NUMBER.fullmatch(cell):
        return cell
    return f"'{cell}" if cell.lstrip().startswith(FORMULA) or cell.startswith(FORMULA) else cell
