"""Checkout sessions: opened by the site, paid or left at the hosted page, expired when nobody came."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from billing.sandbox import cards, charges, customers, events, intents, invoices, setups, store
from billing.sandbox.models import Thing
from billing.sandbox.refusals import Json, Refused, unexpected
from billing.sandbox.serving import Call, merged, only, serves

KIND = "checkout.session"
SHORTEST, LONGEST = timedelta(minutes=30), timedelta(hours=24)
# Per cent on top, by the country of who pays; anywhere else there is none.
TAX = {
    "AT": 20,
    "BE": 21,
    "DE": 19,
    "ES": 21,
    "FR": 20,
    "GB": 20,
    "IE": 23,
    "IT": 22,
    "NL": 21,
    "PL": 23,
    "SE": 25,
}
_KNOWN = (
    "automatic_tax", "billing_address_collection", "cancel_url", "client_reference_id", "currency", "customer",
    "customer_creation", "customer_email", "customer_update", "expires_at", "invoice_creation", "line_items",
    "locale", "metadata", "mode", "payment_intent_data", "payment_method_types", "saved_payment_method_options",
    "setup_intent_data", "submit_type", "success_url", "tax_id_collection", "ui_mode",
)  # fmt: skip
_PAYMENT_ONLY = (
    "automatic_tax",
    "customer_creation",
    "invoice_creation",
    "payment_intent_data",
    "submit_type",
)
_INTENT = (
    "description",
    "metadata",
    "receipt_email",
    "setup_future_usage",
    "statement_descriptor",
    "transfer_group",
)


class NotOpen(Exception):
    """The session was paid before, or is over."""


@serves("post", "/v1/checkout/sessions")
def create(call: Call) -> Json:
    only(call, *_KNOWN)
    mode = call.get("mode")
    if mode not in {"payment", "setup"}:
        raise Refused(
            "The sandbox plays the modes payment and setup.", param="mode", code="sandbox_unsupported"
        )
    if call.get("ui_mode", "hosted_page") != "hosted_page":
        raise Refused("The sandbox plays hosted pages.", param="ui_mode", code="sandbox_unsupported")
    if call.get("payment_method_types", ["card"]) != ["card"]:
        raise Refused(
            "The sandbox plays cards only.", param="payment_method_types", code="sandbox_unsupported"
        )
    for name in _PAYMENT_ONLY if mode == "setup" else ("setup_intent_data",):
        if name in call.params:
            raise Refused(f"You can not pass `{name}` in `{mode}` mode.", param=name)
    _check_addresses(call)
    lines = _lines(call) if mode == "payment" else []
    name = store.new_name(KIND)
    row = store.put(
        KIND,
        {"id": name, "url": charges.page(f"checkout/{name}"), **_session(call, mode, lines)},
        now=call.now,
        lines=lines,
        intent=_intent_data(call) if mode == "payment" else _setup_data(call),
        invoice=(call.get("invoice_creation") or {}).get("invoice_data") or {},
        update=call.get("customer_update") or {},
    )
    return dict(row.data)


def _check_addresses(call: Call) -> None:
    if not call.get("success_url"):
        raise Refused("You must provide `success_url`.", param="success_url", code="parameter_missing")
    for name in ("success_url", "cancel_url"):
        if call.get(name) and urlsplit(call.params[name]).scheme not in {"http", "https"}:
            raise Refused("Not a valid URL", param=name, code="url_invalid")
    if call.get("customer") and call.get("customer_email"):
        raise Refused("You may only specify one of these parameters: customer, customer_email.")
    if call.get("customer"):
        _check_customer(call, customers.find(call.params["customer"]))
    expires = call.get("expires_at")
    if expires is not None:
        least, most = call.now + SHORTEST, call.now + LONGEST
        if not least.timestamp() - 60 <= expires <= most.timestamp() + 60:
            raise Refused(
                "The `expires_at` timestamp must be between 30 minutes and 24 hours from now.",
                param="expires_at",
            )


def _check_customer(call: Call, owner: Thing) -> None:
    update = call.get("customer_update") or {}
    taxes = (call.get("automatic_tax") or {}).get("enabled")
    if taxes and update.get("address") != "auto" and not (owner.data["address"] or {}).get("country"):
        raise Refused(
            "Automatic tax calculation in Checkout requires a valid address on the Customer. Add a valid address to "
            "the Customer or set `customer_update[address]` to 'auto'.",
            code="customer_tax_location_invalid",
        )
    if (call.get("tax_id_collection") or {}).get("enabled") and update.get("name") != "auto":
        raise Refused("Tax ID collection requires updating business name on the customer: set "
                      "`customer_update[name]` to 'auto'.", param="customer_update")  # fmt: skip


def _lines(call: Call) -> list[Json]:
    given = call.get("line_items") or []
    if not given:
        raise Refused(
            "You must provide `line_items` in `payment` mode.", param="line_items", code="parameter_missing"
        )
    lines = [_line(one, f"line_items[{at}]") for at, one in enumerate(given)]
    if len({one["currency"] for one in lines}) > 1:
        raise Refused("All prices on a Checkout Session must have the same currency.", param="line_items")
    intents.check_amount(
        sum(one["amount_subtotal"] for one in lines), lines[0]["currency"], param="line_items"
    )
    return lines


def _line(given: Json, where: str) -> Json:
    price = given.get("price_data")
    if price is None or not {"price_data", "quantity", "metadata"} >= given.keys():
        raise Refused("The sandbox plays lines of `price_data` and `quantity`.", param=where)
    if not {"currency", "product_data", "unit_amount", "tax_behavior"} >= price.keys():
        raise Refused("The sandbox plays fixed prices in whole cents.", param=f"{where}[price_data]")
    amount, quantity = price.get("unit_amount"), given.get("quantity", 1)
    product = price.get("product_data")
    if amount is None or product is None:
        raise Refused("Missing required param: unit_amount or product_data.", param=f"{where}[price_data]")
    if amount < 0 or not 0 < quantity <= 1_000_000:
        raise Refused("Invalid unit_amount or quantity.", param=where, code="parameter_invalid_integer")
    return {
        "id": f"li_{store.token(24)}",
        "object": "item",
        "amount_discount": 0,
        "amount_subtotal": amount * quantity,
        "amount_tax": 0,
        "amount_total": amount * quantity,
        "currency": price["currency"],
        "description": product["name"],
        "price": None,
        "quantity": quantity,
        "is_inclusive": price.get("tax_behavior") == "inclusive",
        "unit_amount": amount,
    }


def _intent_data(call: Call) -> Json:
    given = call.get("payment_intent_data") or {}
    for name in given:
        if name not in _INTENT:
            raise Refused(f"The sandbox does not play {name}.", param=f"payment_intent_data[{name}]")
    return dict(given)


def _setup_data(call: Call) -> Json:
    given = call.get("setup_intent_data") or {}
    if "on_behalf_of" in given:
        raise Refused("The sandbox does not play on_behalf_of.", param="setup_intent_data[on_behalf_of]")
    return dict(given)


def _session(call: Call, mode: str, lines: list[Json]) -> Json:
    subtotal = sum(one["amount_subtotal"] for one in lines)
    taxes = (call.get("automatic_tax") or {}).get("enabled", False)
    expires = call.get("expires_at") or int((call.now + LONGEST).timestamp())
    is_payment = mode == "payment"
    invoice = call.get("invoice_creation") or {"enabled": False}
    return {
        "allow_promotion_codes": None,
        "amount_subtotal": subtotal if is_payment else None,
        "amount_total": subtotal if is_payment else None,
        "automatic_tax": {
            "enabled": taxes,
            "liability": {"type": "self"} if taxes else None,
            "provider": "stripe" if taxes else None,
            "status": "requires_location_inputs" if taxes else None,
        },
        "billing_address_collection": call.get("billing_address_collection"),
        "cancel_url": call.get("cancel_url"),
        "client_reference_id": call.get("client_reference_id"),
        "currency": lines[0]["currency"] if lines else call.get("currency"),
        "custom_fields": [],
        "custom_text": dict.fromkeys(
            ("after_submit", "shipping_address", "submit", "terms_of_service_acceptance")
        ),
        "customer": call.get("customer"),
        "customer_creation": call.get("customer_creation", "if_required") if is_payment else None,
        "customer_email": call.get("customer_email"),
        "expires_at": expires,
        "invoice_creation": {"invoice_data": {}, **invoice} if is_payment else None,
        "locale": call.get("locale"),
        "metadata": merged({}, call.get("metadata")),
        "mode": mode,
        "payment_method_collection": "if_required" if is_payment else "always",
        "payment_method_options": {},
        "payment_method_types": ["card"],
        "payment_status": "unpaid" if is_payment else "no_payment_required",
        "permissions": None,
        "shipping_options": [],
        "status": "open",
        "submit_type": call.get("submit_type"),
        "success_url": call.params["success_url"],
        "tax_id_collection": {"required": "never", **(call.get("tax_id_collection") or {"enabled": False})},
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0}
        if is_payment
        else None,
        "ui_mode": "hosted_page",
    }


# What the site reads and ends


def find(name: str, *, now: datetime) -> Thing:
    """The session as it is now. Raises Refused if there is none."""
    return store.find(KIND, name, param="session")


@serves("get", "/v1/checkout/sessions/{session}")
def retrieve(call: Call) -> Json:
    return dict(find(call.named["session"], now=call.now).data)


@serves("get", "/v1/checkout/sessions")
def some(call: Call) -> Json:
    by = ("customer", "payment_intent", "status")
    return store.listed(KIND, call.params, url="/v1/checkout/sessions", by=by)


@serves("get", "/v1/checkout/sessions/{session}/line_items")
def line_items(call: Call) -> Json:
    row = find(call.named["session"], now=call.now)
    own = ("is_inclusive", "unit_amount")
    lines = [{name: value for name, value in one.items() if name not in own} for one in row.hidden["lines"]]
    url = f"/v1/checkout/sessions/{row.name}/line_items"
    return {"object": "list", "url": url, "has_more": False, "data": lines}


@serves("post", "/v1/checkout/sessions/{session}")
def update(call: Call) -> Json:
    only(call, "metadata")
    row = find(call.named["session"], now=call.now)
    return dict(store.change(row, metadata=merged(row.data["metadata"], call.get("metadata"))).data)


@serves("post", "/v1/checkout/sessions/{session}/expire")
def expire(call: Call) -> Json:
    row = find(call.named["session"], now=call.now)
    if row.data["status"] != "open":
        message = f"Only open Checkout Sessions can be expired. This one is {row.data['status']}."
        raise unexpected(message, code="resource_state_invalid")
    end(row, now=call.now)
    return dict(row.data)


def end(row: Thing, *, now: datetime) -> None:
    """Nobody came in time. Whoever is still at the bank's page comes too late: a page that is over takes no money."""
    if row.data["payment_intent"]:
        intents.give_up(store.find("payment_intent", row.data["payment_intent"]), reason="expired", now=now)
    if row.data["setup_intent"]:
        setups.give_up(store.find("setup_intent", row.data["setup_intent"]), reason="abandoned", now=now)
    store.change(row, status="expired", url=None)
    events.tell("checkout.session.expired", row.data, now=now)


