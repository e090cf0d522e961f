"""Invoices: each month of a workspace by model, unit and price, and its credit before and after, to the micro-dollar.

Nothing is due on them: runs are paid from credit as they end. While a month lasts it is shown as it is so far; once it
is over it is written down under the next number and never changes. What was refunded stands in the month in which it
was, so a month that is over has no news. opening + what came and went - charged + refunded = closing, where a run
counts in the month in which it was settled and what open runs hold is still the workspace's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Min, Sum
from django.db.models.functions import TruncMonth
from django.urls import reverse
from django.utils import timezone

from billing.ledger.accounts import AccountName, Kind, current_book
from billing.letters import to_payers
from billing.models import Invoice, InvoiceRecipient, UsageDay
from billing.months import following
from billing.receipts import dollars
from marketplace import dispatch
from marketplace.models import Workspace

GRACE = timedelta(hours=2)  # after a month's end, in which what was settled before it is committed for sure
ISSUE_TASK = "billing.issue_invoice"
AT_ONCE = 5000
_NUMBERS = (0x696E76, 0)  # of the lock on the numbers: one is issued at a time
MOVEMENTS = {
    "purchase": "Credit bought",
    "grant": "Credit granted",
    "topup_refund": "Bought credit refunded",
    "topup_refund_failed": "Refund of bought credit that failed",
    "topup_refund_returned": "Refund of bought credit that came back",
    "dispute": "Payment disputed",
    "reinstated": "Dispute won",
    "expired": "Granted credit that expired",
}
REFUND = "refund"
BEGINNING = date(1970, 1, 1)


class NoSuchMonth(LookupError):
    """The workspace had no such month: it is to come, or was before its first."""


class Line(NamedTuple):
    """One unit of one model at one price. `is_part`: of runs that were canceled while they ran, charged in part.

    Runs are rounded up once each, so quantity × price may be less than the amount, by a micro-dollar a run.
    """

    model: str
    unit: str
    quantity: str
    unit_price: str
    amount_micros: int
    runs: int
    is_part: bool


class Movement(NamedTuple):
    """What came into the balance, or went out of it, other than by runs."""

    kind: str
    words: str
    amount_micros: int


class Recipient(NamedTuple):
    """Whom it is made out to."""

    name: str = ""
    address: str = ""
    tax_id: str = ""


@dataclass(frozen=True, slots=True)
class Month:
    """A month of a workspace. `number` and `issued_at` only once it is over: until then it is as it is so far."""

    month: date
    workspace: str
    book: str
    recipient: Recipient
    sender: tuple[str, ...]
    lines: tuple[Line, ...]
    movements: tuple[Movement, ...]
    runs: int
    not_charged_runs: int
    charged_micros: int
    refunded_micros: int
    opening_micros: int
    closing_micros: int
    number: str = ""
    issued_at: datetime | None = None

    @property
    def is_final(self) -> bool:
        return bool(self.number)

    @property
    def last_day(self) -> date:
        return following(self.month) - timedelta(days=1)


class Listed(NamedTuple):
    """A month in short, for the list of them."""

    month: date
    charged_micros: int
    refunded_micros: int
    number: str


def months(workspace_id: int, *, now: datetime | None = None, book: str | None = None) -> list[Listed]:
    """The months in which there was usage or a refund, newest first, the present one always among them."""
    book, this = current_book(book), _today(now).replace(day=1)
    numbers = dict(
        Invoice.objects.filter(workspace_id=workspace_id, book=book).values_list("month", "number")
    )
    rows = (
        UsageDay.objects.filter(workspace_id=workspace_id, book=book)
        .annotate(month=TruncMonth("day"))
        .order_by()
        .values_list("month")
        .annotate(Sum("amount_micros"), Sum("refunded_micros"))
    )
    found = {this: (0, 0)} | dict.fromkeys(numbers, (0, 0))
    found |= {month: (charged, refunded) for month, charged, refunded in rows if month <= this}
    return [Listed(month, *found[month], numbers.get(month, "")) for month in sorted(found, reverse=True)]


def of(workspace: Workspace, month: date, *, now: datetime | None = None, book: str | None = None) -> Month:
    """The month, written down now if it is over and was not yet. Raises NoSuchMonth."""
    book, first = current_book(book), month.replace(day=1)
    row = Invoice.objects.filter(workspace=workspace, book=book, month=first).first()
    if row is None:
        at = now or timezone.now()
        _known(workspace, first, at, book)
        if at < _midnight(following(first)) + GRACE:
            return _drawn(workspace, first, book=book)
        drawn = _drawn(workspace, first, book=book)
        if not (drawn.runs or drawn.refunded_micros or drawn.movements):
            raise NoSuchMonth("Nothing happened in this month.")
        row = _issue(workspace, drawn, at)
    return _read(row)


def find_due(*, now: datetime | None = None, book: str | None = None) -> int:
    """Have the last month written down for every workspace that used something in it; how many are about to be."""
    book, at = current_book(book), now or timezone.now()
    this = _today(at).replace(day=1)
    if at < _midnight(this) + GRACE:
        return 0
    last = (this - timedelta(days=1)).replace(day=1)
    used = UsageDay.objects.filter(book=book, day__gte=last, day__lt=this)
    done = Invoice.objects.filter(book=book, month=last).values("workspace_id")
    wanted = (
        used.exclude(workspace_id__in=done).order_by("workspace_id").values_list("workspace_id", flat=True)
    )
    found = list(wanted.distinct()[:AT_ONCE])
    with transaction.atomic():
        for workspace_id in found:
            message = {"workspace": workspace_id, "month": last.isoformat(), "book": book}
            dispatch.post(ISSUE_TASK, message)
    return len(found)


@dispatch.handler(ISSUE_TASK)
def issue(payload: dispatch.Payload) -> None:
    """Write a month of a workspace down and mail it, unless it was written already."""
    workspace = Workspace.objects.get(pk=payload["workspace"])
    first, book = date.fromisoformat(payload["month"]), payload["book"]
    if Invoice.objects.filter(workspace=workspace, book=book, month=first).exists():
        return
    row = _issue(workspace, _drawn(workspace, first, book=book), timezone.now())
    if row.charged_micros and workspace.closed_at is None:
        _tell(workspace, row)


def recipient_of(workspace: Workspace) -> Recipient:
    """Whom the workspace's invoices are made out to from now on; without anything said, to its name."""
    row = InvoiceRecipient.objects.filter(workspace=workspace).first()
    return Recipient(row.name, row.address, row.tax_id) if row is not None else Recipient()


