"""Asking Stripe: three outcomes that a caller must tell apart, and its objects as plain JSON.

What is `Unreachable` may have been done or not: it is asked again under the same idempotency key, as long as Stripe
keeps that. What is `Rejected` or `Declined` was certainly not done.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import stripe
from django.conf import settings

from billing.gateway.client import NotConfigured, client

Json = dict[str, Any]
# Stripe forgets keys after a day at the earliest. An attempt that is older is looked up in its lists, and not repeated.
KEY_LASTS = timedelta(hours=20)
PAGE = 100
CURRENCY = "usd"
_SESSION = ["payment_intent.payment_method", "payment_intent.latest_charge", "invoice"]
_SETUP = ["setup_intent.payment_method"]
_INTENT = ["payment_method", "latest_charge"]


class Unreachable(Exception):
    """No answer, or one that decides nothing: whether it was done is not known."""


class Undecided(Unreachable):
    """Something else has to be decided first, and is not yet: only for that nothing was done."""


class Rejected(Exception):
    """Stripe refuses the request for good; nothing was done. `code` and `param` are Stripe's."""

    def __init__(self, message: str, *, code: str = "", param: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.param = param

    @property
    def is_missing(self) -> bool:
        """Whether it names an object that Stripe does not have, or not any more."""
        return self.code == "resource_missing"


class Declined(Exception):
    """The card was not charged. `code`: Stripe's, the bank's own where it gave one; `intent` is the id of the try."""

    def __init__(self, message: str, *, code: str, intent: str) -> None:
        super().__init__(message)
        self.code = code
        self.intent = intent


class Mismatch(Exception):
    """Stripe says of an object what does not fit our rows or our books: nothing was booked, and somebody has to look.
    Asking again changes nothing."""


@contextlib.contextmanager
def asking() -> Iterator[None]:
    """Around calls of `client()`: what Stripe raises becomes Unreachable, Rejected or Declined."""
    try:
        yield
    except stripe.CardError as error:
        body = error.json_body if isinstance(error.json_body, dict) else {}
        told = body.get("error") or {}
        code = str(told.get("code") or error.code or "card_declined")
        reason = str(told.get("decline_code") or code) if code == "card_declined" else code
        intent = told.get("payment_intent") or {}
        raise Declined(error.user_message or str(error), code=reason, intent=id_of(intent)) from error
    except stripe.InvalidRequestError as error:
        if error.http_status == 409:  # the same key is being worked on at this moment
            raise Unreachable(str(error)) from error
        raise Rejected(
            error.user_message or str(error), code=error.code or "", param=error.param or ""
        ) from error
    except stripe.IdempotencyError as error:
        if error.http_status == 409:
            raise Unreachable(str(error)) from error
        raise Rejected(str(error), code="idempotency_error") from error
    except (stripe.StripeError, NotConfigured) as error:
        # The network, a 429, a 500, and also a key that is wrong at present: nothing here is said about the object.
        raise Unreachable(f"{type(error).__name__}: {error}") from error


def session(session_id: str) -> Json:
    """A Checkout session with its payment, card and invoice. Raises Unreachable, Rejected."""
    with asking():
        found = plain(client().v1.checkout.sessions.retrieve(session_id))
        expand = _SETUP if found.get("mode") == "setup" else _SESSION
        return plain(client().v1.checkout.sessions.retrieve(session_id, {"expand": expand}))


def sessions_of(intent_id: str) -> list[Json]:
    """The Checkout sessions of a payment: one or none. Raises Unreachable, Rejected."""
    with asking():
        found = client().v1.checkout.sessions.list({"payment_intent": intent_id, "limit": PAGE})
        return [plain(one) for one in found.data]


def intent(intent_id: str) -> Json:
    """A payment with its card and charge. Raises Unreachable, Rejected."""
    with asking():
        return plain(client().v1.payment_intents.retrieve(intent_id, {"expand": _INTENT}))


def refund(refund_id: str) -> Json:
    """A refund. Raises Unreachable, Rejected."""
    with asking():
        return plain(client().v1.refunds.retrieve(refund_id))


def refunds_of(intent_id: str) -> list[Json]:
    """The refunds of a payment, newest first. Raises Unreachable, Rejected."""
    with asking():
        found = client().v1.refunds.list({"payment_intent": intent_id, "limit": PAGE})
        return [plain(one) for one in found.auto_paging_iter()]


def dispute(dispute_id: str) -> Json:
    """A dispute. Raises Unreachable, Rejected."""
    with asking():
        return plain(client().v1.disputes.retrieve(dispute_id))


def plain(found: stripe.StripeObject) -> Json:
    """An object of Stripe's as JSON."""
    return found.to_dict(for_json=True)


def check_ours(found: Mapping[str, Any]) -> None:
    """Refuse an object of the mode whose book is not kept here, or in money that no book has. Raises Mismatch."""
    is_live = settings.LEDGER_BOOK == "live"
    if found.get("livemode", is_live) is not is_live:
        raise Mismatch(f"{id_of(found)}: it is of the other mode than the {settings.LEDGER_BOOK} book")
    if found.get("currency") not in {None, CURRENCY}:
        raise Mismatch(f"{id_of(found)}: it is in {found['currency']}, and the books are in {CURRENCY}")


def id_of(value: object) -> str:
    """The id of what Stripe names by its id, or shows whole; empty for nothing."""
    if isinstance(value, Mapping):
        value = value.get("id")
    return value if isinstance(value, str) else ""


def whole(value: object) -> Json:
    """What Stripe shows whole; empty where it is only named, or not there."""
    return value if isinstance(value, dict) else {}


def said(found: Mapping[str, Any], name: str) -> str:
    """One of the object's metadata; empty if it has none of this name."""
    told = found.get("metadata") or {}
    value = told.get(name, "") if isinstance(told, Mapping) else ""
    return value if isinstance(value, str) else ""