def end_old(*, now: datetime) -> int:
    """End the sessions whose time is over; how many."""
    old = Thing.objects.filter(kind=KIND, data__status="open", data__expires_at__lte=int(now.timestamp()))
    rows = list(old)
    for row in rows:
        end(row, now=now)
    return len(rows)


# What happens at the hosted page


def tax_of(row: Thing, country: str) -> int:
    """Cents of tax that are added for who pays from there."""
    if not row.data["automatic_tax"]["enabled"]:
        return 0
    per_cent = TAX.get(country.upper(), 0)
    return sum(
        0 if one["is_inclusive"] else (one["amount_subtotal"] * per_cent + 50) // 100
        for one in row.hidden["lines"]
    )


def pay(
    row: Thing, card: cards.Card, *, now: datetime, email: str = "", name: str = "", country: str = "US"
) -> Json | None:
    """Pay, or save the card: done, waiting, or the error of a decline, after which the session is still open.

    Raises NotOpen.
    """
    if row.data["status"] != "open" or row.data["expires_at"] <= now.timestamp():
        raise NotOpen
    details = {"address": {"country": country.upper()}, "email": email or None, "name": name or None}
    owner = _customer(row, details, now=now)
    method = customers.new_method(card, now=now, billing=details)
    if row.data["mode"] == "setup":
        intent = _setup_of(row, owner, now=now)
        error = setups.attempt(intent, method, now=now, return_url=row.data["success_url"])
        store.change(row, setup_intent=intent.name)
    else:
        _total(row, country)
        intent = _payment_of(row, owner, now=now)
        error = intents.attempt(intent, method, now=now, return_url=row.data["success_url"])
        store.change(row, payment_intent=intent.name)
    after_attempt(row, intent, now=now)
    return error


