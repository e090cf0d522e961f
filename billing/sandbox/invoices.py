"""Invoices of what was paid at a checkout: made paid, with a number and a page."""

from __future__ import annotations

from datetime import datetime

from billing.sandbox import charges, events, store
from billing.sandbox.models import Thing
from billing.sandbox.reading import reads
from billing.sandbox.refusals import Json

# What every invoice of a checkout that was paid is.
PAID: Json = {
    "amount_overpaid": 0,
    "amount_remaining": 0,
    "amount_shipping": 0,
    "attempt_count": 0,
    "attempted": True,
    "auto_advance": False,
    "billing_reason": "manual",
    "collection_method": "charge_automatically",
    "customer_tax_ids": [],
    "default_tax_rates": [],
    "discounts": [],
    "ending_balance": 0,
    "issuer": {"type": "self"},
    "post_payment_credit_notes_amount": 0,
    "pre_payment_credit_notes_amount": 0,
    "starting_balance": 0,
    "status": "paid",
    "total_discount_amounts": [],
    "total_taxes": [],
    "payment_settings": dict.fromkeys(("default_mandate", "payment_method_options", "payment_method_types")),
}


def make_paid(session: Json, customer: Thing, lines: list[Json], *, now: datetime, wanted: Json) -> Thing:
    """The paid invoice of a checkout session; `wanted` is the session's `invoice_data`."""
    name, stamp = store.new_name("invoice"), int(now.timestamp())
    number = Thing.objects.filter(kind="invoice", data__customer=customer.name).count() + 1
    total, tax = session["amount_total"], session["total_details"]["amount_tax"]
    owner = customer.data
    row = store.put(
        "invoice",
        {
            **PAID,
            "id": name,
            "amount_due": total,
            "amount_paid": total,
            "automatic_tax": {**session["automatic_tax"], "disabled_reason": None},
            "currency": session["currency"],
            "custom_fields": wanted.get("custom_fields"),
            "customer": customer.name,
            "customer_address": owner["address"],
            "customer_email": owner["email"],
            "customer_name": owner["name"],
            "description": wanted.get("description"),
            "effective_at": stamp,
            "footer": wanted.get("footer"),
            "hosted_invoice_url": charges.page(f"invoices/{name}"),
            "lines": {
                "object": "list",
                "data": lines,
                "has_more": False,
                "url": f"/v1/invoices/{name}/lines",
            },
            "metadata": wanted.get("metadata") or {},
            "number": f"{owner['invoice_prefix']}-{number:04d}",
            "period_end": stamp,
            "period_start": stamp,
            "status_transitions": {
                "finalized_at": stamp,
                "marked_uncollectible_at": None,
                "paid_at": stamp,
                "voided_at": None,
            },
            "subtotal": session["amount_subtotal"],
            "subtotal_excluding_tax": total - tax,
            "total": total,
            "total_excluding_tax": total - tax,
        },
        now=now,
    )
    for what in ("invoice.created", "invoice.finalized", "invoice.paid", "invoice.payment_succeeded"):
        events.tell(what, row.data, now=now)
    return row


reads("invoice", "/v1/invoices", "invoice", by=("customer", "status"))
