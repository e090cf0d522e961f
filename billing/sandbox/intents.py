"""Payment intents: from what is to be paid to a charge that did or did not come about."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from billing.sandbox import cards, charges, customers, disputes, events, store
from billing.sandbox.models import Thing
from billing.sandbox.refusals import Declined, Json, Refused, unexpected
from billing.sandbox.serving import Call, merged, only, serves

CURRENCIES = {"usd", "eur", "gbp"}
LEAST, MOST = 50, 99_999_999  # cents
OPEN = {"requires_payment_method", "requires_confirmation", "requires_action"}
SETTINGS = (
    "amount",
    "currency",
    "customer",
    "description",
    "metadata",
    "payment_method",
    "receipt_email",
    "setup_future_usage",
    "statement_descriptor",
    "transfer_group",
)


def check_amount(amount: Any, currency: str, *, param: str = "amount") -> None:
    """Refuse what cannot be charged."""
    if currency not in CURRENCIES:
        known = ", ".join(sorted(CURRENCIES))
        raise Refused(f"Invalid currency: {currency}. The sandbox knows {known}.", param="currency")
    if not isinstance(amount, int) or amount > MOST:
        raise Refused("Amount must be no more than $999,999.99", code="amount_too_large", param=param)
    if amount < LEAST:
        raise Refused("Amount must be at least $0.50 usd", code="amount_too_small", param=param)


def make(*, now: datetime, amount: int, currency: str, **data: Any) -> Thing:
    """A new intent, of which nothing was tried yet."""
    name = store.new_name("payment_intent")
    fresh = {
        "amount_capturable": 0,
        "amount_received": 0,
        "amount_details": {"tip": {}},
        "capture_method": "automatic_async",
        "confirmation_method": "automatic",
        "metadata": {},
        "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
        "payment_method_types": ["card"],
        "status": "requires_confirmation" if data.get("payment_method") else "requires_payment_method",
    }
    given = {"id": name, "client_secret": f"{name}_secret_{store.token(24)}", "amount": amount}
    row = store.put("payment_intent", {**fresh, **given, "currency": currency, **data}, now=now)
    events.tell("payment_intent.created", row.data, now=now)
    return row


@serves("post", "/v1/payment_intents")
def create(call: Call) -> Json:
    only(
        call,
        *SETTINGS,
        "automatic_payment_methods",
        "confirm",
        "off_session",
        "payment_method_types",
        "return_url",
    )
    currency = call.params["currency"]
    check_amount(call.params["amount"], currency)
    if call.get("off_session") and not call.get("confirm"):
        raise Refused("off_session can only be used when confirm is true.", param="off_session")
    if call.get("payment_method_types", ["card"]) != ["card"]:
        raise Refused(
            "The sandbox plays cards only.", param="payment_method_types", code="sandbox_unsupported"
        )
    data = {name: call.get(name) for name in SETTINGS if name in call.params}
    data["metadata"] = merged({}, call.get("metadata"))
    if data.get("customer"):
        customers.find(data["customer"])
    if data.get("payment_method"):
        data["payment_method"] = _usable(call, data.get("customer")).name
    if call.get("automatic_payment_methods"):
        data["automatic_payment_methods"] = {
            "allow_redirects": "always",
            **call.params["automatic_payment_methods"],
        }
    row = make(now=call.now, **data)
    if call.get("confirm"):
        _confirm(row, call)
    return dict(row.data)


def _usable(call: Call, customer: str | None) -> Thing:
    """The card that is named, if the customer may use it."""
    method = customers.payment_method(call.params["payment_method"], now=call.now)
    owner = method.data["customer"]
    if owner is not None and owner != customer:
        message = (
            "The provided PaymentMethod belongs to another customer: provide that one, or another method."
        )
        raise Refused(message, param="payment_method", code="payment_method_customer_mismatch")
    return method


@serves("get", "/v1/payment_intents/{intent}")
def retrieve(call: Call) -> Json:
    call.params.pop("client_secret", None)
    return dict(store.find("payment_intent", call.named["intent"], param="intent").data)


@serves("get", "/v1/payment_intents")
def some(call: Call) -> Json:
    return store.listed("payment_intent", call.params, url="/v1/payment_intents", by=("customer",))


@serves("post", "/v1/payment_intents/{intent}")
def update(call: Call) -> Json:
    only(call, *SETTINGS)
    row = store.find("payment_intent", call.named["intent"], param="intent")
    _must_be_open(row)
    data = {name: call.get(name) for name in SETTINGS if name in call.params}
    check_amount(data.get("amount", row.data["amount"]), data.get("currency", row.data["currency"]))
    data["metadata"] = merged(row.data["metadata"], call.get("metadata"))
    if data.get("payment_method"):
        data["payment_method"] = _usable(call, data.get("customer", row.data["customer"])).name
        data["status"] = "requires_confirmation"
    return dict(store.change(row, **data).data)


@serves("post", "/v1/payment_intents/{intent}/confirm")
def confirm(call: Call) -> Json:
    only(call, "payment_method", "off_session", "return_url", "receipt_email", "setup_future_usage")
    row = store.find("payment_intent", call.named["intent"], param="intent")
    _must_be_open(row)
    if call.get("payment_method"):
        store.change(row, payment_method=_usable(call, row.data["customer"]).name)
    for name in ("receipt_email", "setup_future_usage"):
        if name in call.params:
            store.change(row, **{name: call.get(name)})
    _confirm(row, call)
    return dict(row.data)


@serves("post", "/v1/payment_intents/{intent}/cancel")
def cancel(call: Call) -> Json:
    only(call, "cancellation_reason")
    row = store.find("payment_intent", call.named["intent"], param="intent")
    _must_be_open(row)
    give_up(row, reason=call.get("cancellation_reason"), now=call.now)
    return dict(row.data)


def give_up(row: Thing, *, reason: str | None, now: datetime) -> None:
    """Nobody pays it any more, also not who is being asked for it."""
    store.change(
        row,
        status="canceled",
        canceled_at=int(now.timestamp()),
        cancellation_reason=reason,
        next_action=None,
    )
    events.tell("payment_intent.canceled", row.data, now=now)


def _must_be_open(row: Thing) -> None:
    status = row.data["status"]
    if status not in OPEN:
        raise unexpected(
            f"This PaymentIntent could not be changed because it has a status of {status}.",
            code="payment_intent_unexpected_state",
            payment_intent=row.data,
        )


def _confirm(row: Thing, call: Call) -> None:
    """Try it for the API. Raises Declined, with the intent as it is then."""
    method = row.data["payment_method"] and store.find("payment_method", row.data["payment_method"])
    if method:
        customers.usable(method)
    else:
        message = "You cannot confirm this PaymentIntent because it's missing a payment method."
        raise unexpected(message, code="payment_intent_unexpected_state", payment_intent=row.data)
    error = attempt(
        row,
        method,
        now=call.now,
        is_off_session=call.get("off_session") not in {None, False},
        return_url=call.get("return_url", ""),
    )
    if error is not None:
        raise Declined(
            error["message"],
            **{name: error[name] for name in ("code", "decline_code", "charge") if error.get(name)},
            payment_intent=row.data,
            payment_method=method.data,
        )


def attempt(
    row: Thing, method: Thing, *, now: datetime, is_off_session: bool = False, return_url: str = ""
) -> Json | None:
    """Charge the card: succeeds, waits for its holder or its bank, or returns the error of a decline."""
    card = customers.card_of(method)
    store.change(row, payment_method=method.name, last_payment_error=None, next_action=None)
    asks = card.behaviour == "authenticates" or (
        card.behaviour == "authenticates_once" and not (is_off_session and method.hidden.get("is_set_up"))
    )
    if asks and is_off_session:
        return _declined(
            row, method, now=now, code="authentication_required", decline="authentication_required"
        )
    if asks:
        way = {
            "type": "redirect_to_url",
            "redirect_to_url": {"url": _holder_page(row), "return_url": return_url},
        }
        row.hidden = {**row.hidden, "return_url": return_url}
        store.change(row, status="requires_action", next_action=way)
        events.tell("payment_intent.requires_action", row.data, now=now)
        return None
    if card.behaviour == "declines":
        return _declined(row, method, now=now, code=card.code, decline=card.decline_code)
    if card.behaviour in {"slow", "slow_fails"}:
        charge = charges.make(row, method, now=now, status="pending")
        store.change(row, status="processing", latest_charge=charge.name)
        events.tell("payment_intent.processing", row.data, now=now)
        return None
    _succeed(row, method, now=now)
    return None


def _holder_page(row: Thing) -> str:
    return charges.page(f"authenticate/{row.data['client_secret']}")


def authenticated(row: Thing, *, is_approved: bool, now: datetime) -> None:
    """The holder of the card was asked, and answered. Raises Refused if nobody asks."""
    if row.data["status"] != "requires_action":
        raise unexpected("Nobody is asked about this payment.", code="payment_intent_unexpected_state")
    method = store.find("payment_method", row.data["payment_method"])
    store.change(row, next_action=None)
    if is_approved:
        _succeed(row, method, now=now)
    else:
        _declined(row, method, now=now, code="payment_intent_authentication_failure", decline="")


def finish_slow(row: Thing, *, now: datetime) -> bool:
    """The bank of a slow card answers; whether it paid."""
    method = store.find("payment_method", row.data["payment_method"])
    charge = store.find("charge", row.data["latest_charge"])
    if customers.card_of(method).behaviour == "slow_fails":
        why = cards.message("card_declined")
        charges.fail(charge, now=now, code="card_declined", message=why)
        _declined(row, method, now=now, code="card_declined", decline="generic_decline", charge=charge)
        return False
    charges.collect(charge, now=now)
    _succeed(row, method, now=now, charge=charge)
    return True


def _succeed(row: Thing, method: Thing, *, now: datetime, charge: Thing | None = None) -> None:
    if charge is None:
        charge = charges.make(row, method, now=now, status="succeeded")
    store.change(
        row,
        status="succeeded",
        amount_received=row.data["amount"],
        latest_charge=charge.name,
        next_action=None,
    )
    if row.data["setup_future_usage"] and row.data["customer"]:
        owner = customers.find(row.data["customer"])
        customers.attach(method, owner, now=now, is_set_up=row.data["setup_future_usage"] == "off_session")
    events.tell("payment_intent.succeeded", row.data, now=now)
    if customers.card_of(method).behaviour == "disputed":
        disputes.open_for(charge, now=now)


def _declined(
    row: Thing, method: Thing, *, now: datetime, code: str, decline: str, charge: Thing | None = None
) -> Json:
    why = cards.message(code, decline)
    if charge is None:
        charge = charges.make(row, method, now=now, status="failed", failure=(code, why))
    error = {"type": "card_error", "code": code, "message": why, "charge": charge.name}
    if decline:
        error["decline_code"] = decline
    store.change(
        row,
        status="requires_payment_method",
        payment_method=None,
        latest_charge=charge.name,
        last_payment_error={**error, "payment_method": method.data},
    )
    events.tell("payment_intent.payment_failed", row.data, now=now)
    return error
