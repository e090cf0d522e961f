"""What a publisher has earned: it matures, is paid out, and now and then comes back.

Balances of publishers are sums of entries. Whatever takes from them locks the publisher's `Maturity` first, so that
two payouts never spend the same earnings; a capture only adds, and waits for nobody.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal
from uuid import UUID

from django.db import connection, transaction
from django.db.models import F, Q, Sum
from django.utils import timezone

from billing.ledger.accounts import AccountName, KeyReused, Kind, current_book, legs_of, post, post_once
from billing.models import LedgerAccount, LedgerEntry, LedgerTransaction, Maturity

KEY_LENGTH = 120
NEVER = datetime(1970, 1, 1, tzinfo=UTC)
ON_PAYABLE = Q(account__kind=Kind.PUBLISHER_PAYABLE)


class InsufficientEarnings(Exception):
    """Less can be paid out than was asked for: `payable_micros`, which may be below zero."""

    def __init__(self, *, payable_micros: int, needed_micros: int) -> None:
        super().__init__(f"{needed_micros} micro-dollars are more than the {payable_micros} that are payable")
        self.payable_micros = payable_micros
        self.needed_micros = needed_micros


class NoSuchPayout(Exception):
    """No payout was started, or none was done, under this id."""


class PayoutSettled(Exception):
    """The payout had ended the other way."""


@dataclass(frozen=True)
class Earnings:
    """A publisher's balances. `payable` may be below zero: what was taken back after it had been paid out.

    `unpayable` was earned from granted credit or from the publisher's own runs; `paid_out` is what has left so far
    and has not come back.
    """

    pending_micros: int
    payable_micros: int
    in_transit_micros: int
    unpayable_micros: int
    paid_out_micros: int


def publisher_balance(publisher_id: int, *, book: str | None = None) -> Earnings:
    """What a publisher has, as of one moment; all zero for who never earned."""
    sums = dict(
        LedgerEntry.objects.filter(account__publisher=publisher_id, account__book=current_book(book))
        .values_list("account__kind")
        .annotate(total=Sum("amount_micros"))
    )
    return Earnings(
        sums.get(Kind.PUBLISHER_PENDING.value, 0),
        sums.get(Kind.PUBLISHER_PAYABLE.value, 0),
        sums.get(Kind.PUBLISHER_IN_TRANSIT.value, 0),
        sums.get(Kind.PUBLISHER_UNPAYABLE.value, 0),
        _paid_out(publisher_id, current_book(book)),
    )


def _paid_out(publisher_id: int, book: str) -> int:
    kinds = LedgerTransaction.Kind
    left = Q(account__kind=Kind.PUBLISHER_IN_TRANSIT, transaction__kind=kinds.PAID_OUT)
    back = ON_PAYABLE & Q(transaction__kind=kinds.PAYOUT_RETURNED)
    codes = [
        AccountName(kind, publisher_id).code for kind in (Kind.PUBLISHER_IN_TRANSIT, Kind.PUBLISHER_PAYABLE)
    ]
    entries = LedgerEntry.objects.filter(left | back, account__book=book, account__code__in=codes)
    return -int(entries.aggregate(total=Sum("amount_micros", default=0))["total"])


# Of captures that are too young, what they earned less what was refunded of it; with it what is pending at all.
_PENDING = """
SELECT coalesce(sum(e.amount_micros), 0)::bigint,
       coalesce(sum(e.amount_micros) FILTER (WHERE t.kind = 'capture' AND t.created_at > %(until)s), 0)::bigint
       - (SELECT coalesce(sum(pending_micros), 0)::bigint FROM billing_refund
           WHERE publisher_id = %(publisher)s AND book = %(book)s AND earned_at > %(until)s)
  FROM billing_ledgeraccount a
  JOIN billing_ledgerentry e ON e.account_id = a.id
  JOIN billing_ledgertransaction t ON t.id = e.transaction_id
 WHERE a.book = %(book)s AND a.code = %(code)s
