"""Invoices of what was paid at a checkout: made paid, with a number and a page."""

from __future__ import annotations

from datetime import datetime

from billing.sandbox import charges, events, store
from billing.sandbox.models import Thing
from billing.sandbox.refusals import Json
from billing.sandbox.serving import Call, serves


def make_paid(session: Json, customer: Thing, lines: list[Json], *, now: datetime, wanted: Json) -> Thing:
    """The paid invoice of a checkout session; `wanted` is the session's `invoice_data`."""
    name, stamp = store.new_name("invoice"), int(now.timestamp())
    number = Thing.objects.filter(kind="invoice", data__customer=customer.name).count() + 1
    total, tax = session["amount_total"], session["total_details"]["amount_tax"]
    owner = customer.data
    row = store.put(
        "invoice",
        {
            "id": name,
            "amount_due": total,
            "amount_overpaid": 0,
            "amount_paid": total,
            "amount_remaining": 0,
            "amount_shipping": 0,
            "attempt_count": 0,
            "attempted": True,
            "auto_advance": False,
            "automatic_tax": {**session["automatic_tax"], "disabled_reason": None},
            "billing_reason": "manual",
            "collection_method": "charge_automatically",
            "currency": session["currency"],
            "custom_fields": wanted.get("custom_fields"),
            "customer": customer.name,
            "customer_address": owner["address"],
            "customer_email": owner["email"],
            "customer_name": owner["name"],
            "customer_tax_ids": [],
            "default_tax_rates": [],
            "description": wanted.get("description"),
            "discounts": [],
            "effective_at": stamp,
            "ending_balance": 0,
            "footer": wanted.get("footer"),
            "hosted_invoice_url": charges.page(f"invoices/{name}"),
            "issuer": {"type": "self"},
            "lines": {
                "object": "list",
                "data": lines,
                "has_more": False,
                "url": f"/v1/invoices/{name}/lines",
            },
            "metadata": wanted.get("metadata") or {},
            "number": f"{owner['invoice_prefix']}-{number:04d}",
            "payment_settings": {
                "default_mandate": None,
                "payment_method_options": None,
                "payment_method_types": None,
            },
            "period_end": stamp,
            "period_start": stamp,
            "post_payment_credit_notes_amount": 0,
            "pre_payment_credit_notes_amount": 0,
            "starting_balance": 0,
            "status": "paid",
            "status_transitions": {
                "finalized_at": stamp,
                "marked_uncollectible_at": None,
                "paid_at": stamp,
                "voided_at": None,
            },
            "subtotal": session["amount_subtotal"],
            "subtotal_excluding_tax": total - tax,
            "total": total,
            "total_discount_amounts": [],
            "total_excluding_tax": total - tax,
            "total_taxes": [],
        },
        now=now,
    )
    for what in ("invoice.created", "invoice.finalized", "invoice.paid", "invoice.payment_succeeded"):
        events.tell(what, row.data, now=now)
    return row


@serves("get", "/v1/invoices/{invoice}")
def one(call: Call) -> Json:
    return dict(store.find("invoice", call.named["invoice"]).data)


@serves("get", "/v1/invoices")
def some(call: Call) -> Json:
    return store.listed("invoice", call.params, url="/v1/invoices", by=("customer", "status"))
