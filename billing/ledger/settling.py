"""Closing a hold, once: captured for a charge, or released. Two statements: close the hold, then post the
movement.

The publisher's share of what was paid from bought credit is pending until it matures; its share of what was
paid from granted credit, and of its own workspace's runs, goes to `publisher_unpayable`. Every part of a
charge is shared by the same fraction, and shares are rounded down, so fee = charge - share has no dust.

Bought credit that comes back of a hold makes good for what the workspace owes for lost disputes, in the same
transaction; where nothing is owed that costs no statement.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple
from uuid import UUID

from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, transaction
from django.db.models import Q, Sum
from django.utils import timezone

from billing import pricing
from billing.ledger.accounts import AccountName, Kind, post_and_look
from billing.ledger.disputing import make_good
from billing.models import PUBLISHER_KINDS, Hold, LedgerEntry, LedgerTransaction


class NoSuchHold(Exception):
    """Nothing was ever held for this reference."""


class AlreadySettled(Exception):
    """The hold was closed the other way: `state` is captured or released."""

    def __init__(self, reference: UUID, state: str) -> None:
        super().__init__(f"the hold of {reference} was {state} before")
        self.reference = reference
        self.state = state


class CaptureExceedsHold(ValueError):
    """More was to be charged than was held; the hold is still open."""


@dataclass(frozen=True)
class Share:
    """Who earns from a charge: `fraction` of it. `own_workspace`: the publisher runs its own model."""

    publisher_id: int
    fraction: Decimal | Fraction
    own_workspace: bool = False


@dataclass(frozen=True)
class Usage:
    """What the statement says about a settled run. `quote` and `units` are JSON; `quote` as of
    `Quote.as_json`."""

    model: str
    status: str
    quote: Mapping[str, object] = field(default_factory=dict)
    units: Mapping[str, object] = field(default_factory=dict)
    key_id: int | None = None
    user_id: int | None = None
    occurred_at: datetime | None = None


@dataclass(frozen=True)
class Charge:
    """A capture's result. amount = share + fee; `payable_share` is the part of the share that will be paid
    out."""

    reference: UUID
    amount_micros: int
    share_micros: int
    payable_share_micros: int
    fee_micros: int
    returned_micros: int


class _Closed(NamedTuple):
    workspace_id: int
    book: str
    granted_micros: int
    bought_micros: int


_CLOSE = """
    SELECT workspace, held_book, granted, bought
      FROM ledger_close(%s::uuid, %s, %s::bigint, %s, %s, %s, %s,
                        %s::bigint, %s::bigint, %s::jsonb, %s::jsonb, %s)
