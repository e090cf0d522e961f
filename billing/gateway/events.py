"""What Stripe tells us: verified, kept, and followed once. An event is a hint; the object is read anew.

An event is stored as it comes, in one statement that is its queue too: a row without `handled_at` is followed by
control, and again later where that failed: for as long as Stripe does not answer, else some times, and then it is put
aside for the operator, with the reason. Who follows what is `billing.arrivals`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import stripe
from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, Q
from django.utils import timezone

from billing.gateway.calls import Mismatch, Unreachable
from billing.gateway.client import webhook_secrets
from billing.models.credit import StripeEvent
from marketplace import dispatch

FOLLOW_TASK = "billing.follow_stripe_event"
TOLERANCE_SECONDS = 300
MAX_BYTES = 1024 * 1024
KEPT = timedelta(days=90)
LEASE = timedelta(minutes=2)  # longer than a handler takes: one that died is followed again after it
BACKOFF_SECONDS = (5, 30, 120, 600, 3600, 6 * 3600, 24 * 3600)  # by tries; the last repeats
MOST_TRIES = len(BACKOFF_SECONDS)  # of what fails here, and not for want of an answer
MOST_SILENT = 4  # tries that silence uses up: what fails here after it has the others, and is not hours away
PENDING_SECONDS = 30
MAX_HEADER = 2000

log = logging.getLogger(__name__)


class Refused(Exception):
    """What came is no event of Stripe's for this site; the message says why, without what it was."""


@dataclass(frozen=True)
class Hint:
    """An event, for who follows it: which object of which account may have changed, and what was said of it."""

    event_id: str
    type: str
    object_id: str
    account: str
    payload: dict[str, Any]


def receive(payload: bytes, signature: str, *, now: datetime | None = None) -> bool:
    """Keep one event, as it came over the wire, and have it followed; False if it had come before.

    Raises Refused for what Stripe did not sign within the last five minutes, and for the other book's events.
    """
    _verify(payload, signature)
    return store(_parsed(payload), now=now)


def store(event: dict[str, Any], *, now: datetime | None = None) -> bool:
    """Keep one event that is known to be Stripe's; False if it had come before. Raises Refused."""
    event_id, kind = _text(event.get("id")), _text(event.get("type"))
    if not event_id or not kind or len(kind) > 120:
        raise Refused("the event has no id or no type")
    book = "live" if event.get("livemode") else "test"
    if book != settings.LEDGER_BOOK:
        raise Refused(
            f"this installation keeps the {settings.LEDGER_BOOK} book, the event is of the {book} one"
        )
    at = now or timezone.now()
    with transaction.atomic():
        row, is_new = StripeEvent.objects.get_or_create(
            event_id=event_id,
            defaults={
                "type": kind,
                "object_id": _object_id(event),
                "account": _text(event.get("account") or event.get("context")),
                "book": book,
                "payload": event,
                "occurred_at": _moment(event.get("created"), at),
                "received_at": at,
                "due_at": at,
            },
        )
        if is_new:
            transaction.on_commit(partial(hint, event_id), robust=True)
        else:
            StripeEvent.objects.filter(pk=row.pk).update(deliveries=F("deliveries") + 1)
    return is_new


def hint(event_id: str) -> None:
    """Ask control to follow an event. It may be lost: `hint_waiting` asks again."""
    dispatch.hint(FOLLOW_TASK, event_id, pending_seconds=PENDING_SECONDS)


def hint_waiting(limit: int = 100, *, now: datetime | None = None) -> int:
    """Ask control to follow all events that are due; returns how many."""
    due = StripeEvent.objects.filter(handled_at=None, aside_at=None, due_at__lte=now or timezone.now())
    names = list(due.order_by("due_at").values_list("event_id", flat=True)[:limit])
    for name in names:
        hint(name)
    return len(names)


_CLAIM = """
UPDATE billing_stripeevent SET tries = tries + 1, due_at = %(until)s
 WHERE event_id = %(event)s AND handled_at IS NULL AND aside_at IS NULL AND due_at <= %(now)s
RETURNING event_id, type, object_id, account, payload::text, tries
"""


def follow(event_id: str, act: Callable[[Hint], None], *, now: datetime | None = None) -> bool:
    """Do `act` about an event that is due, outside of any transaction; True if it is done with.

    Of several at once one does it. What `act` raises is logged, and it is tried again later, less and less often; or it
    is put aside, at once where `act` says that what was told does not fit.
    """
    at = now or timezone.now()
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, {"event": event_id, "now": at, "until": at + LEASE})
        found = cursor.fetchone()
    dispatch.unhint(FOLLOW_TASK, event_id)
    if found is None:
        return False
    name, kind, object_id, account, payload, tries = found
    rows = StripeEvent.objects.filter(event_id=event_id, handled_at=None)
    try:
        act(Hint(name, kind, object_id, account, json.loads(payload)))
    except Exception as error:
        log.exception("event %s of Stripe could not be followed", event_id)
        if isinstance(error, Unreachable):
            tries = min(tries, MOST_SILENT)
        is_hopeless = isinstance(error, Mismatch) or tries >= MOST_TRIES
        wait = BACKOFF_SECONDS[min(tries - 1, len(BACKOFF_SECONDS) - 1)]
        rows.update(
            tries=tries,
            due_at=at + timedelta(seconds=wait),
            aside_at=at if is_hopeless else None,
            last_error=f"{type(error).__name__}: {error}"[:2000],
        )
        return False
    rows.update(handled_at=timezone.now(), last_error="")
    return True