def make_out_to(workspace: Workspace, recipient: Recipient) -> None:
    """Make the invoices from now on out to them; those that were issued stay as they are."""
    InvoiceRecipient.objects.update_or_create(workspace=workspace, defaults=recipient._asdict())


def _known(workspace: Workspace, first: date, at: datetime, book: str) -> None:
    this = _today(at).replace(day=1)
    days = UsageDay.objects.filter(workspace=workspace, book=book).aggregate(first=Min("day"))
    begins = min(workspace.created_at.astimezone(UTC).date(), days["first"] or this).replace(day=1)
    if not begins <= first <= this:
        raise NoSuchMonth("There is no such month of this workspace.")


def _issue(workspace: Workspace, drawn: Month, at: datetime) -> Invoice:
    """Write down a month that is over; of two at once one does."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", _NUMBERS)
        rows = Invoice.objects.filter(book=drawn.book)
        row = rows.filter(workspace=workspace, month=drawn.month).first()
        if row is not None:
            return row
        numbered = rows.filter(month__year=drawn.month.year).count() + 1
        return Invoice.objects.create(
            workspace=workspace,
            book=drawn.book,
            month=drawn.month,
            number=f"{'TEST-' if drawn.book == 'test' else ''}{drawn.month.year}-{numbered:06}",
            charged_micros=drawn.charged_micros,
            refunded_micros=drawn.refunded_micros,
            opening_micros=drawn.opening_micros,
            closing_micros=drawn.closing_micros,
            content=_content(drawn),
            issued_at=at,
        )


def _content(drawn: Month) -> dict[str, Any]:
    return {
        "workspace": drawn.workspace,
        "recipient": list(drawn.recipient),
        "sender": list(drawn.sender),
        "lines": [list(line) for line in drawn.lines],
        "movements": [list(one) for one in drawn.movements],
        "runs": drawn.runs,
        "not_charged_runs": drawn.not_charged_runs,
    }


def _read(row: Invoice) -> Month:
    kept: Mapping[str, Any] = row.content
    return Month(
        month=row.month,
        workspace=kept["workspace"],
        book=row.book,
        recipient=Recipient(*kept["recipient"]),
        sender=tuple(kept["sender"]),
        lines=tuple(Line(*one) for one in kept["lines"]),
        movements=tuple(Movement(*one) for one in kept["movements"]),
        runs=kept["runs"],
        not_charged_runs=kept["not_charged_runs"],
        charged_micros=row.charged_micros,
        refunded_micros=row.refunded_micros,
        opening_micros=row.opening_micros,
        closing_micros=row.closing_micros,
        number=row.number,
        issued_at=row.issued_at,
    )


def _drawn(workspace: Workspace, first: date, *, book: str) -> Month:
    """The month from the records themselves, on from where the last one was written down."""
    last = Invoice.objects.filter(workspace=workspace, book=book, month__lt=first).order_by("-month").first()
    since = following(last.month) if last is not None else BEGINNING
    before, within = _used(workspace.pk, since, first, book)
    came_before, came = _moved(workspace.pk, since, first, book)
    charged, refunded = within["amount"], within["refunded"]
    opening = (last.closing_micros if last is not None else 0) + came_before - before["amount"]
    movements = tuple(
        Movement(kind, MOVEMENTS.get(kind, kind.replace("_", " ").capitalize()), amount)
        for kind, amount in sorted(came.items())
        if amount and kind != REFUND
    )
    returned = came.get(REFUND, 0)
    return Month(
        month=first,
        workspace=workspace.name,
        book=book,
        recipient=recipient_of(workspace),
        sender=tuple(line.strip() for line in settings.INVOICE_FROM.split(";") if line.strip()),
        lines=tuple(_lines(workspace.pk, first, book, charged)),
        movements=movements,
        runs=within["runs"],
        not_charged_runs=within["not_charged"],
        charged_micros=charged,
        refunded_micros=refunded,
        opening_micros=opening,
        closing_micros=opening + sum(one.amount_micros for one in movements) + returned - charged,
    )


def _used(workspace_id: int, since: date, first: date, book: str) -> tuple[dict[str, int], dict[str, int]]:
    """The sums of all usage since then until before the month, and of that within."""
    rows = UsageDay.objects.filter(workspace_id=workspace_id, book=book, day__gte=since)
    sums = {
        "amount": Sum("amount_micros", default=0),
        "refunded": Sum("refunded_micros", default=0),
        "runs": Sum("runs", default=0),
        "not_charged": Sum("not_charged", default=0),
    }
    within = rows.filter(day__gte=first, day__lt=following(first))
    return rows.filter(day__lt=first).aggregate(**sums), within.aggregate(**sums)


# The kinds are those of the index `ledger_transaction_moves`, letter by letter. A refund that was made at Stripe
# itself is booked as a dispute is, and is none.
_MOVED = """
SELECT CASE WHEN t.kind IN ('dispute', 'reinstated')
             AND EXISTS (SELECT 1 FROM billing_topuprefund r WHERE r.refund_id = split_part(t.key, ':', 2))
            THEN CASE t.kind WHEN 'dispute' THEN 'topup_refund' ELSE 'topup_refund_returned' END
            ELSE t.kind END, coalesce(sum(e.amount_micros) FILTER (WHERE t.created_at < %(start)s), 0)::bigint,
       coalesce(sum(e.amount_micros) FILTER (WHERE t.created_at >= %(start)s), 0)::bigint
  FROM billing_ledgertransaction t
  JOIN billing_ledgerentry e ON e.transaction_id = t.id
  JOIN billing_ledgeraccount a ON a.id = e.account_id
 WHERE t.book = %(book)s AND t.created_at >= %(since)s AND t.created_at < %(end)s AND a.code = ANY(%(codes)s)
   AND NOT (t.kind IN ('hold', 'capture', 'release', 'mature', 'payout', 'paid_out', 'payout_failed'))
 GROUP BY 1
