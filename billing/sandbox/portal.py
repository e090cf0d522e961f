"""The billing portal: where a customer sees cards and invoices, without an account at Stripe."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import urlsplit

from billing.sandbox import cards, charges, customers, events, store
from billing.sandbox.models import Thing
from billing.sandbox.refusals import Declined, Json, Refused
from billing.sandbox.serving import Call, only, serves

KIND = "billing_portal.session"
SECONDS = 3600  # that a session lasts


@serves("post", "/v1/billing_portal/sessions")
def create(call: Call) -> Json:
    only(call, "customer", "return_url", "locale")
    if not call.get("customer"):
        raise Refused("Missing required param: customer.", param="customer", code="parameter_missing")
    owner = customers.find(call.params["customer"])
    if call.get("return_url") and urlsplit(call.params["return_url"]).scheme not in {"http", "https"}:
        raise Refused("Not a valid URL", param="return_url", code="url_invalid")
    token = store.token()
    row = store.put(
        KIND,
        {
            "configuration": "bpc_sandbox",
            "customer": owner.name,
            "locale": call.get("locale"),
            "return_url": call.get("return_url"),
            "url": charges.page(f"portal/{token}"),
        },
        now=call.now,
        token=token,
    )
    return dict(row.data)


def act(owner: Thing, name: str, card: str, *, now: datetime) -> str:
    """What a customer does there: `add` a test card, `prefer` or `remove` one of theirs; why it
    cannot be, or nothing."""
    if name == "add":
        if f"pm_card_{card}" not in cards.BY_NAME:
            return "Choose a card."
        method = customers.new_method(cards.BY_NAME[f"pm_card_{card}"], now=now)
        try:
            customers.attach(method, owner, now=now, is_set_up=True)
        except Declined as declined:
            return str(declined)
        return ""
    found = Thing.objects.filter(kind="payment_method", name=card, data__customer=owner.name).first()
    if found is None or name not in {"prefer", "remove"}:
        return "This card is not there any more."
    if name == "remove":
        customers.detach(found, now=now)
    else:
        ways = {**owner.data["invoice_settings"], "default_payment_method": found.name}
        events.tell("customer.updated", store.change(owner, invoice_settings=ways).data, now=now)
    return ""


def session_of(token: str, *, now: datetime) -> Thing | None:
    """The session that an address opens; None if there is none, or it is over."""
    row = Thing.objects.filter(kind=KIND, hidden__token=token).first()
    if row is None or (now - row.created_at).total_seconds() > SECONDS:
        return None
    return row
