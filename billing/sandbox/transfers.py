"""Transfers from the platform's balance to a recipient's, and back."""

from __future__ import annotations

from datetime import datetime

from billing.sandbox import accounts, balances, events, store
from billing.sandbox.models import Thing
from billing.sandbox.reading import reads
from billing.sandbox.refusals import Json, Refused
from billing.sandbox.serving import Call, merged, only, serves


def insufficient(message: str) -> Refused:
    return Refused(message, code="balance_insufficient")


@serves("post", "/v1/transfers")
def create(call: Call) -> Json:
    only(
        call, "amount", "currency", "description", "destination", "metadata", "transfer_group", "source_type"
    )
    amount, currency = call.params.get("amount"), call.params["currency"]
    if amount is None:
        raise Refused("Missing required param: amount.", code="parameter_missing", param="amount")
    if amount < 1:
        raise Refused(
            "This value must be greater than or equal to 1.", param="amount", code="parameter_invalid_integer"
        )
    if call.get("source_type", "card") != "card":
        raise Refused(
            "The sandbox has a balance of cards only.", param="source_type", code="sandbox_unsupported"
        )
    account = Thing.objects.filter(kind=accounts.KIND, name=call.params["destination"]).first()
    if account is None or account.data["closed"]:
        message = f"No such destination: '{call.params['destination'][:80]}'"
        raise Refused(message, code="resource_missing", param="destination")
    if accounts.capability(account) != "active":
        message = (
            "Your destination account needs to have at least one of the following capabilities enabled: transfers, "
            "crypto_transfers, legacy_payments"
        )
        raise Refused(message, code="insufficient_capabilities_for_transfer")
    available, _ = balances.funds(now=call.now, currency=currency)
    if amount > available:
        raise insufficient(
            "You have insufficient available funds in your Stripe account. Try adding funds directly to your "
            "available balance, or waiting until what is pending is available."
        )
    return dict(_make(call, account, amount, currency).data)


def _make(call: Call, account: Thing, amount: int, currency: str) -> Thing:
    name = store.new_name("transfer")
    payment = f"py_{store.token(24)}"
    group = call.get("transfer_group")
    out = balances.write("transfer", -amount, source=name, currency=currency, now=call.now)
    balances.write("payment", amount, source=payment, currency=currency, now=call.now, account=account.name)
    row = store.put(
        "transfer",
        {
            "id": name,
            "amount": amount,
            "amount_reversed": 0,
            "balance_transaction": out.name,
            "currency": currency,
            "description": call.get("description"),
            "destination": account.name,
            "destination_payment": payment,
            "metadata": merged({}, call.get("metadata")),
            "reversals": _reversals(name, []),
            "reversed": False,
            "source_type": "card",
            "transfer_group": group,
        },
        now=call.now,
    )
    events.tell("transfer.created", row.data, now=call.now, key=call.key)
    return row


def _reversals(name: str, rows: list[Json]) -> Json:
    url = f"/v1/transfers/{name}/reversals"
    return {"object": "list", "data": rows, "has_more": False, "url": url}


reads("transfer", "/v1/transfers", "transfer", by=("destination", "transfer_group"))


@serves("post", "/v1/transfers/{transfer}")
def update(call: Call) -> Json:
    only(call, "metadata", "description")
    row = store.find("transfer", call.named["transfer"])
    data = {"description": call.get("description")} if "description" in call.params else {}
    store.change(row, metadata=merged(row.data["metadata"], call.get("metadata")), **data)
    events.tell("transfer.updated", row.data, now=call.now)
    return dict(row.data)


@serves("post", "/v1/transfers/{id}/reversals")
def reverse(call: Call) -> Json:
    only(call, "amount", "description", "metadata")
    row = store.find("transfer", call.named["id"])
    left = row.data["amount"] - row.data["amount_reversed"]
    amount = call.get("amount", left)
    if left == 0:
        raise Refused("This transfer has been fully reversed already.", code="transfer_already_reversed")
    if not 0 < amount <= left:
        raise Refused(f"Reversal amount ({amount}) is greater than what is left ({left}).", param="amount")
    funds, _ = balances.funds(now=call.now, account=row.data["destination"], currency=row.data["currency"])
    if amount > funds:
        raise insufficient("The connected account has insufficient available funds for this reversal.")
    return dict(_reverse(row, amount, call, now=call.now).data)


def _reverse(row: Thing, amount: int, call: Call, *, now: datetime) -> Thing:
    name, currency = store.new_name("transfer_reversal"), row.data["currency"]
    back = balances.write("transfer_refund", amount, source=name, currency=currency, now=now)
    payment = row.data["destination_payment"]
    account = row.data["destination"]
    balances.write("payment_refund", -amount, source=payment, currency=currency, now=now, account=account)
    found = store.put(
        "transfer_reversal",
        {
            "id": name,
            "amount": amount,
            "balance_transaction": back.name,
            "currency": currency,
            "metadata": merged({}, call.get("metadata")),
            "transfer": row.name,
        },
        now=now,
    )
    total = row.data["amount_reversed"] + amount
    store.change(
        row,
        amount_reversed=total,
        reversed=total == row.data["amount"],
        reversals=_reversals(row.name, [found.data, *row.data["reversals"]["data"]][:10]),
    )
    events.tell("transfer.reversed", row.data, now=now, key=call.key)
    return found


@serves("get", "/v1/transfers/{id}/reversals")
def reversals(call: Call) -> Json:
    row = store.find("transfer", call.named["id"])
    url = f"/v1/transfers/{row.name}/reversals"
    return store.listed("transfer_reversal", call.params, url=url, matching={"transfer": row.name})


@serves("get", "/v1/transfers/{transfer}/reversals/{id}")
def reversal(call: Call) -> Json:
    return dict(store.find("transfer_reversal", call.named["id"]).data)