def _setup_of(row: Thing, owner: Thing | None, *, now: datetime) -> Thing:
    """The session's setup intent: one for all attempts."""
    if row.data["setup_intent"]:
        return store.find("setup_intent", row.data["setup_intent"])
    intent = setups.make(now=now, customer=owner and owner.name, **row.hidden["intent"])
    intent.hidden = {"session": row.name}
    return store.change(intent)


def _payment_of(row: Thing, owner: Thing | None, *, now: datetime) -> Thing:
    """The session's payment intent: one for all attempts, over what the session comes to now."""
    if row.data["payment_intent"]:
        intent = store.find("payment_intent", row.data["payment_intent"])
        return store.change(intent, amount=row.data["amount_total"])
    intent = intents.make(
        now=now,
        amount=row.data["amount_total"],
        currency=row.data["currency"],
        customer=owner and owner.name,
        **{"metadata": {}, **row.hidden["intent"]},
    )
    intent.hidden = {"session": row.name}
    return store.change(intent)


def _customer(row: Thing, details: Json, *, now: datetime) -> Thing | None:
    """Who pays: known before, or made because something has to be kept with a customer."""
    email = details["email"] or row.data["customer_email"]
    row.hidden = {**row.hidden, "details": {**details, "email": email, "phone": None, "tax_exempt": "none",
                                            "tax_ids": []}}  # fmt: skip
    if row.data["customer"]:
        owner = customers.find(row.data["customer"])
        row.hidden["details"]["email"] = email or owner.data["email"]
        wanted = row.hidden["update"]
        auto = {name: details[name] for name in ("address", "name") if wanted.get(name) == "auto"}
        return store.change(owner, **{name: value for name, value in auto.items() if value})
    is_needed = (
        row.data["mode"] == "setup"
        or row.data["customer_creation"] == "always"
        or row.data["invoice_creation"]["enabled"]
        or row.hidden["intent"].get("setup_future_usage")
    )
    if not is_needed:
        return None
    owner = customers.make(now=now, **{**details, "email": email})
    store.change(row, customer=owner.name)
    return owner