def followed_soon(kind: str, *, of_intent: str, now: datetime | None = None) -> int:
    """Follow the events of a kind about a payment that could not be followed yet, as what they waited for is decided;
    how many. In the transaction that decides it, or after it."""
    at = now or timezone.now()
    waiting = StripeEvent.objects.filter(
        handled_at=None,
        aside_at=None,
        due_at__gt=at,
        type__startswith=kind,
        payload__data__object__payment_intent=of_intent,
    )
    # Those that somebody is following this moment are among them: to follow them once more changes nothing.
    names = list(waiting.exclude(last_error="").values_list("event_id", flat=True))
    StripeEvent.objects.filter(event_id__in=names, handled_at=None).update(due_at=at)
    for name in names:
        transaction.on_commit(partial(hint, name), robust=True)
    return len(names)


def again(event_id: str, *, now: datetime | None = None) -> bool:
    """Follow an event that was put aside as if it had just come; False if there is none."""
    aside = StripeEvent.objects.filter(event_id=event_id, aside_at__isnull=False)
    return bool(aside.update(aside_at=None, tries=0, due_at=now or timezone.now()))


def drop(event_id: str, *, now: datetime | None = None) -> bool:
    """Be done with an event that was put aside: the operator has looked. False if there is none."""
    aside = StripeEvent.objects.filter(event_id=event_id, aside_at__isnull=False)
    return bool(aside.update(aside_at=None, handled_at=now or timezone.now()))


def is_known(event_id: str) -> bool:
    """Whether an event came already."""
    return StripeEvent.objects.filter(event_id=event_id).exists()


def stuck(*, before: datetime) -> list[tuple[str, str, str]]:
    """Events that were put aside, or came before then and could not be followed: ids, types and what went wrong."""
    is_late = Q(received_at__lt=before) | Q(aside_at__isnull=False)
    rows = StripeEvent.objects.filter(is_late, handled_at=None, book=settings.LEDGER_BOOK)
    return list(rows.order_by("received_at").values_list("event_id", "type", "last_error")[:100])


def aside(limit: int) -> list[StripeEvent]:
    """Events that were put aside, those of the longest ago first."""
    rows = StripeEvent.objects.filter(aside_at__isnull=False, handled_at=None, book=settings.LEDGER_BOOK)
    return list(rows.defer("payload").order_by("received_at", "pk")[:limit])


def tidy(*, now: datetime | None = None) -> int:
    """Forget events that were followed long ago; returns how many."""
    until = (now or timezone.now()) - KEPT
    return StripeEvent.objects.filter(received_at__lt=until, handled_at__isnull=False).delete()[0]


def _verify(payload: bytes, signature: str) -> None:
    if len(payload) > MAX_BYTES or len(signature) > MAX_HEADER:
        raise Refused("the body or its signature is too long")
    for secret in webhook_secrets():
        try:
            stripe.WebhookSignature.verify_header(payload, signature, secret, TOLERANCE_SECONDS)
        except (stripe.SignatureVerificationError, ValueError, OverflowError):
            continue  # of several secrets one may have signed; a body that is no text none did
        return
    raise Refused("the signature is none of Stripe's, or is too old")


def _parsed(payload: bytes) -> dict[str, Any]:
    try:
        event = json.loads(payload)
        # What the database could not hold is none of Stripe's: half characters, the one of no bits, endless numbers.
        kept = json.dumps(event, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        raise Refused("the body is no JSON") from None
    if b"\\u0000" in kept:
        raise Refused("the body is no JSON")
    if not isinstance(event, dict) or event.get("object") not in {"event", "v2.core.event"}:
        raise Refused("the body is no event")
    return event


def _object_id(event: dict[str, Any]) -> str:
    """The object that a snapshot (v1) carries or a thin event (v2) names."""
    data, related = event.get("data"), event.get("related_object")
    if isinstance(related, dict):
        return _text(related.get("id"))
    carried = data.get("object") if isinstance(data, dict) else None
    return _text(carried.get("id")) if isinstance(carried, dict) else ""


def _moment(value: object, otherwise: datetime) -> datetime:
    """When it happened: Unix seconds in v1, ISO 8601 in v2."""
    try:
        if isinstance(value, str):
            found = datetime.fromisoformat(value)
            return found if found.tzinfo else found.replace(tzinfo=UTC)
        return datetime.fromtimestamp(float(value), UTC) if isinstance(value, int | float) else otherwise
    except (ValueError, OverflowError, OSError):
        return otherwise


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 255 and value.isprintable()


def _text(value: object) -> str:
    return value if _is_name(value) and isinstance(value, str) else ""
