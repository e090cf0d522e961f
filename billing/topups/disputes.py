"""Disputes: what a card's bank takes back leaves the balance as far as it is unspent; the rest is owed once it is lost.

Stripe's events about a dispute come in any order. What counts is the list of its movements on our account there: one
that is negative was a withdrawal, one that is positive gave it back.
"""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.utils import timezone

from billing import ledger
from billing.gateway import calls
from billing.gateway.calls import Json, id_of
from billing.models.credit import Dispute, TopUp, TopUpRefund
from billing.topups import debts, letters, pausing, refunds
from billing.topups.settling import Outcome, top_up_of


def follow_dispute(dispute_id: str, *, now: datetime | None = None) -> Outcome:
    """Bring our rows up to what a dispute is now. Raises calls.Unreachable, calls.Rejected."""
    return take_dispute(calls.dispute(dispute_id), now=now)


def take_dispute(dispute: Json, *, now: datetime | None = None) -> Outcome:
    """The same for a dispute that was just read.

    Raises calls.Undecided while a refund of the payment was not taken by Stripe and not refused either: refused, as it
    will be, its credit comes back, and would be spent beside what the dispute took. Once it is, the event is followed.
    """
    at = now or timezone.now()
    intent_id, cents = id_of(dispute.get("payment_intent")), int(dispute.get("amount") or 0)
    top_up = top_up_of(intent_id, now=at) if intent_id else None
    if top_up is None or not top_up.is_paid:
        return Outcome.NOT_OURS
    calls.check_ours(dispute)
    for refund in top_up.refunds.filter(status=TopUpRefund.Status.STARTED, refund_id=""):
        refunds.send(refund.uid, now=now)
    moved = [int(one.get("amount") or 0) for one in dispute.get("balance_transactions") or []]
    is_withdrawn, is_reinstated = any(one < 0 for one in moved), any(one > 0 for one in moved)
    status = str(dispute.get("status") or "")[:40]
    with transaction.atomic():
        locked = (
            TopUp.objects.select_for_update(no_key=True, of=("self",))
            .select_related("workspace")
            .get(pk=top_up.pk)
        )
        row, is_new = Dispute.objects.get_or_create(
            dispute_id=id_of(dispute),
            defaults={
                "top_up": locked,
                "status": status,
                "reason": str(dispute.get("reason") or "")[:80],
                "amount_micros": refunds.share_of(locked, cents),
                "created_at": at,
            },
        )
        row.top_up = locked
        waiting = locked.refunds.filter(status=TopUpRefund.Status.STARTED, refund_id="")
        if is_withdrawn and row.withdrawn_at is None and waiting.exists():
            raise calls.Undecided("a refund of the same payment is not decided yet")
        # Read before another event closed it, it may come to be booked after that.
        if row.status in Dispute.CLOSED and status not in Dispute.CLOSED:
            status = row.status
        is_changed = is_new or row.status != status
        row.status = status
        row.save(update_fields=["status"])
        if is_new and status not in Dispute.CLOSED:
            pausing.tell_disputed(row)
        if is_withdrawn and row.withdrawn_at is None:
            _withdraw(row, locked, at)
            is_changed = True
        has_come_back = False
        if is_reinstated and row.reinstated_at is None:
            _reinstate(row, locked, at)
            is_changed = has_come_back = True
        is_lost = row.status == debts.LOST and row.withdrawn_at is not None and row.reinstated_at is None
        if is_lost:
            ledger.dispute_lost(row.dispute_id, book=locked.book)
        if has_come_back or is_lost:
            taken = debts.collect(locked.workspace_id, book=locked.book, now=at)
            is_changed = is_changed or taken > 0
            letters.tell_made_good(locked.workspace, taken)
    return Outcome.BOOKED if is_changed else Outcome.NOTHING


def _withdraw(row: Dispute, top_up: TopUp, at: datetime) -> None:
    row.withdrawn_at = at
    row.save(update_fields=["withdrawn_at"])
    top_up.disputed_micros += row.amount_micros
    top_up.save(update_fields=["disputed_micros"])
    if row.amount_micros:
        taken = ledger.dispute_withdrawn(
            row.dispute_id,
            top_up.workspace_id,
            row.amount_micros,
            paid_at=top_up.settled_at,
            book=top_up.book,
            now=at,
        )
        letters.tell_dispute(row, taken)


def _reinstate(row: Dispute, top_up: TopUp, at: datetime) -> None:
    row.reinstated_at = at
    row.save(update_fields=["reinstated_at"])
    top_up.disputed_micros -= row.amount_micros
    top_up.save(update_fields=["disputed_micros"])
    if row.amount_micros:
        ledger.dispute_reinstated(row.dispute_id, book=top_up.book, now=at)
