"""Unspent credit back to the card that bought it: taken from the balance first, then asked for, then told.

The debit is in the transaction that writes the refund, so what is on its way back cannot be spent meanwhile. What
Stripe says closes it, once, as done or as failed; a refund that a bank sends back later is credited again. Refunds that
somebody makes at Stripe itself are found, and taken from what is left to spend; what is not left is a loss.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from uuid import UUID, uuid5

from django.conf import settings
from django.db import transaction
from django.db.models import Q, Sum
from django.utils import timezone

from billing import ledger
from billing.gateway import calls, events
from billing.gateway.calls import Json, Mismatch, id_of, said
from billing.gateway.client import client
from billing.ledger.accounts import current_book
from billing.letters import dollars
from billing.models.attempts import CENT_MICROS
from billing.models.credit import TopUp, TopUpRefund
from billing.topups import debts, letters
from billing.topups.errors import Refused
from billing.topups.settling import Outcome, top_up_of
from marketplace import dispatch
from marketplace.ids import parse, uuid7
from marketplace.models import User

log = logging.getLogger(__name__)

Status = TopUpRefund.Status
SEND_TASK = "billing.send_refund"
DISPUTES = "charge.dispute."  # events that wait for what becomes of a refund
LEASE = timedelta(minutes=2)
PENDING_SECONDS = 20
AT_ONCE = 50


def refundable(row: TopUp, *, bought_micros: int, now: datetime | None = None, by_staff: bool = False) -> int:
    """How much of a top-up can go back now, in micro-dollars: whole cents of what is unspent and was not given or taken
    back, within `REFUND_DAYS`. `bought_micros` is what the workspace has left of bought credit."""
    if not row.is_paid or row.settled_at is None or not row.intent_id:
        return 0
    until = row.settled_at + timedelta(days=settings.REFUND_DAYS)
    if not by_staff and (now or timezone.now()) >= until:
        return 0
    found = min(row.left_micros, max(0, bought_micros))
    return found - found % CENT_MICROS


def start(
    row: TopUp,
    amount_micros: int,
    *,
    by: User | None,
    reason: str = "",
    by_staff: bool = False,
    once: UUID | None = None,
    now: datetime | None = None,
) -> TopUpRefund:
    """Take so much unspent credit out of the balance and send it back to the card. Raises Refused.

    It is asked for at once where Stripe answers, else by the clock: `status` says how far it is. The same `once` again
    is the same refund.
    """
    at = now or timezone.now()
    made = uuid5(row.public_id, once.hex) if once is not None else uuid7()
    if amount_micros <= 0 or amount_micros % CENT_MICROS:
        raise Refused("Whole cents are refunded, one at least.")
    with transaction.atomic():
        top_up = TopUp.objects.select_for_update(no_key=True).get(pk=row.pk)
        earlier = TopUpRefund.objects.filter(public_id=made).first()
        if earlier is not None:
            if earlier.amount_micros != amount_micros:
                raise Refused("This form was sent before with another amount. Begin anew.")
            return earlier
        bought = ledger.balance(top_up.workspace_id, book=top_up.book).bought_micros
        can = refundable(top_up, bought_micros=bought, now=at, by_staff=by_staff)
        if amount_micros > can:
            raise Refused(
                f"At most {dollars(can)} of this top-up can be refunded."
                if can
                else "Nothing of this top-up can be refunded: it is spent, too old, or was given back."
            )
        refund = TopUpRefund.objects.create(
            public_id=made,
            top_up=top_up,
            amount_micros=amount_micros,
            cents=_cents(top_up, amount_micros),
            reason=reason[:200],
            by=by,
            created_at=at,
        )
        top_up.refunded_micros += amount_micros
        top_up.save(update_fields=["refunded_micros"])
        try:
            ledger.topup_refund_started(
                refund.public_id, top_up.workspace_id, amount_micros, book=top_up.book, now=at
            )
        except ledger.RefundExceedsCredit as error:  # a run took it this moment
            raise Refused(f"Only {dollars(error.bought_micros)} of bought credit is left.") from error
        transaction.on_commit(lambda: hint(refund), robust=True)
    return refund


def hint(row: TopUpRefund) -> None:
    """Ask control to send a refund. It may be lost: the clock asks again."""
    dispatch.hint(SEND_TASK, row.uid, pending_seconds=PENDING_SECONDS)


def hint_waiting(*, now: datetime | None = None) -> int:
    """Ask control to send every refund that Stripe has not taken yet."""
    at = now or timezone.now()
    rows = list(
        TopUpRefund.objects.filter(
            Q(claimed_until=None) | Q(claimed_until__lte=at),
            status=Status.STARTED,
            refund_id="",
            top_up__book=current_book(),
        ).order_by("created_at")[:AT_ONCE]
    )
    for row in rows:
        hint(row)
    return len(rows)


@dispatch.follower(SEND_TASK)
def follow(key: str) -> None:
    """What a hint asks for."""
    dispatch.unhint(SEND_TASK, key)
    send(key)


def send(uid: str, *, now: datetime | None = None) -> bool:
    """Ask Stripe for a refund, outside of any transaction; True if Stripe has it, or refused it. Safe to repeat."""
    at = now or timezone.now()
    number = parse(uid, "rf")
    if number is None:
        return False
    claimed = TopUpRefund.objects.filter(
        Q(claimed_until=None) | Q(claimed_until__lte=at),
        public_id=number,
        status=Status.STARTED,
        refund_id="",
        top_up__book=current_book(),  # the other book's payments are at another Stripe, which alone may refuse
    ).update(claimed_until=at + LEASE)
    if not claimed:
        return False
    row = TopUpRefund.objects.select_related("top_up").get(public_id=number)
    try:
        found = _asked_before(row) if at - row.created_at > calls.KEY_LASTS else None
        if found is None:
            with calls.asking():
                found = calls.plain(
                    client().v1.refunds.create(
                        {
                            "payment_intent": row.top_up.intent_id,
                            "amount": row.cents,
                            "reason": "requested_by_customer",
                            "metadata": {"refund": row.uid, "topup": row.top_up.uid},
                        },
                        {"idempotency_key": f"refund-{row.public_id}"},
                    )
                )
    except calls.Unreachable as error:
        log.warning("%s waits for Stripe: %s", row, error)
        return False
    except (calls.Rejected, calls.Declined) as error:
        log.warning("%s was refused by Stripe: %s", row, error)
        _fail(row, str(error), at)
        return True
    take_refund(found, now=at)
    return True


def _asked_before(row: TopUpRefund) -> Json | None:
    """Stripe has forgotten the key by now: was the refund made?"""
    refunds = calls.refunds_of(row.top_up.intent_id)
    return next((one for one in refunds if said(one, "refund") == row.uid), None)


def follow_refund(refund_id: str, *, now: datetime | None = None) -> Outcome:
    """Bring our rows up to what a refund is now. Raises calls.Unreachable, calls.Rejected."""
    return take_refund(calls.refund(refund_id), now=now)


def take_refund(refund: Json, *, now: datetime | None = None) -> Outcome:
    """The same for a refund that was just read."""
    at = now or timezone.now()
    row = _row_of(refund)
    if row is None:
        return _find(refund, at)
    calls.check_ours(refund)
    if refund.get("amount") != row.cents:
        raise Mismatch(f"{row}: {row.cents} cents were to go back, {refund.get('amount')} do")
    if id_of(refund.get("payment_intent")) != row.top_up.intent_id:
        raise Mismatch(f"{row}: {id_of(refund)} is of another payment")
    status = refund.get("status")
    if TopUpRefund.objects.filter(pk=row.pk, refund_id="").update(refund_id=id_of(refund)):
        events.followed_soon(DISPUTES, of_intent=row.top_up.intent_id)
    if status == "succeeded":
        return _finish(row, at)
    if status in {"failed", "canceled"}:
        return _fail(row, str(refund.get("failure_reason") or status), at)
    return Outcome.NOTHING


def _row_of(refund: Json) -> TopUpRefund | None:
    rows = TopUpRefund.objects.filter(top_up__book=current_book()).select_related("top_up__workspace")
    if row := rows.filter(refund_id=id_of(refund)).first():
        return row
    number = parse(said(refund, "refund"), "rf")
    return rows.filter(public_id=number, refund_id="").first() if number is not None else None


def _finish(row: TopUpRefund, at: datetime) -> Outcome:
    """It went through; also one that had failed, whose credit is the workspace's again by now and may be spent: that is
    taken as for a refund that was made at Stripe itself."""
    with transaction.atomic():
        top_up, refund = _locked(row)
        if refund.status == Status.DONE:
            return Outcome.NOTHING
        was_failed = refund.status != Status.STARTED
        if was_failed and refund.is_found:
            raise Mismatch(f"{refund} came back and left once more: correct the books by hand")
        refund.status, refund.closed_at, refund.failure, refund.is_found = Status.DONE, at, "", was_failed
        refund.save(update_fields=["status", "closed_at", "failure", "is_found"])
        letters.tell_refund(refund)
        if was_failed:
            top_up.refunded_micros += refund.amount_micros
            top_up.save(update_fields=["refunded_micros"])
            _take_back(refund, top_up, at)
        else:
            ledger.topup_refund_done(refund.public_id, book=top_up.book, now=at)
    return Outcome.BOOKED


def _take_back(refund: TopUpRefund, top_up: TopUp, at: datetime) -> None:
    """The money is gone already: the credit goes as far as it is unspent, and what is not is a loss."""
    ledger.dispute_withdrawn(
        refund.refund_id, top_up.workspace_id, refund.amount_micros, book=top_up.book, now=at
    )


def _fail(row: TopUpRefund, why: str, at: datetime) -> Outcome:
    """It did not go through, or came back after it had: the credit is the workspace's again."""
    with transaction.atomic():
        top_up, refund = _locked(row)
        if refund.status in {Status.FAILED, Status.RETURNED}:
            return Outcome.NOTHING
        was_done = refund.status == Status.DONE
        refund.status = Status.RETURNED if was_done else Status.FAILED
        refund.closed_at, refund.failure = at, why[:500]
        refund.save(update_fields=["status", "closed_at", "failure"])
        top_up.refunded_micros -= refund.amount_micros
        top_up.save(update_fields=["refunded_micros"])
        letters.tell_refund(refund)
        if refund.is_found:
            ledger.dispute_reinstated(refund.refund_id, book=top_up.book, now=at)
        elif was_done:
            ledger.topup_refund_returned(refund.public_id, book=top_up.book, now=at)
        else:
            ledger.topup_refund_failed(refund.public_id, book=top_up.book, now=at)
        taken = debts.collect(top_up.workspace_id, book=top_up.book, now=at)
        letters.tell_made_good(top_up.workspace, taken)
        events.followed_soon(DISPUTES, of_intent=top_up.intent_id)
    return Outcome.BOOKED


