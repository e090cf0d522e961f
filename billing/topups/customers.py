"""Who a workspace is at Stripe, and the card it saved there. The number of a card never comes near us."""

from __future__ import annotations

import hashlib
import logging
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from billing.gateway import calls
from billing.gateway.client import client
from billing.ledger.accounts import current_book
from billing.models.credit import AutoTopUp, StripeCustomer
from billing.topups.errors import Refused, Unavailable
from marketplace.ids import encode
from marketplace.models import Workspace

log = logging.getLogger(__name__)

CARD_OF = "card_of"  # metadata of a session that saves a card: of which workspace


def known(workspace: Workspace, *, book: str | None = None) -> StripeCustomer | None:
    """The workspace's row, if it ever was at Stripe."""
    return StripeCustomer.objects.filter(workspace=workspace, book=current_book(book)).first()


def customer_of(workspace: Workspace) -> StripeCustomer:
    """The workspace's customer at Stripe, made at its first use. Outside of transactions.

    Two at once make one: the key names the workspace. Raises Unavailable.
    """
    row, _ = StripeCustomer.objects.get_or_create(workspace=workspace, book=current_book())
    if row.customer_id:
        return row
    # With its words, as Stripe refuses a key with others: a workspace may be renamed while an answer is lost.
    words = hashlib.sha256(workspace.name.encode()).hexdigest()[:16]
    key = f"customer-{workspace.public_id}-{row.created_at.timestamp():.6f}-{words}"
    try:
        with calls.asking():
            made = client().v1.customers.create(
                {"name": workspace.name, "metadata": _names(workspace)},
                {"idempotency_key": key},
            )
    except (calls.Unreachable, calls.Rejected, calls.Declined) as error:
        log.warning("no customer could be made for workspace %s: %s", workspace.pk, error)
        raise Unavailable from error
    StripeCustomer.objects.filter(pk=row.pk, customer_id="").update(customer_id=made.id)
    row.refresh_from_db()
    return row


def forget_customer(row: StripeCustomer) -> None:
    """Stripe does not know this customer: they were deleted there, or are of another account. The next is a new one."""
    StripeCustomer.objects.filter(pk=row.pk, customer_id=row.customer_id).update(
        customer_id="", created_at=timezone.now(), **_no_card()
    )


def begin_card(workspace: Workspace) -> str:
    """The address of a page of Stripe's where a card is saved without paying. Raises Unavailable."""
    row = customer_of(workspace)
    home = settings.PUBLIC_URL + reverse("billing")
    meta = {CARD_OF: encode(workspace.public_id, "ws")}
    try:
        with calls.asking():
            session = client().v1.checkout.sessions.create(
                {
                    "mode": "setup",
                    "currency": "usd",
                    "customer": row.customer_id,
                    "metadata": meta,
                    "setup_intent_data": {"metadata": meta},
                    "success_url": settings.PUBLIC_URL
                    + reverse("billing-card")
                    + "?saved={CHECKOUT_SESSION_ID}",
                    "cancel_url": home,
                }
            )
    except calls.Rejected as error:
        if error.is_missing:
            forget_customer(row)
        log.warning("no page to save a card for workspace %s: %s", workspace.pk, error)
        raise Unavailable from error
    except (calls.Unreachable, calls.Declined) as error:
        raise Unavailable from error
    if not session.url:
        raise Unavailable
    return session.url


def portal(workspace: Workspace) -> str:
    """The address of Stripe's page for the workspace's cards, invoices and tax numbers. Raises Unavailable, Refused."""
    row = known(workspace)
    if row is None or not row.customer_id:
        raise Refused("There is nothing at the payment processor yet: buy credit or save a card first.")
    try:
        with calls.asking():
            session = client().v1.billing_portal.sessions.create(
                {"customer": row.customer_id, "return_url": settings.PUBLIC_URL + reverse("billing")}
            )
    except calls.Rejected as error:
        if error.is_missing:
            forget_customer(row)
        raise Unavailable from error
    except (calls.Unreachable, calls.Declined) as error:
        raise Unavailable from error
    return session.url


def save_card(
    workspace_id: int,
    method: dict[str, Any],
    *,
    book: str,
    from_at: datetime | None = None,
    now: datetime | None = None,
) -> bool:
    """Keep a payment method that Stripe holds for this workspace as the one to charge, and lift a pause of automatic
    top-ups that a card was the reason of. False for what is no card, has no customer of ours, or is from a page that
    opened (`from_at`, in whole seconds) before the card of now was saved, or the last one was taken away. The same card
    once more ends a pause from before its page opened."""
    card, at = calls.whole(method.get("card")), now or timezone.now()
    row = StripeCustomer.objects.filter(workspace_id=workspace_id, book=book).first()
    if not card or row is None or calls.id_of(method.get("customer")) != row.customer_id:
        return False
    from_at = from_at or at.replace(microsecond=0)
    if row.card_id == calls.id_of(method):
        _lift(workspace_id, book, until=from_at + timedelta(seconds=1))  # it did what it refused before
        return True
    known = StripeCustomer.objects.filter(Q(card_from_at=None) | Q(card_from_at__lte=from_at), pk=row.pk)
    kept = known.update(
        card_id=calls.id_of(method),
        card_brand=str(card.get("brand") or "card")[:40],
        card_last4=str(card.get("last4") or "")[:4],
        card_month=int(card.get("exp_month") or 0),
        card_year=int(card.get("exp_year") or 0),
        card_saved_at=at,
        card_from_at=from_at,
    )
    if kept:
        _lift(workspace_id, book, until=at)
    return bool(kept)


def _lift(workspace_id: int, book: str, *, until: datetime) -> None:
    """End a pause from before then, whatever was wrong with the card."""
    AutoTopUp.objects.filter(workspace_id=workspace_id, book=book, paused_at__lte=until).update(
        pause="", pause_detail="", paused_at=None, failures=0, not_before=None
    )


def forget_card(workspace: Workspace) -> bool:
    """Take the saved card away, here first and at Stripe too. False if none was saved. Raises Unavailable where Stripe
    did not answer: here it is gone all the same."""
    row = known(workspace)
    if row is None or not row.card_id:
        return False
    # Stripe may not hear of it, and would show the card as saved in late words about the page that it is from.
    gone = _no_card() | {"card_from_at": timezone.now()}
    StripeCustomer.objects.filter(pk=row.pk, card_id=row.card_id).update(**gone)
    try:
        with calls.asking():
            client().v1.payment_methods.detach(row.card_id)
    except calls.Rejected:
        pass  # it was detached before
    except (calls.Unreachable, calls.Declined) as error:
        raise Unavailable from error
    return True


def follow_detached(card_id: str) -> None:
    """A card was taken away at Stripe, in its portal or by its owner's bank."""
    StripeCustomer.objects.filter(card_id=card_id).exclude(card_id="").update(**_no_card())


def _names(workspace: Workspace) -> dict[str, str]:
    return {"workspace": encode(workspace.public_id, "ws")}


def _no_card() -> dict[str, Any]:
    return {
        "card_id": "",
        "card_brand": "",
        "card_last4": "",
        "card_month": 0,
        "card_year": 0,
        "card_saved_at": None,
    }
