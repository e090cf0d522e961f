"""Credit bought by itself when it runs low: within what was agreed to, one attempt at a time, and never twice.

The clock finds who is low and writes the attempt; control charges it, outside of any transaction, under a key that is
the attempt's id. Who dies between the charge and the books leaves an attempt that is asked for again by the same key.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Q, Sum
from django.utils import timezone

from billing.gateway import calls
from billing.gateway.client import client, is_configured
from billing.ledger.accounts import balance, current_book
from billing.letters import dollars
from billing.models.credit import AutoTopUp, Dispute, StripeCustomer, TopUp
from billing.topups import checkout, letters, pausing, settling
from billing.topups.errors import Refused
from marketplace import dispatch
from marketplace.ids import encode, parse
from marketplace.models import User, Workspace

log = logging.getLogger(__name__)

CHARGE_TASK = "billing.charge_top_up"
LEASE = timedelta(minutes=2)  # longer than all tries of one request
LASTS = timedelta(days=3)  # in which an attempt that nobody can say anything about is asked about
AT_ONCE = 50
PENDING_SECONDS = 20


@dataclass(frozen=True)
class Plan:
    """What a workspace agrees to: below which balance how much is bought, and how much of it a month at most."""

    below_micros: int
    amount_micros: int
    month_micros: int


def is_possible() -> bool:
    """Whether this installation can charge cards by itself: tax is worked out on the payment page only."""
    return is_configured() and not settings.STRIPE_TAX


def known(workspace: Workspace) -> AutoTopUp | None:
    """The workspace's automatic top-ups, if it ever set them up."""
    return AutoTopUp.objects.filter(workspace=workspace, book=current_book()).first()


def turn_on(workspace: Workspace, plan: Plan, *, by: User | None, now: datetime | None = None) -> AutoTopUp:
    """Agree to a plan; a pause that the card was the reason of ends. Raises Refused for what cannot be."""
    at = now or timezone.now()
    if not is_possible():
        raise Refused("Automatic top-ups are not possible here.")
    checkout.checked(plan.amount_micros)
    if not 0 < plan.below_micros <= checkout.most():
        raise Refused(f"The threshold is above zero and at most {dollars(checkout.most())}.")
    if not plan.amount_micros <= plan.month_micros <= 100 * checkout.most():
        raise Refused("The month's cap must allow at least one top-up.")
    customer = StripeCustomer.objects.filter(workspace=workspace, book=current_book()).first()
    if customer is None or not customer.has_card:
        raise Refused("Save a card first: it is what would be charged.")
    row, _ = AutoTopUp.objects.update_or_create(
        workspace=workspace,
        book=current_book(),
        defaults={
            "is_on": True,
            "below_micros": plan.below_micros,
            "amount_micros": plan.amount_micros,
            "month_micros": plan.month_micros,
            "agreed_by": by,
            "agreed_at": at,
            "capped_at": None,
        },
    )
    pausing.resume(row)
    return row


def turn_off(workspace: Workspace) -> None:
    """No charge begins any more. One that Stripe was asked for is finished."""
    AutoTopUp.objects.filter(workspace=workspace, book=current_book()).update(is_on=False)


def month_micros(workspace_id: int, *, book: str | None = None, now: datetime | None = None) -> int:
    """What was bought by itself, or is being bought, in the present month of UTC."""
    at = (now or timezone.now()).astimezone(UTC)
    start = at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    counted = Q(status=TopUp.Status.PAID) | Q(status__in=TopUp.UNDECIDED)
    rows = TopUp.objects.filter(
        counted,
        workspace_id=workspace_id,
        book=current_book(book),
        kind=TopUp.Kind.AUTOMATIC,
        created_at__gte=start,
    )
    return int(rows.aggregate(total=Sum("amount_micros", default=0))["total"])


