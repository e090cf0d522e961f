"""What a workspace used and paid, as people and programs read it: ranges, names and the lines of a file.

Hides that the ledger knows keys and members by number only, and that a cell of a spreadsheet may be a formula.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, TypedDict

from django.utils import timezone

from billing import usage
from billing.usage import Group, Name, Sums
from marketplace.ids import encode
from marketplace.models import ApiKey, User, Workspace

DEFAULT_DAYS = 30
MAX_DAYS = 366
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
    "refunded_usd",
    "refunded_micros",
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


class UsageSumsJson(TypedDict):
    """What runs came to. `refunded_micros` was given back in that time, of whatever runs: it is not taken off."""

    runs: int
    not_charged_runs: int
    amount_micros: int
    refunded_micros: int


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
        "refunded_micros": sums.refunded_micros,
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
        refunds = usage.refunds(workspace.pk, [row.reference for row in chunk])
        for row in chunk:
            key, member = keys[row.key_id or 0], members[row.user_id or 0]
            refunded = refunds.get(row.reference, 0)
            yield csv_line(
                (
                    _moment(row.occurred_at),
                    encode(row.reference, "p"),
                    row.model,
                    row.status,
                    key.detail,
                    key.name,
                    member.detail,
                    usd(row.amount_micros),
                    str(row.amount_micros),
                    usd(refunded),
                    str(refunded),
                )
            )


def usd(micros: int) -> Decimal:
    """Dollars with all six decimals, for programs."""
    return Decimal(micros).scaleb(-6)


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def csv_line(cells: Iterable[str | int | Decimal]) -> str:
    """One line of a file (RFC 4180): text that no spreadsheet takes for a formula, and numbers as they are."""
    out = io.StringIO()
    csv.writer(out).writerow([_inert(cell) if isinstance(cell, str) else cell for cell in cells])
    return out.getvalue()


def _inert(cell: str) -> str:
    """What a spreadsheet would take for a formula begins with an apostrophe, which it takes for text."""
    return f"'{cell}" if cell.lstrip().startswith(FORMULA) or cell.startswith(FORMULA) else cell