def _find(refund: Json, at: datetime) -> Outcome:
    """A refund that was not begun here: the money is gone, so the credit goes too, as far as it is unspent."""
    intent_id, cents = id_of(refund.get("payment_intent")), int(refund.get("amount") or 0)
    top_up = top_up_of(intent_id, now=at) if intent_id else None
    if top_up is None or not top_up.is_paid:
        return Outcome.NOT_OURS
    calls.check_ours(refund)
    if cents <= 0 or refund.get("status") in {"failed", "canceled"}:
        return Outcome.NOTHING
    with transaction.atomic():
        locked = TopUp.objects.select_for_update(no_key=True).get(pk=top_up.pk)
        made, is_new = TopUpRefund.objects.get_or_create(
            refund_id=id_of(refund),
            defaults={
                "top_up": locked,
                "status": Status.DONE,
                "amount_micros": share_of(locked, cents),
                "cents": cents,
                "reason": "Made at Stripe",
                "is_found": True,
                "created_at": at,
                "closed_at": at,
            },
        )
        if not is_new:
            return Outcome.NOTHING
        locked.refunded_micros += made.amount_micros
        locked.save(update_fields=["refunded_micros"])
        letters.tell_refund(made)
        _take_back(made, locked, at)
    return Outcome.BOOKED


def share_of(top_up: TopUp, cents: int) -> int:
    """The credit that a part of what was paid stands for: its tax is none."""
    if cents >= top_up.paid_cents:
        return top_up.amount_micros
    return cents * top_up.amount_micros // top_up.paid_cents


def _cents(top_up: TopUp, amount_micros: int) -> int:
    """What goes back for so much credit, tax included: of all refunds together exactly its share, to the cent."""
    live = top_up.refunds.exclude(status__in=[Status.FAILED, Status.RETURNED])
    before = live.aggregate(micros=Sum("amount_micros", default=0), cents=Sum("cents", default=0))
    share = (before["micros"] + amount_micros) * top_up.paid_cents // top_up.amount_micros
    return int(max(1, min(share - before["cents"], top_up.paid_cents - before["cents"])))


def _locked(row: TopUpRefund) -> tuple[TopUp, TopUpRefund]:
    """The top-up first, as everywhere."""
    top_up = TopUp.objects.select_for_update(no_key=True, of=("self",)).select_related("workspace")
    found = top_up.get(pk=row.top_up_id)
    refund = TopUpRefund.objects.select_for_update(no_key=True).get(pk=row.pk)
    refund.top_up = found
    return found, refund
