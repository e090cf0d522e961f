"""Buying credit at Stripe's own page: the attempt is written first, then the page is opened for it.

The attempt's id is the idempotency key. Who dies between the two leaves a row `new`, which nobody can pay, since
nobody saw its page: it is closed by the clock. Whatever is paid after all is booked, see `billing.topups.settling`.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone

from billing.gateway import calls
from billing.gateway.client import client
from billing.ledger.accounts import current_book
from billing.letters import dollars
from billing.models.attempts import CENT_MICROS
from billing.models.credit import TopUp
from billing.topups.customers import customer_of, forget_customer
from billing.topups.errors import Refused, Unavailable
from marketplace.ids import encode
from marketplace.models import User, Workspace

if TYPE_CHECKING:
    from stripe.checkout import Session
    from stripe.params.checkout._session_create_params import SessionCreateParams

log = logging.getLogger(__name__)

LASTS = timedelta(hours=23)  # Stripe closes a page after 24 hours at the latest
MOST_OPEN = 20  # pages of a workspace that wait for their buyer, so that nobody makes them by the thousand
BACK_LENGTH = 6000


def least() -> int:
    """The least credit that can be bought at once, in micro-dollars."""
    return int(settings.TOPUP_LEAST_MICROS)


def most() -> int:
    """The most of it."""
    return int(settings.TOPUP_MOST_MICROS)


def checked(amount_micros: int) -> int:
    """The amount, if so much can be bought. Raises Refused."""
    if not least() <= amount_micros <= most():
        raise Refused(f"Between {dollars(least())} and {dollars(most())} can be bought at once.")
    if amount_micros % CENT_MICROS:
        raise Refused("Credit is bought in whole cents.")
    return amount_micros


def begin(
    workspace: Workspace,
    amount_micros: int,
    *,
    by: User | None,
    saves_card: bool = False,
    back: str = "",
    now: datetime | None = None,
) -> TopUp:
    """Open a page where so much credit is paid; its address is the row's `url`. Outside of transactions.

    `back` is a path of this site to come back to. Raises Refused and, where Stripe does not answer, Unavailable.
    """
    return open_page(attempt(workspace, amount_micros, by=by, saves_card=saves_card, back=back, now=now))


def attempt(
    workspace: Workspace,
    amount_micros: int,
    *,
    by: User | None,
    saves_card: bool = False,
    back: str = "",
    now: datetime | None = None,
) -> TopUp:
    """The first half of `begin`: the row alone, which a transaction may hold. Raises Refused."""
    checked(amount_micros)
    at = now or timezone.now()
    with transaction.atomic():
        # Its row is the lock: of many at once only so many are within the bound, none of a workspace that closes.
        if Workspace.objects.select_for_update(no_key=True).get(pk=workspace.pk).is_closed:
            raise Refused("This workspace was deleted.")
        rows = TopUp.objects.filter(workspace=workspace, book=current_book(), kind=TopUp.Kind.CHECKOUT)
        if rows.filter(status__in=["new", "open"], expires_at__gt=at).count() >= MOST_OPEN:
            raise Refused(
                f"{MOST_OPEN} payments of this workspace wait to be paid. Pay or leave one of them first; "
                "each closes within a day."
            )
        return TopUp.objects.create(
            workspace=workspace,
            book=current_book(),
            kind=TopUp.Kind.CHECKOUT,
            amount_micros=amount_micros,
            by=by,
            saves_card=saves_card,
            back=back if len(back) <= BACK_LENGTH else "",
            created_at=at,
            expires_at=at + LASTS,
        )


def open_page(row: TopUp) -> TopUp:
    """The second half: the page of an attempt. Repeated, it is the same page. Raises Unavailable."""
    if row.url or not row.is_undecided:
        return row
    try:
        session = _made(row)
    except calls.Rejected as error:
        log.exception("no payment page for %s", row)
        _undecided(row).update(
            status=TopUp.Status.FAILED, failure_code="not_opened", failure=str(error)[:500]
        )
        raise Unavailable from error
    except (calls.Unreachable, calls.Declined) as error:
        log.warning("no payment page for %s: %s", row, error)
        raise Unavailable from error
    # The page may have been paid already, and booked, by the time that this is written.
    TopUp.objects.filter(pk=row.pk, session_id="").update(session_id=session.id)
    TopUp.objects.filter(pk=row.pk).update(url=session.url or "")
    _undecided(row).filter(status=TopUp.Status.NEW).update(status=TopUp.Status.OPEN)
    row.refresh_from_db()
    return row


def _made(row: TopUp) -> Session:
    """The page at Stripe. A customer who is gone there, or was of another account, is made anew."""
    customer = customer_of(row.workspace)
    try:
        return _create(row, customer.customer_id)
    except calls.Rejected as error:
        if not error.is_missing:
            raise
    forget_customer(customer)
    return _create(row, customer_of(row.workspace).customer_id)


def _create(row: TopUp, customer_id: str) -> Session:
    key = f"topup-{row.public_id}-{customer_id}"
    with calls.asking():
        return client().v1.checkout.sessions.create(_session(row, customer_id), {"idempotency_key": key})


def _undecided(row: TopUp) -> QuerySet[TopUp]:
    return TopUp.objects.filter(pk=row.pk, status__in=TopUp.UNDECIDED)


def _session(row: TopUp, customer_id: str) -> SessionCreateParams:
    """What Stripe is asked for: the same for the same row, whenever it is asked."""
    meta = {"topup": row.uid, "workspace": encode(row.workspace.public_id, "ws")}
    page = settings.PUBLIC_URL + reverse("topup", args=[row.uid])
    wanted: SessionCreateParams = {
        "mode": "payment",
        "customer": customer_id,
        "client_reference_id": row.uid,
        "metadata": meta,
        "line_items": [
            {
                "quantity": 1,
                "price_data": {
                    "currency": "usd",
                    "unit_amount": row.cents,
                    "tax_behavior": "exclusive",
                    "product_data": {"name": f"Vitrine credit, {dollars(row.amount_micros)}"},
                },
            }
        ],
        "payment_intent_data": {"metadata": meta},
        "invoice_creation": {"enabled": True, "invoice_data": {"metadata": meta}},
        "submit_type": "pay",
        "expires_at": int(row.expires_at.timestamp()),
        "success_url": f"{page}?paid=1",
        "cancel_url": f"{page}?left=1",
    }
    if row.saves_card:
        wanted["payment_intent_data"]["setup_future_usage"] = "off_session"
    if settings.STRIPE_TAX:
        if settings.STRIPE_TAX_CODE:
            wanted["line_items"][0]["price_data"]["product_data"]["tax_code"] = settings.STRIPE_TAX_CODE
        wanted["automatic_tax"] = {"enabled": True}
        wanted["tax_id_collection"] = {"enabled": True}
        wanted["billing_address_collection"] = "required"
        wanted["customer_update"] = {"address": "auto", "name": "auto"}
    return wanted