"""


def capture(
    *,
    reference: UUID,
    amount_micros: int,
    share: Share | None,
    usage: Usage,
    now: datetime | None = None,
) -> Charge:
    """Charges `amount_micros` of the hold, returns the rest, pays the publisher's share and records the
    usage.

    A repeated capture changes nothing and returns the first charge. Raises `AlreadySettled` after a release,
    `CaptureExceedsHold` when more is charged than was held, `NoSuchHold`; the caller's transaction stays
    usable.
    """
    if amount_micros < 0:
        raise ValueError("a charge is zero or more micro-dollars")
    at = now or timezone.now()
    with transaction.atomic(savepoint=False):
        closed = _close(reference, Hold.State.CAPTURED, amount_micros, usage, at=at)
        if closed is not None:
            return _charge(reference, closed, amount_micros, share, at=at)
    earlier = _state(reference)
    if earlier == Hold.State.OPEN:
        raise CaptureExceedsHold(f"{amount_micros} micro-dollars are more than was held for {reference}")
    if earlier == Hold.State.RELEASED:
        raise AlreadySettled(reference, earlier)
    return _first_charge(reference)


def release(*, reference: UUID, usage: Usage | None = None, now: datetime | None = None) -> bool:
    """Returns all that was held. True if this call did it, False if it was released before.

    Raises `AlreadySettled` after a capture and `NoSuchHold`; the caller's transaction stays usable.
    """
    at = now or timezone.now()
    with transaction.atomic(savepoint=False):
        closed = _close(reference, Hold.State.RELEASED, 0, usage, at=at)
        if closed is not None:
            legs = {
                AccountName(Kind.WORKSPACE_HELD, closed.workspace_id): -closed.granted_micros
                - closed.bought_micros,
                AccountName(Kind.WORKSPACE_GRANTED, closed.workspace_id): closed.granted_micros,
                AccountName(Kind.WORKSPACE_BOUGHT, closed.workspace_id): closed.bought_micros,
            }
            _settle(reference, closed, LedgerTransaction.Kind.RELEASE, legs, at=at)
            return True
    earlier = _state(reference)
    if earlier != Hold.State.RELEASED:
        raise AlreadySettled(reference, earlier)
    return False


def _close(
    reference: UUID, state: Hold.State, amount_micros: int, usage: Usage | None, *, at: datetime
) -> _Closed | None:
    shown = usage or Usage(model="", status="")
    parameters = (
        reference,
        state.value,
        amount_micros,
        at,
        usage is not None,
        shown.model,
        shown.status,
        shown.key_id,
        shown.user_id,
        json.dumps(dict(shown.quote), cls=DjangoJSONEncoder),
        json.dumps(dict(shown.units), cls=DjangoJSONEncoder),
        shown.occurred_at or at,
    )
    with connection.cursor() as cursor:
        cursor.execute(_CLOSE, parameters)
        row = cursor.fetchone()
    return None if row is None else _Closed(*row)


def _charge(
    reference: UUID, closed: _Closed, amount_micros: int, share: Share | None, *, at: datetime
) -> Charge:
    held = closed.granted_micros + closed.bought_micros
    from_granted = min(amount_micros, closed.granted_micros)
    from_bought = amount_micros - from_granted
    legs = {
        AccountName(Kind.WORKSPACE_HELD, closed.workspace_id): -held,
        AccountName(Kind.WORKSPACE_GRANTED, closed.workspace_id): closed.granted_micros - from_granted,
        AccountName(Kind.WORKSPACE_BOUGHT, closed.workspace_id): closed.bought_micros - from_bought,
    }
    earned = payable = 0
    if share is not None:
        earned = pricing.share(amount_micros, share.fraction)
        payable = 0 if share.own_workspace else pricing.share(from_bought, share.fraction)
        legs[AccountName(Kind.PUBLISHER_PENDING, share.publisher_id)] = payable
        legs[AccountName(Kind.PUBLISHER_UNPAYABLE, share.publisher_id)] = earned - payable
    legs[AccountName(Kind.PLATFORM_REVENUE)] = amount_micros - earned
    _settle(reference, closed, LedgerTransaction.Kind.CAPTURE, legs, at=at)
    return Charge(reference, amount_micros, earned, payable, amount_micros - earned, held - amount_micros)


def _settle(
    reference: UUID,
    closed: _Closed,
    kind: LedgerTransaction.Kind,
    legs: Mapping[AccountName, int],
    *,
    at: datetime,
) -> None:
    # Capture and release share this key: should the guard on the hold ever fail, the second movement is still
    # refused.
    posted = post_and_look(
        book=closed.book, key=f"settle:{reference}", kind=kind, legs=legs, reference=reference, at=at
    )
    if posted is None:
        raise RuntimeError(f"the hold of {reference} was open although it had been settled")
    if posted.owes:
        make_good(closed.workspace_id, book=closed.book, now=at)


def _state(reference: UUID) -> Hold.State:
    state = Hold.objects.filter(reference=reference).values_list("state", flat=True).first()
    if state is None:
        raise NoSuchHold(f"nothing was held for {reference}")
    return Hold.State(state)


def _first_charge(reference: UUID) -> Charge:
    hold = Hold.objects.get(reference=reference)
    sums = LedgerEntry.objects.filter(
        transaction__book=hold.book, transaction__key=f"settle:{reference}"
    ).aggregate(
        earned=Sum("amount_micros", filter=Q(account__kind__in=PUBLISHER_KINDS), default=0),
        payable=Sum("amount_micros", filter=Q(account__kind=Kind.PUBLISHER_PENDING), default=0),
    )
    charged = hold.captured_micros
    held = hold.granted_micros + hold.bought_micros
    return Charge(
        reference, charged, sums["earned"], sums["payable"], charged - sums["earned"], held - charged
    )