"""


def mature(
    publisher_id: int | None = None,
    *,
    delay: timedelta,
    now: datetime | None = None,
    held_back: Collection[int] = (),
    book: str | None = None,
) -> int:
    """Makes payable what was earned at least `delay` ago, of one publisher or of all but those `held_back`.

    Returns how many micro-dollars that were; safe to repeat. What matured once stays so if the delay grows later.
    """
    if delay < timedelta(0):
        raise ValueError("nothing matures before it is earned")
    at, book = now or timezone.now(), current_book(book)
    if publisher_id is None:
        earning = LedgerAccount.objects.filter(book=book, kind=Kind.PUBLISHER_PENDING)
        ids = list(earning.order_by("publisher_id").values_list("publisher_id", flat=True))
    else:
        ids = [publisher_id]
    return sum(_mature(one, at, delay, book=book) for one in ids if one is not None and one not in held_back)


def _mature(publisher_id: int, at: datetime, delay: timedelta, *, book: str) -> int:
    with transaction.atomic():
        maturity = lock_maturity(publisher_id, book=book)
        until = max(at - delay, maturity.matured_until)
        pending = AccountName(Kind.PUBLISHER_PENDING, publisher_id)
        with connection.cursor() as cursor:
            cursor.execute(
                _PENDING,
                {"publisher": publisher_id, "book": book, "until": until, "code": pending.code},
            )
            total, young = cursor.fetchone()
        # Counted from what has to stay, so that an earning that was committed late is never left behind.
        amount = int(total - young)
        if amount:
            legs = {pending: -amount, AccountName(Kind.PUBLISHER_PAYABLE, publisher_id): amount}
            key = f"mature:{publisher_id}:{maturity.times}"
            if post(book=book, key=key, kind=LedgerTransaction.Kind.MATURE, legs=legs, at=at) is None:
                raise RuntimeError(f"earnings of publisher {publisher_id} matured under a key that was used")
        row = Maturity.objects.filter(pk=maturity.pk)
        row.update(matured_until=until, times=F("times") + (1 if amount else 0))
    return amount


def maturing(publisher_id: int, *, book: str | None = None) -> dict[date, int]:
    """What is pending by the UTC day on which it was earned, less refunds; days on which nothing is left are missing.

    Add the delay to know when it can be paid out.
    """
    book = current_book(book)
    until = Maturity.objects.filter(publisher=publisher_id, book=book).values_list("matured_until", flat=True)
    with connection.cursor() as cursor:
        cursor.execute(
            _BY_DAY,
            {
                "publisher": publisher_id,
                "book": book,
                "until": until.first() or NEVER,
                "code": AccountName(Kind.PUBLISHER_PENDING, publisher_id).code,
            },
        )
        return {day: int(amount) for day, amount in cursor.fetchall()}


_BY_DAY = """
SELECT (earned_at AT TIME ZONE 'UTC')::date, sum(amount)
  FROM (SELECT t.created_at AS earned_at, e.amount_micros AS amount
          FROM billing_ledgeraccount a
          JOIN billing_ledgerentry e ON e.account_id = a.id
          JOIN billing_ledgertransaction t ON t.id = e.transaction_id
         WHERE a.book = %(book)s AND a.code = %(code)s AND t.kind = 'capture' AND t.created_at > %(until)s
         UNION ALL
        SELECT earned_at, -pending_micros FROM billing_refund
         WHERE publisher_id = %(publisher)s AND book = %(book)s AND earned_at > %(until)s) AS parts
 GROUP BY 1 HAVING sum(amount) <> 0 ORDER BY 1
