"""From what Stripe says of a payment to credit: read anew, checked, booked once, and whoever waited goes on.

Everything here may run any number of times, at once and in any order: from a webhook, from the page that the buyer
comes back to, from the clock, and from the comparison with Stripe's lists. The key of the movement is the object that
was paid, so that one payment is credited once; the row of the attempt is locked while it is.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from enum import StrEnum

from django.db import transaction
from django.utils import timezone

from billing import ledger
from billing.gateway import calls
from billing.gateway.calls import Json, Mismatch, id_of, said, whole
from billing.ledger.accounts import current_book
from billing.models.credit import AutoTopUp, TopUp
from billing.topups import debts, letters, pausing
from billing.topups.customers import CARD_OF, save_card
from marketplace import dispatch
from marketplace.ids import parse
from marketplace.models import Workspace

log = logging.getLogger(__name__)

#: Lives a room above: an outbox message that credit has come, in the transaction that books it.
CREDIT_TASK = "playground.credit_arrived"


class Outcome(StrEnum):
    """What looking at an object changed."""

    NOT_OURS = "not ours"
    NOTHING = "nothing new"
    BOOKED = "booked"
    CLOSED = "closed"
    NOTED = "noted"


def follow_session(session_id: str, *, now: datetime | None = None) -> Outcome:
    """Bring our rows up to what a Checkout session is now. Raises calls.Unreachable, calls.Rejected, Mismatch."""
    return take_session(calls.session(session_id), now=now)


def follow_intent(intent_id: str, *, now: datetime | None = None) -> Outcome:
    """Bring our rows up to what a payment is now. Raises as `follow_session` does."""
    return take_intent(calls.intent(intent_id), now=now)


def take_session(session: Json, *, now: datetime | None = None) -> Outcome:
    """The same for a session that was just read whole."""
    if session.get("mode") == "setup":
        return _take_card(session, now)
    row = _row_of(session, session_id=id_of(session))
    if row is None:
        return Outcome.NOT_OURS
    calls.check_ours(session)
    if row.session_id not in {"", id_of(session)}:
        raise Mismatch(f"{row}: {id_of(session)} is a second page for what {row.session_id} is for")
    if session.get("status") == "expired":
        return _close(row, TopUp.Status.EXPIRED, session_id=id_of(session))
    if session.get("status") != "complete":
        TopUp.objects.filter(pk=row.pk, session_id="").update(
            session_id=id_of(session), url=str(session.get("url") or "")
        )
        return Outcome.NOTHING
    intent = whole(session.get("payment_intent"))
    if session.get("payment_status") == "unpaid":
        if intent.get("status") in {"requires_payment_method", "canceled"}:
            return _fail(row, intent, session_id=id_of(session))
        return _note_processing(row, id_of(intent), session_id=id_of(session))
    total = int(session.get("amount_total") or 0)
    if session.get("payment_status") != "paid" or total < row.cents:
        raise Mismatch(f"{row}: its page is complete, and {total} cents of {row.cents} were paid")
    _check(row, session.get("amount_subtotal"))
    outcome = _book(
        row,
        key=f"topup:{id_of(session)}",
        paid=(total, max(0, total - row.cents)),
        ids={"session_id": id_of(session), "intent_id": id_of(intent)},
        invoice_url=str(whole(session.get("invoice")).get("hosted_invoice_url") or "") or _receipt(intent),
        now=now,
    )
    if row.saves_card:
        method = whole(intent.get("payment_method"))
        save_card(row.workspace_id, method, book=row.book, from_at=_opened(session), now=now)
    return outcome


def take_intent(intent: Json, *, now: datetime | None = None) -> Outcome:
    """The same for a payment that was just read whole. One of a Checkout session is looked at through that."""
    row = _row_of(intent, intent_id=id_of(intent))
    if row is None:
        return Outcome.NOT_OURS
    calls.check_ours(intent)
    if row.kind == TopUp.Kind.CHECKOUT:
        pages = (
            [row.session_id] if row.session_id else [id_of(one) for one in calls.sessions_of(id_of(intent))]
        )
        return follow_session(pages[0], now=now) if pages else Outcome.NOTHING
    if row.intent_id not in {"", id_of(intent)}:
        raise Mismatch(f"{row}: {id_of(intent)} is a second payment for what {row.intent_id} paid")
    status = intent.get("status")
    if status == "succeeded":
        _check(row, intent.get("amount_received"))
        return _book(
            row,
            key=f"topup:{id_of(intent)}",
            paid=(row.cents, 0),
            ids={"intent_id": id_of(intent)},
            invoice_url=_receipt(intent),
            now=now,
        )
    if status in {"requires_payment_method", "requires_action", "canceled"}:
        return _fail(row, intent, now=now)
    return _note_processing(row, id_of(intent))


def top_up_of(intent_id: str, *, now: datetime | None = None) -> TopUp | None:
    """The top-up that a payment belongs to, which is booked on the way if it was not yet; None if it is not ours."""
    rows = TopUp.objects.filter(intent_id=intent_id, book=current_book())
    row = rows.first()
    if row is None and follow_intent(intent_id, now=now) != Outcome.NOT_OURS:
        row = rows.first()
    return row


def _row_of(found: Json, *, session_id: str = "", intent_id: str = "") -> TopUp | None:
    """The attempt that an object of Stripe's is about, by its id or by what we wrote on it."""
    rows = TopUp.objects.filter(book=current_book()).select_related("workspace")
    if session_id and (row := rows.filter(session_id=session_id).first()):
        return row
    if intent_id and (row := rows.filter(intent_id=intent_id).first()):
        return row
    number = parse(said(found, "topup"), "tu")
    return rows.filter(public_id=number).first() if number is not None else None