# Few workspaces have this on, and those that are paused, waiting, being charged or closed leave at once.
_LOW = """
SELECT a.id FROM billing_autotopup a JOIN marketplace_workspace w ON w.id = a.workspace_id
 WHERE a.book = %(book)s AND a.is_on AND a.pause = '' AND w.closed_at IS NULL
   AND (a.not_before IS NULL OR a.not_before <= %(now)s)
   AND NOT EXISTS (SELECT 1 FROM billing_topup t
                    WHERE t.workspace_id = a.workspace_id AND t.book = a.book AND t.kind = 'automatic'
                      AND t.status IN ('new', 'open', 'processing'))
   AND NOT EXISTS (SELECT 1 FROM billing_topup t JOIN billing_dispute d ON d.top_up_id = t.id
                    WHERE t.workspace_id = a.workspace_id AND t.book = a.book AND d.status <> ALL(%(closed)s))
   AND a.below_micros > (SELECT coalesce(sum(l.balance_micros), 0) FROM billing_ledgeraccount l
                          WHERE l.workspace_id = a.workspace_id AND l.book = a.book
                            AND l.kind IN ('workspace_granted', 'workspace_bought'))
 LIMIT %(limit)s
"""


def find_low(*, now: datetime | None = None) -> int:
    """Begin an attempt for every workspace that is below its threshold; returns how many. Safe to repeat."""
    if not is_possible():
        return 0
    at = now or timezone.now()
    wanted: dict[str, Any] = {
        "book": current_book(),
        "limit": AT_ONCE,
        "now": at,
        "closed": list(Dispute.CLOSED),
    }
    with connection.cursor() as cursor:
        cursor.execute(_LOW, wanted)
        found = [row for (row,) in cursor.fetchall()]
    return sum(_begin(row, at) for row in found)


def _begin(auto_id: int, at: datetime) -> bool:
    with transaction.atomic():
        # Under its lock, and looked at once more: of two clocks one begins, and sees what the other one did.
        row = AutoTopUp.objects.select_for_update(skip_locked=True, of=("self",)).filter(pk=auto_id).first()
        if (
            row is None
            or not pausing.is_running(row)
            or balance(row.workspace_id).available_micros >= row.below_micros
        ):
            return False
        rows = TopUp.objects.filter(workspace_id=row.workspace_id, book=row.book, kind=TopUp.Kind.AUTOMATIC)
        if rows.filter(status__in=TopUp.UNDECIDED).exists():
            return False
        if month_micros(row.workspace_id, book=row.book, now=at) + row.amount_micros > row.month_micros:
            _tell_capped(row, at)
            return False
        made = TopUp.objects.create(
            workspace_id=row.workspace_id,
            book=row.book,
            kind=TopUp.Kind.AUTOMATIC,
            amount_micros=row.amount_micros,
            created_at=at,
            expires_at=at + LASTS,
        )
        transaction.on_commit(lambda: hint(made), robust=True)
    return True


def _tell_capped(row: AutoTopUp, at: datetime) -> None:
    """Once a month, and the clock looks again only later."""
    is_news = row.capped_at is None or (row.capped_at.year, row.capped_at.month) != (at.year, at.month)
    row.not_before = at + timedelta(minutes=5)
    row.capped_at = at if is_news else row.capped_at
    row.save(update_fields=["not_before", "capped_at"])
    if is_news:
        letters.tell_capped(row)


def hint(row: TopUp) -> None:
    """Ask control to charge an attempt. It may be lost: the clock asks again."""
    dispatch.hint(CHARGE_TASK, row.uid, pending_seconds=PENDING_SECONDS)


def hint_waiting(*, now: datetime | None = None) -> int:
    """Ask control to charge every attempt that nobody is at."""
    at = now or timezone.now()
    waiting = TopUp.objects.filter(
        Q(claimed_until=None) | Q(claimed_until__lte=at),
        book=current_book(),
        kind=TopUp.Kind.AUTOMATIC,
        status=TopUp.Status.NEW,
    )
    rows = list(waiting.filter(created_at__lte=at).order_by("created_at")[:AT_ONCE])
    for row in rows:
        hint(row)
    return len(rows)


@dispatch.follower(CHARGE_TASK)
def follow(key: str) -> None:
    """What a hint asks for."""
    dispatch.unhint(CHARGE_TASK, key)
    charge(key)