def _total(row: Thing, country: str) -> None:
    tax = tax_of(row, country)
    taxes = row.data["automatic_tax"]
    store.change(
        row,
        amount_total=row.data["amount_subtotal"] + tax,
        total_details={"amount_discount": 0, "amount_shipping": 0, "amount_tax": tax},
        automatic_tax={**taxes, "status": "complete" if taxes["enabled"] else None},
    )


def after_attempt(row: Thing, intent: Thing, *, now: datetime) -> None:
    """What became of the intent of a session becomes of the session."""
    status = intent.data["status"]
    if row.data["status"] == "open" and status in {"succeeded", "processing"}:
        details = {"customer_details": row.hidden["details"], "status": "complete", "url": None}
        if status == "succeeded" and row.data["mode"] == "payment":
            details["payment_status"] = "paid"
            _invoice(row, now=now)
        store.change(row, **details)
        events.tell("checkout.session.completed", row.data, now=now)
    elif row.data["status"] == "complete" and row.data["payment_status"] == "unpaid":
        if status == "succeeded":
            store.change(row, payment_status="paid")
            _invoice(row, now=now)
            events.tell("checkout.session.async_payment_succeeded", row.data, now=now)
        elif status == "requires_payment_method":
            events.tell("checkout.session.async_payment_failed", row.data, now=now)


def _invoice(row: Thing, *, now: datetime) -> None:
    if row.data["invoice_creation"]["enabled"] and row.data["customer"]:
        owner = customers.find(row.data["customer"])
        lines: list[Any] = [
            {
                "id": f"il_{store.token(24)}",
                "object": "line_item",
                "amount": one["amount_subtotal"],
                "currency": one["currency"],
                "description": one["description"],
                "discountable": True,
                "discounts": [],
                "livemode": False,
                "metadata": {},
                "period": {"start": int(now.timestamp()), "end": int(now.timestamp())},
                "quantity": one["quantity"],
                "subtotal": one["amount_subtotal"],
                "taxes": [],
            }
            for one in row.hidden["lines"]
        ]
        invoice = invoices.make_paid(row.data, owner, lines, now=now, wanted=row.hidden["invoice"])
        store.change(row, invoice=invoice.name)


def session_of(intent: Thing) -> Thing | None:
    """The session that an intent was made for."""
    name = intent.hidden.get("session")
    return store.find(KIND, name) if name else None


def where_to(row: Thing) -> str:
    """The page of the site that comes after."""
    return str(row.data["success_url"]).replace("{CHECKOUT_SESSION_ID}", row.name)