def _check(row: TopUp, cents: object) -> None:
    if cents != row.cents:
        raise Mismatch(f"{row}: {row.cents} cents were asked for, {cents} were paid")


def _book(
    row: TopUp,
    *,
    key: str,
    paid: tuple[int, int],
    ids: dict[str, str],
    invoice_url: str,
    now: datetime | None,
) -> Outcome:
    """Credit it once: status, books, and the word to whoever waits, in one transaction."""
    at = now or timezone.now()
    with transaction.atomic():
        locked = TopUp.objects.select_for_update(no_key=True).get(pk=row.pk)
        if locked.is_paid:
            if locked.session_id != ids.get("session_id", "") or ids.get("intent_id") not in {
                "",
                locked.intent_id,
            }:
                raise Mismatch(f"{row} was paid before, and by something else")
            if invoice_url and not locked.invoice_url:
                TopUp.objects.filter(pk=row.pk).update(invoice_url=invoice_url)
            return Outcome.NOTHING
        for name, value in ids.items():
            setattr(locked, name, value or getattr(locked, name))
        locked.status, locked.settled_at = TopUp.Status.PAID, at
        locked.paid_cents, locked.tax_cents = paid
        locked.invoice_url, locked.failure, locked.failure_code = invoice_url, "", ""
        locked.save()
        if locked.kind == TopUp.Kind.AUTOMATIC:
            AutoTopUp.objects.filter(workspace_id=row.workspace_id, book=row.book).update(
                failures=0, not_before=None
            )
            letters.tell_refilled(locked)
        if Workspace.objects.filter(pk=locked.workspace_id, closed_at__isnull=False).exists():
            letters.tell_nobodys(locked)
        dispatch.post(CREDIT_TASK, {"top_up": str(locked.public_id)})
        # As late as can be: the credit of the workspace is locked from here until the commit.
        ledger.credit(
            locked.workspace_id,
            locked.amount_micros,
            source="bought",
            key=key,
            note=f"{locked.get_kind_display()} top-up {locked.uid}",
            book=locked.book,
            now=at,
        )
        letters.tell_made_good(row.workspace, debts.collect(locked.workspace_id, book=locked.book, now=at))
    log.info("%s was paid", row)
    return Outcome.BOOKED


def _note_processing(row: TopUp, intent_id: str, **ids: str) -> Outcome:
    found = TopUp.objects.filter(pk=row.pk, status__in=[TopUp.Status.NEW, TopUp.Status.OPEN]).update(
        status=TopUp.Status.PROCESSING, intent_id=intent_id, **ids
    )
    return Outcome.NOTED if found else Outcome.NOTHING


def _fail(row: TopUp, intent: Json, *, now: datetime | None = None, **ids: str) -> Outcome:
    error = whole(intent.get("last_payment_error"))
    code = str(error.get("decline_code") or error.get("code") or "")
    if intent.get("status") == "requires_action":
        code = "authentication_required"
    return fail(
        row,
        code=code or str(intent.get("status") or "failed"),
        message=str(error.get("message") or ""),
        intent_id=id_of(intent),
        session_id=ids.get("session_id", ""),
        now=now,
    )


def fail(
    row: TopUp,
    *,
    code: str,
    message: str,
    intent_id: str = "",
    session_id: str = "",
    now: datetime | None = None,
) -> Outcome:
    """Close an attempt that was not paid, and say what follows for automatic ones, in one transaction."""
    with transaction.atomic():
        locked = TopUp.objects.select_for_update(no_key=True).get(pk=row.pk)
        if not locked.is_undecided:
            return Outcome.NOTHING
        locked.status, locked.failure_code, locked.failure = TopUp.Status.FAILED, code[:80], message[:500]
        locked.intent_id, locked.session_id = locked.intent_id or intent_id, locked.session_id or session_id
        locked.save(update_fields=["status", "failure_code", "failure", "intent_id", "session_id"])
        if locked.kind == TopUp.Kind.AUTOMATIC:
            pausing.note_failure(locked, now=now)
    return Outcome.CLOSED


def _close(row: TopUp, status: TopUp.Status, **ids: str) -> Outcome:
    found = TopUp.objects.filter(pk=row.pk, status__in=TopUp.UNDECIDED).update(status=status, **ids)
    return Outcome.CLOSED if found else Outcome.NOTHING


def _take_card(session: Json, now: datetime | None) -> Outcome:
    number = parse(said(session, CARD_OF), "ws")
    workspace = Workspace.objects.filter(public_id=number).first() if number is not None else None
    if workspace is None:
        return Outcome.NOT_OURS
    method = whole(whole(session.get("setup_intent")).get("payment_method"))
    if session.get("status") != "complete" or not method:
        return Outcome.NOTHING
    saved = save_card(workspace.pk, method, book=current_book(), from_at=_opened(session), now=now)
    return Outcome.NOTED if saved else Outcome.NOT_OURS


def _opened(session: Json) -> datetime:
    return datetime.fromtimestamp(int(session["created"]), UTC)


def _receipt(intent: Json) -> str:
    return str(whole(intent.get("latest_charge")).get("receipt_url") or "")