def charge(uid: str, *, now: datetime | None = None) -> bool:
    """Charge the saved card for one attempt, outside of any transaction; True if it is decided now.

    Safe to repeat and to be killed at any point: the attempt's id is the idempotency key.
    """
    at = now or timezone.now()
    number = parse(uid, "tu")
    if number is None:
        return False
    rows = TopUp.objects.filter(
        public_id=number, book=current_book(), kind=TopUp.Kind.AUTOMATIC, status=TopUp.Status.NEW
    )
    is_first = bool(rows.filter(claimed_until=None).update(claimed_until=at + LEASE))
    if not is_first and not rows.filter(claimed_until__lte=at).update(claimed_until=at + LEASE):
        return False
    row = TopUp.objects.select_related("workspace").get(public_id=number)
    is_wanted = _is_wanted(row)
    if is_first and not is_wanted:
        message = "Buying by itself had ended before the card was charged."
        settling.fail(row, code=pausing.STOPPED, message=message, now=at)
        return True
    if not is_wanted or at - row.created_at > calls.KEY_LASTS:
        return _look_up(row, at)
    customer = StripeCustomer.objects.filter(workspace_id=row.workspace_id, book=row.book).first()
    if customer is None or not customer.has_card:
        settling.fail(row, code="no_card", message="No card is saved.", now=at)
        return True
    try:
        found = _ask(row, customer)
    except calls.Declined as error:
        _let_go(error.intent)
        settling.fail(row, code=error.code, message=str(error), intent_id=error.intent, now=at)
        return True
    except calls.Rejected as error:
        log.warning("%s was refused by Stripe: %s", row, error)
        if error.code == "idempotency_error":  # it was asked before, for another card than the one of now
            return _look_up(row, at)
        code = "no_card" if error.is_missing else error.code or "rejected"
        settling.fail(row, code=code, message=str(error), now=at)
        return True
    except calls.Unreachable as error:
        log.warning("%s waits for Stripe: %s", row, error)
        return False
    settling.take_intent(found, now=at)
    if found.get("status") == "requires_action":
        _let_go(calls.id_of(found))
    return True


def _is_wanted(row: TopUp) -> bool:
    """Whether it is still agreed to: not turned off, not paused, as by a dispute, and somebody is there to spend it."""
    known = AutoTopUp.objects.filter(workspace_id=row.workspace_id, book=row.book).first()
    return known is not None and pausing.is_running(known) and row.workspace.closed_at is None


def _ask(row: TopUp, customer: StripeCustomer) -> calls.Json:
    meta = {"topup": row.uid, "workspace": encode(row.workspace.public_id, "ws")}
    with calls.asking():
        return calls.plain(
            client().v1.payment_intents.create(
                {
                    "amount": row.cents,
                    "currency": "usd",
                    "customer": customer.customer_id,
                    "payment_method": customer.card_id,
                    "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
                    "off_session": True,
                    "confirm": True,
                    "description": f"Vitrine credit, {dollars(row.amount_micros)}",
                    "metadata": meta,
                    "expand": ["latest_charge"],
                },
                {"idempotency_key": f"topup-{row.public_id}"},
            )
        )


def _let_go(intent_id: str) -> None:
    """Cancel a payment that was declined, so that nobody completes it later. It is no matter if that fails: whatever is
    paid in the end is booked."""
    if not intent_id:
        return
    try:
        with calls.asking():
            client().v1.payment_intents.cancel(intent_id)
    except (calls.Unreachable, calls.Rejected, calls.Declined) as error:
        log.warning("payment %s was not canceled: %s", intent_id, error)


def _look_up(row: TopUp, at: datetime) -> bool:
    """An attempt older than Stripe's memory for keys: asked again it might charge twice, so its lists must tell."""
    customer = StripeCustomer.objects.filter(workspace_id=row.workspace_id, book=row.book).first()
    try:
        with calls.asking():
            listed = client().v1.payment_intents.list(
                {
                    "customer": customer.customer_id if customer else "",
                    "created": {"gte": int(row.created_at.timestamp()) - 60},
                    "limit": calls.PAGE,
                }
            )
            mine = [
                one.id
                for one in listed.auto_paging_iter()
                if calls.said(calls.plain(one), "topup") == row.uid
            ]
    except calls.Unreachable as error:
        log.warning("%s waits for Stripe: %s", row, error)
        return False
    except calls.Rejected:
        mine = []
    if mine:
        settling.follow_intent(mine[0], now=at)
    else:
        settling.fail(
            row, code="not_made", message="Stripe did not answer in time; nothing was charged.", now=at
        )
    return True