"""


def payout_started(
    payout: UUID,
    publisher_id: int,
    amount_micros: int,
    *,
    book: str | None = None,
    now: datetime | None = None,
) -> bool:
    """Takes what is to be paid out from what is payable. True if this call did it, False if it had been done.

    Raises `InsufficientEarnings` and `KeyReused`.
    """
    if amount_micros <= 0:
        raise ValueError("a payout is a positive number of micro-dollars")
    book = current_book(book)
    legs = {
        AccountName(Kind.PUBLISHER_PAYABLE, publisher_id): -amount_micros,
        AccountName(Kind.PUBLISHER_IN_TRANSIT, publisher_id): amount_micros,
    }
    key = f"payout:{payout}"
    with transaction.atomic():
        lock_maturity(publisher_id, book=book)
        if legs_of(key, book=book) is None:
            payable = publisher_balance(publisher_id, book=book).payable_micros
            if payable < amount_micros:
                raise InsufficientEarnings(payable_micros=payable, needed_micros=amount_micros)
        kind = LedgerTransaction.Kind.PAYOUT
        return post_once(book=book, key=key, kind=kind, legs=legs, reference=payout, at=now)


def payout_done(
    payout: UUID,
    *,
    paid_from: Literal["stripe", "bank"] = "stripe",
    book: str | None = None,
    now: datetime | None = None,
) -> bool:
    """The payout has left, from the balance at Stripe or from the operator's own bank. True if this call booked it.

    Raises `NoSuchPayout`, and `PayoutSettled` where it had failed.
    """
    outside = {"stripe": Kind.STRIPE_CLEARING, "bank": Kind.PLATFORM_BANK}[paid_from]
    return _end(payout, LedgerTransaction.Kind.PAID_OUT, AccountName(outside), book=book, now=now)


def payout_failed(payout: UUID, *, book: str | None = None, now: datetime | None = None) -> bool:
    """The payout never left: its amount is payable again. True if this call booked it.

    Raises `NoSuchPayout`, and `PayoutSettled` where it had been done: what comes back later is `payout_returned`.
    """
    return _end(payout, LedgerTransaction.Kind.PAYOUT_FAILED, None, book=book, now=now)


def payout_returned(
    payout: UUID,
    amount_micros: int,
    *,
    key: str,
    book: str | None = None,
    now: datetime | None = None,
) -> bool:
    """So much of a payout that was done came back, and is payable again; once per `key` of the payout.

    Raises `NoSuchPayout` where it was not done, `KeyReused`, and ValueError for more than was paid.
    """
    if amount_micros <= 0 or not key or len(key) > KEY_LENGTH:
        raise ValueError("what comes back of a payout is a positive amount with a key of its own")
    book = current_book(book)
    with transaction.atomic():
        publisher_id, paid = _started(payout, book)
        done = legs_of(f"payout_done:{payout}", book=book)
        outside = [kind for kind in (Kind.STRIPE_CLEARING, Kind.PLATFORM_BANK) if kind in (done or {})]
        if not outside:
            raise NoSuchPayout(f"payout {payout} was not done")
        legs = {
            AccountName(outside[0]): -amount_micros,
            AccountName(Kind.PUBLISHER_PAYABLE, publisher_id): amount_micros,
        }
        full_key = f"payout_returned:{payout}:{key}"
        if legs_of(full_key, book=book) is None:
            kind = LedgerTransaction.Kind.PAYOUT_RETURNED
            earlier = LedgerEntry.objects.filter(
                transaction__book=book, transaction__reference=payout, transaction__kind=kind
            )
            back = earlier.aggregate(total=Sum("amount_micros", filter=ON_PAYABLE, default=0))["total"]
            if back + amount_micros > paid:
                raise ValueError(f"{amount_micros} micro-dollars are more than is out of payout {payout}")
        kind = LedgerTransaction.Kind.PAYOUT_RETURNED
        return post_once(book=book, key=full_key, kind=kind, legs=legs, reference=payout, at=now)


def _end(
    payout: UUID,
    kind: LedgerTransaction.Kind,
    outside: AccountName | None,
    *,
    book: str | None,
    now: datetime | None,
) -> bool:
    book = current_book(book)
    with transaction.atomic():
        publisher_id, amount = _started(payout, book)
        target = outside or AccountName(Kind.PUBLISHER_PAYABLE, publisher_id)
        legs = {AccountName(Kind.PUBLISHER_IN_TRANSIT, publisher_id): -amount, target: amount}
        try:
            # Done and failed share this key, so they exclude each other.
            key = f"payout_done:{payout}"
            return post_once(book=book, key=key, kind=kind, legs=legs, reference=payout, at=now)
        except KeyReused as other:
            raise PayoutSettled(f"payout {payout} had ended otherwise") from other


def _started(payout: UUID, book: str) -> tuple[int, int]:
    """Whose payout it is and how much, under the publisher's lock."""
    entry = (
        LedgerEntry.objects.filter(
            transaction__book=book,
            transaction__key=f"payout:{payout}",
            account__kind=Kind.PUBLISHER_IN_TRANSIT,
        )
        .values_list("account__publisher_id", "amount_micros")
        .first()
    )
    if entry is None or entry[0] is None:
        raise NoSuchPayout(f"no payout {payout} was started")
    lock_maturity(entry[0], book=book)
    return entry[0], entry[1]


def lock_maturity(publisher_id: int, *, book: str) -> Maturity:
    """The publisher's row, locked until the commit; it is made where it is missing."""
    Maturity.objects.bulk_create(
        [Maturity(publisher_id=publisher_id, book=book, matured_until=NEVER)], ignore_conflicts=True
    )
    return Maturity.objects.select_for_update(no_key=True).get(publisher=publisher_id, book=book)
