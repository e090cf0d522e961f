"""Beginning payouts: when one is asked for, and by itself once a month, of whole cents that have matured.

The row and the movement in the ledger are one transaction under the lock of the publisher's account, so that of many
requests at once one begins a payout, and nothing is paid out twice.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, date, datetime

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from billing import ledger
from billing.gateway.client import is_configured
from billing.ledger.accounts import current_book
from billing.letters import dollars
from billing.models.attempts import CENT_MICROS
from billing.models.payouts import Method, Payout, PayoutAccount
from billing.months import following
from billing.payouts import accounts, letters, sending
from billing.payouts.errors import Refused
from marketplace import dispatch
from marketplace.models import Publisher, User

log = logging.getLogger(__name__)

RUN_TASK = "billing.run_payouts"
EVERY_SECONDS = 3600
MONTHS = 12


@dataclass(frozen=True)
class Outlook:
    """What a publisher can be paid now, why not if it cannot, and when the next payout comes by itself.

    `next_on` is None where none does, or nobody can say before the account is ready. `amount_micros` is what a payout
    now would be.
    """

    balance: ledger.Earnings
    amount_micros: int
    least_micros: int
    obstacle: str
    next_on: date | None

    @property
    def can_pay(self) -> bool:
        return not self.obstacle


def outlook(row: PayoutAccount, *, now: datetime | None = None) -> Outlook:
    """What can be paid to whom this row is of."""
    at = now or timezone.now()
    found = ledger.publisher_balance(row.publisher_id, book=row.book)
    amount = max(0, found.payable_micros - found.payable_micros % CENT_MICROS)
    least = accounts.least(row)
    obstacle = _obstacle(row) or _too_little(found.payable_micros, amount, least)
    most = found.payable_micros + max(0, found.pending_micros)
    return Outlook(found, amount, least, obstacle, _expected_on(row, at, is_possible=most >= least))


def _expected_on(row: PayoutAccount, at: datetime, *, is_possible: bool) -> date | None:
    """The day of the next automatic payout, for who waits for it: of a day on which there cannot be enough, it is the
    one a month later, as `run` will have it."""
    day = next_on(row, now=at) if row.is_connected else None
    if day is None or is_possible or day > at.astimezone(UTC).date():
        return day
    return _a_month_after(day)


def next_on(row: PayoutAccount, *, now: datetime) -> date | None:
    """The day of the next automatic payout; None where there is none."""
    if not row.is_automatic or row.is_held or row.method == Method.NONE:
        return None
    today = now.astimezone(UTC).date()
    this = today.replace(day=settings.PAYOUT_DAY)
    if row.considered_for is None or row.considered_for < this.replace(day=1):
        return max(this, today)
    return _a_month_after(this)


def _a_month_after(day: date) -> date:
    return following(day).replace(day=settings.PAYOUT_DAY)


def _obstacle(row: PayoutAccount) -> str:
    if row.is_held:
        return f"The operator holds payouts back: {row.hold_reason}"
    if row.method == Method.NONE:
        return "Say first how you want to be paid."
    if row.method not in accounts.methods():
        return "This installation does not pay that way at present."
    if not row.is_connected:
        return "The account to be paid to is not ready yet."
    if Payout.objects.filter(publisher=row.publisher_id, book=row.book, status=Payout.Status.NEW).exists():
        return "A payout is under way; the next one can begin after it."
    return ""


def _too_little(payable: int, amount: int, least: int) -> str:
    if payable < 0:
        return (
            f"{dollars(-payable)} was refunded to buyers after it had been paid out, or is of payments that "
            "are disputed. It is taken from what matures next."
        )
    if amount < least:
        return f"{dollars(payable)} has matured; payouts begin at {dollars(least)}."
    return ""


def start(
    publisher: Publisher,
    *,
    by: User | None,
    kind: Payout.Kind = Payout.Kind.REQUESTED,
    now: datetime | None = None,
    book: str | None = None,
) -> Payout:
    """Pay out all whole cents that have matured. Raises Refused.

    Stripe is asked afterwards, by control: `status` says how far it is.
    """
    at = now or timezone.now()
    with transaction.atomic():
        row = accounts.locked(publisher, book=book)
        if not row.is_held:
            ledger.mature(publisher.pk, delay=accounts.delay(row), now=at, book=row.book)
        found = outlook(row, now=at)
        if found.obstacle:
            raise Refused(found.obstacle)
        payout = Payout.objects.create(
            publisher=publisher,
            book=row.book,
            method=row.method,
            kind=kind,
            amount_micros=found.amount_micros,
            destination=row.account_id if row.method == Method.STRIPE else row.bank_details,
            by=by,
            due_at=min(
                at, timezone.now()
            ),  # begun for a day to come, it is asked for at once: Stripe has one clock
            created_at=at,
        )
        if row.method == Method.MANUAL:
            letters.tell_manual(payout)
        else:
            transaction.on_commit(lambda: sending.hint(payout.uid), robust=True)
        ledger.payout_started(payout.public_id, publisher.pk, payout.amount_micros, book=row.book, now=at)
    return payout


def run(*, now: datetime | None = None, book: str | None = None) -> tuple[int, list[Payout]]:
    """Let mature what is old enough, and begin the month's payouts: what matured, in micro-dollars, and the payouts.

    Safe to repeat, and at once in several places. A publisher that cannot be paid keeps nobody else waiting.
    """
    at, book = now or timezone.now(), current_book(book)
    rows = PayoutAccount.objects.filter(book=book)
    held = set(rows.filter(held_at__isnull=False).values_list("publisher_id", flat=True))
    own = {row.publisher_id: accounts.delay(row) for row in rows.filter(delay_days__isnull=False)}
    matured = ledger.mature(delay=accounts.delay(None), now=at, held_back=held | set(own), book=book)
    for publisher_id, delay in own.items():
        if publisher_id not in held:
            matured += ledger.mature(publisher_id, delay=delay, now=at, book=book)
    begun = []
    for row in (
        rows.filter(is_automatic=True, held_at=None).exclude(method="").select_related("publisher__workspace")
    ):
        try:
            payout = _automatic(row, at)
        except Exception:
            log.exception("the automatic payout of %s could not begin", row)
            continue
        if payout is not None:
            begun.append(payout)
    return matured, begun


def _automatic(row: PayoutAccount, at: datetime) -> Payout | None:
    """The month's payout, once the account is ready: made, or left for the next month if it is too small."""
    day = next_on(row, now=at)
    if day is None or day > at.astimezone(UTC).date() or not row.is_connected:
        return None
    with transaction.atomic():
        fresh = accounts.locked(row.publisher, book=row.book)
        day = next_on(fresh, now=at)
        if day is None or day > at.astimezone(UTC).date() or _obstacle(fresh):
            return None  # another process was faster, or one is under way: then after it
        fresh.considered_for = day.replace(day=1)
        fresh.save(update_fields=["considered_for"])
        try:
            return start(row.publisher, by=None, kind=Payout.Kind.AUTOMATIC, now=at, book=row.book)
        except Refused:
            return None


def hint_due() -> None:
    """Ask control to run, at most once an hour, and to look at accounts that are not ready."""
    dispatch.hint(RUN_TASK, "all", pending_seconds=EVERY_SECONDS)
    if is_configured():
        dispatch.hint(accounts.CHECK_TASK, "all", pending_seconds=int(accounts.CHECK_WAITING.total_seconds()))


@dispatch.follower(RUN_TASK)
def follow_run(key: str) -> None:
    """What the hint asks for."""
    run()
