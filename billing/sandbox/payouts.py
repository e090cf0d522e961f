"""Payouts from a balance to a bank: by hand, or of themselves where an account has money."""

from __future__ import annotations

from datetime import datetime, timedelta

from billing.sandbox import accounts, balances, events, store
from billing.sandbox.models import Thing
from billing.sandbox.modes import behaviour
from billing.sandbox.reading import reads
from billing.sandbox.refusals import Json, Refused, unexpected
from billing.sandbox.serving import Call, merged, only, serves
from billing.sandbox.transfers import insufficient

UNDER_WAY = ("pending", "in_transit")


@serves("post", "/v1/payouts")
def create(call: Call) -> Json:
    only(
        call, "amount", "currency", "description", "metadata", "method", "statement_descriptor", "source_type"
    )
    if call.get("method", "standard") != "standard":
        raise Refused("The sandbox plays standard payouts.", param="method", code="sandbox_unsupported")
    amount, currency = call.params["amount"], call.params["currency"]
    if amount < 1:
        raise Refused("This value must be greater than or equal to 1.", param="amount")
    row = make(amount, currency=currency, account=call.account, now=call.now)
    data = {name: call.get(name) for name in ("description", "statement_descriptor") if name in call.params}
    store.change(row, metadata=merged({}, call.get("metadata")), **data)
    events.tell("payout.created", row.data, now=call.now, account=call.account, key=call.key)
    return dict(row.data)


def make(
    amount: int, *, now: datetime, currency: str = "usd", account: str = "", is_automatic: bool = False
) -> Thing:
    """Send money of a balance on its way. Raises Refused if there is not so much."""
    available, _ = balances.funds(now=now, account=account, currency=currency)
    if amount > available:
        raise insufficient("You have insufficient funds in your Stripe account for this payout.")
    name = store.new_name("payout")
    arrives = now + timedelta(seconds=behaviour().payout_seconds)
    out = balances.write("payout", -amount, source=name, currency=currency, account=account, now=now)
    return store.put(
        "payout",
        {
            "id": name,
            "amount": amount,
            "arrival_date": int(arrives.timestamp()),
            "automatic": is_automatic,
            "balance_transaction": out.name,
            "currency": currency,
            "destination": f"ba_{store.token(24)}",
            "metadata": {},
            "method": "standard",
            "reconciliation_status": "in_progress" if is_automatic else "not_applicable",
            "source_type": "card",
            "status": "pending",
            "type": "bank_account",
        },
        now=now,
        account=account,
        arrives=arrives.timestamp(),
    )


def arrive(row: Thing, *, now: datetime) -> None:
    """The bank takes the money, or sends it back. Raises Refused if it did before."""
    if row.data["status"] not in UNDER_WAY:
        raise unexpected(f"This payout is {row.data['status']} already.", code="payout_not_pending")
    owner = Thing.objects.filter(kind=accounts.KIND, name=row.account).first()
    if owner is not None and owner.hidden["bank"] == "fails":
        fail(row, now=now)
        return
    store.change(
        row,
        status="paid",
        reconciliation_status="completed" if row.data["automatic"] else "not_applicable",
        trace_id={"status": "supported", "value": store.token(15)},
    )
    events.tell("payout.paid", row.data, now=now, account=row.account)
    if row.data["automatic"]:
        events.tell("payout.reconciliation_completed", row.data, now=now, account=row.account)


def fail(row: Thing, *, now: datetime) -> None:
    """The bank sends the money back, even days after it seemed to be paid. Raises Refused if that cannot be."""
    if row.data["status"] not in {*UNDER_WAY, "paid"}:
        raise unexpected(f"This payout is {row.data['status']} already.", code="payout_not_pending")
    _give_back(row, "payout_failure", now=now)
    store.change(
        row,
        status="failed",
        failure_code="account_closed",
        failure_message="The bank account has been closed.",
    )
    events.tell("payout.failed", row.data, now=now, account=row.account)


def _give_back(row: Thing, type: str, *, now: datetime) -> None:
    data = row.data
    back = balances.write(
        type, data["amount"], source=row.name, currency=data["currency"], account=row.account, now=now
    )
    store.change(row, failure_balance_transaction=back.name)


@serves("post", "/v1/payouts/{payout}/cancel")
def cancel(call: Call) -> Json:
    row = store.find("payout", call.named["payout"], account=call.account)
    if row.data["status"] != "pending":
        raise unexpected("Payouts can be canceled while they are pending.", code="payout_not_pending")
    _give_back(row, "payout_cancel", now=call.now)
    store.change(row, status="canceled")
    events.tell("payout.canceled", row.data, now=call.now, account=call.account)
    return dict(row.data)


reads("payout", "/v1/payouts", "payout", by=("status", "destination"))


def advance(*, now: datetime) -> None:
    """What time brings: recipients' money goes to their banks of itself, and what is under way arrives."""
    seconds = behaviour().automatic_payout_seconds
    if seconds:
        for account in Thing.objects.filter(kind=accounts.KIND, data__closed=False):
            _pay_out(account, before=now - timedelta(seconds=seconds), now=now)
    due = Thing.objects.filter(
        kind="payout", data__status__in=UNDER_WAY, hidden__arrives__lte=now.timestamp()
    )
    for row in list(due):
        arrive(row, now=now)


def _pay_out(account: Thing, *, before: datetime, now: datetime) -> None:
    """All of an account's balance, if the newest of it has been there for a while."""
    entries = Thing.objects.filter(kind="balance_transaction", account=account.name)
    newest = entries.order_by("-created_at").first()
    available, _ = balances.funds(now=now, account=account.name)
    if newest is None or newest.created_at > before or available <= 0 or account.hidden.get("stuck"):
        return
    row = make(available, account=account.name, now=now, is_automatic=True)
    events.tell("payout.created", row.data, now=now, account=account.name)
    if account.hidden["bank"] == "fails":  # once, and not again each second
        account.hidden = {**account.hidden, "stuck": True}
        store.change(account)
