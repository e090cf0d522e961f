"""Balances and the transactions that make them up: the platform's, and each connected account's."""

from __future__ import annotations

from datetime import datetime, timedelta

from billing.sandbox import store
from billing.sandbox.models import Thing
from billing.sandbox.modes import behaviour
from billing.sandbox.reading import reads
from billing.sandbox.refusals import Json
from billing.sandbox.serving import Call, serves

_REPORTED = {"payment_refund": "refund", "adjustment": "dispute"}


def fee_of(amount: int) -> int:
    """What Stripe keeps of a payment of so many cents: 2.9 % and 30 cents."""
    return (amount * 29 + 500) // 1000 + 30


def write(
    type: str,
    amount: int,
    *,
    source: str,
    now: datetime,
    currency: str = "usd",
    fee: int = 0,
    account: str = "",
    waits: bool = False,
    description: str = "",
) -> Thing:
    """Add a transaction; `amount` in cents changes the balance, less the fee. What `waits` is pending at first."""
    seconds = behaviour().settle_seconds if waits else 0
    available = int((now + timedelta(seconds=seconds)).timestamp())
    details = [
        {
            "amount": fee,
            "application": None,
            "currency": currency,
            "description": "Stripe processing fees",
            "type": "stripe_fee",
        }
    ]
    data = {
        "amount": amount,
        "available_on": available,
        "balance_type": "payments",
        "currency": currency,
        "description": description or None,
        "fee": fee,
        "fee_details": details if fee else [],
        "net": amount - fee,
        "reporting_category": _REPORTED.get(type, type),
        "source": source,
        "status": "pending" if seconds else "available",
        "type": type,
    }
    return store.put("balance_transaction", data, now=now, account=account)


def add_funds(cents: int, *, now: datetime) -> Thing:
    """Put money into the platform's balance from its own bank account, past any payment."""
    name = store.new_name("topup")
    entry = write("topup", cents, source=name, now=now)
    return store.put(
        "topup",
        {
            "id": name,
            "amount": cents,
            "balance_transaction": entry.name,
            "currency": "usd",
            "metadata": {},
            "source": None,
            "status": "succeeded",
        },
        now=now,
    )


def funds(*, now: datetime, account: str = "", currency: str = "usd") -> tuple[int, int]:
    """Cents that are available, and that are pending."""
    rows = Thing.objects.filter(kind="balance_transaction", account=account, data__currency=currency)
    stamp, available, pending = int(now.timestamp()), 0, 0
    for net, when in rows.values_list("data__net", "data__available_on"):
        if when <= stamp:
            available += net
        else:
            pending += net
    return available, pending


def settle(*, now: datetime) -> int:
    """Mark what has become available; how many transactions that were."""
    due = Thing.objects.filter(
        kind="balance_transaction", data__status="pending", data__available_on__lte=int(now.timestamp())
    )
    rows = list(due)
    for row in rows:
        store.change(row, status="available")
    return len(rows)


def balance(*, now: datetime, account: str = "") -> Json:
    """The balance as the API answers it."""
    rows = Thing.objects.filter(kind="balance_transaction", account=account)
    currencies = sorted({*rows.values_list("data__currency", flat=True), "usd"})
    sums = {one: funds(now=now, account=account, currency=one) for one in currencies}

    def lines(place: int) -> list[Json]:
        return [
            {"amount": both[place], "currency": one, "source_types": {"card": both[place]}}
            for one, both in sums.items()
        ]

    return {
        **store.nulls("balance"),
        "object": "balance",
        "available": lines(0),
        "pending": lines(1),
        "livemode": False,
    }


@serves("get", "/v1/balance")
def retrieve(call: Call) -> Json:
    return balance(now=call.now, account=call.account)


reads("topup", "/v1/topups", "topup", by=("status",))
reads("balance_transaction", "/v1/balance_transactions", "id", by=("type", "source", "currency", "payout"))