"""


def _moved(workspace_id: int, since: date, first: date, book: str) -> tuple[int, dict[str, int]]:
    """What came and went other than by runs: in all since then until before the month, and by kind within. Less what
    is on its way back to who bought it."""
    kinds = (Kind.WORKSPACE_GRANTED, Kind.WORKSPACE_BOUGHT, Kind.WORKSPACE_HELD)
    codes = [AccountName(kind, workspace_id).code for kind in kinds]
    times = {"since": _midnight(since), "start": _midnight(first), "end": _midnight(following(first))}
    with connection.cursor() as cursor:
        cursor.execute(_MOVED, {"book": book, "codes": codes, **times})
        rows = cursor.fetchall()
    return sum(before for _, before, _ in rows), {kind: within for kind, _, within in rows}


_LINES = """
SELECT r.model, line ->> 'unit', sum((line ->> 'quantity')::numeric), line ->> 'unit_price',
       sum((line ->> 'amount_micros')::bigint)::bigint, count(DISTINCT r.id),
       coalesce(r.quote ->> 'done_share', '1') <> '1'
  FROM billing_usagerecord r CROSS JOIN LATERAL jsonb_array_elements(r.quote -> 'lines') AS line
 WHERE r.workspace_id = %(workspace)s AND r.book = %(book)s AND r.amount_micros > 0
   AND r.occurred_at >= %(start)s AND r.occurred_at < %(end)s AND jsonb_typeof(r.quote -> 'lines') = 'array'
 GROUP BY 1, 2, 4, 7 ORDER BY 5 DESC, 1, 2, 4, 7
