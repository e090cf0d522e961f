"""Why automatic top-ups rest, and that somebody is told: for what is wrong with the card, and for disputed payments.

The first is noted, and ends with another card or when somebody says so. The second is never noted but looked up: it
ends with the last dispute that is open, and with nothing else.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import QuerySet
from django.utils import timezone

from billing.models.credit import AutoTopUp, Dispute, TopUp
from billing.topups import letters

Pause = AutoTopUp.Pause
# What a bank says when the next try may well go through: the second in a row is believed.
PASSING = frozenset(
    {
        "approve_with_id",
        "issuer_not_available",
        "not_made",
        "processing_error",
        "reenter_transaction",
        "try_again_later",
    }
)
STOPPED = "stopped"  # before anybody was asked: no bank has said anything
MOST_FAILURES = 2
WAIT = timedelta(hours=1)


def note_failure(top_up: TopUp, *, now: datetime | None = None) -> None:
    """What a failed automatic attempt means, in the transaction that closes it: wait a while, or pause and tell."""
    at = now or timezone.now()
    row = _locked(top_up)
    if row is None:
        return
    if top_up.failure_code == STOPPED:
        return
    row.failures += 1
    if top_up.failure_code in PASSING and row.failures < MOST_FAILURES:
        row.not_before = at + WAIT
        row.save(update_fields=["failures", "not_before"])
        return
    row.save(update_fields=["failures"])
    if top_up.failure_code == "authentication_required":
        reason = Pause.AUTHENTICATION
    elif top_up.failure_code in {"no_card", "resource_missing"}:
        reason = Pause.NO_CARD
    else:
        reason = Pause.DECLINED
    pause(row, reason, detail=top_up.failure, now=at)


def pause(row: AutoTopUp, reason: str, *, detail: str = "", now: datetime | None = None) -> None:
    """Let it rest for what is wrong with the card, and mail those who look after the credit; in the transaction of what
    caused it. Such a pause that is there already stays as it is."""
    at = now or timezone.now()
    paused = AutoTopUp.objects.filter(pk=row.pk, pause="").update(
        pause=reason, pause_detail=detail[:500], paused_at=at
    )
    if paused and row.is_on:
        row.refresh_from_db()
        letters.tell_paused(row, Pause(reason))


def reasons(row: AutoTopUp) -> list[AutoTopUp.Pause]:
    """Why it rests, if it is on: first what nobody here can end. None: it runs."""
    found = [Pause.DISPUTED] if _open_disputes(row.workspace_id, row.book).exists() else []
    return [*found, Pause(row.pause)] if row.pause else found


def is_running(row: AutoTopUp) -> bool:
    """Whether it would charge the card now: it is on, and nothing speaks against it."""
    return row.is_on and not reasons(row)


def tell_disputed(dispute: Dispute) -> None:
    """A card whose owner disputes a payment is not charged by itself while that is open: mail those who look after the
    credit, unless another one is open already. In the transaction that notes the dispute, after its row."""
    top_up = dispute.top_up
    row = _locked(top_up)
    others = _open_disputes(top_up.workspace_id, top_up.book).exclude(pk=dispute.pk)
    if row is not None and row.is_on and not others.exists():
        letters.tell_paused(row, Pause.DISPUTED)


def resume(row: AutoTopUp) -> None:
    """Somebody says that the card's reason is gone: try again. A dispute is not for them to end."""
    AutoTopUp.objects.filter(pk=row.pk).update(
        pause="", pause_detail="", paused_at=None, failures=0, not_before=None
    )
    row.refresh_from_db()


def _open_disputes(workspace_id: int, book: str) -> QuerySet[Dispute]:
    rows = Dispute.objects.filter(top_up__workspace_id=workspace_id, top_up__book=book)
    return rows.exclude(status__in=Dispute.CLOSED)


def _locked(top_up: TopUp) -> AutoTopUp | None:
    """Its row, locked until the commit: of two disputes that open at once the second sees the first."""
    rows = AutoTopUp.objects.select_for_update(no_key=True)
    return rows.filter(workspace_id=top_up.workspace_id, book=top_up.book).first()