"""


def _lines(workspace_id: int, first: date, book: str, charged_micros: int) -> Sequence[Line]:
    """What was charged by model, unit and price; they add up to the charge."""
    start, end = _midnight(first), _midnight(following(first))
    with connection.cursor() as cursor:
        cursor.execute(_LINES, {"workspace": workspace_id, "book": book, "start": start, "end": end})
        rows = cursor.fetchall()
    lines = [Line(model, unit, _plain(quantity), *rest) for model, unit, quantity, *rest in rows]
    missing = charged_micros - sum(line.amount_micros for line in lines)
    if missing:
        lines.append(Line("Runs without lines", "", "", "", missing, 0, is_part=False))
    return lines


def _plain(number: Decimal) -> str:
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _tell(workspace: Workspace, row: Invoice) -> None:
    """Mail those who look after the workspace's credit."""
    where = f"{settings.PUBLIC_URL}{reverse('invoice', args=[f'{row.month:%Y-%m}'])}"
    text = (
        f"{workspace.name} used {dollars(row.charged_micros)} in {row.month:%B %Y}; "
        f"{dollars(row.refunded_micros)} was given back.\n\n"
        "It was paid from credit as the runs ended, so nothing is due.\n"
        f"The invoice, also as PDF: {where}\n"
    )
    to_payers(workspace, f"{workspace.name}: invoice {row.number} for {row.month:%B %Y}", text)


def _today(now: datetime | None) -> date:
    return (now or timezone.now()).astimezone(UTC).date()


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
