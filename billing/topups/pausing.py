"""Why automatic top-ups rest, and that somebody is told. A pause has one reason, and ends with it."""

from __future__ import annotations

from datetime import datetime, timedelta

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
    """Let it rest, and mail those who look after the credit; in the transaction of what caused it. A pause that is
    there already stays as it is."""
    at = now or timezone.now()
    paused = AutoTopUp.objects.filter(pk=row.pk, pause="").update(
        pause=reason, pause_detail=detail[:500], paused_at=at
    )
    if paused and row.is_on:
        row.refresh_from_db()
        letters.tell_paused(row)


def pause_disputed(top_up: TopUp, *, now: datetime | None = None) -> None:
    """A card whose owner disputes a payment is not charged by itself while that is open.

    In the transaction that notes the dispute, after its row.
    """
    row = _locked(top_up)
    if row is not None:
        pause(row, Pause.DISPUTED, now=now)


def lift_disputed(top_up: TopUp) -> None:
    """The dispute is closed: go on, unless another one is open. In the transaction that notes it, after its row."""
    if _locked(top_up) is None:
        return
    disputes = Dispute.objects.filter(
        top_up__workspace_id=top_up.workspace_id, top_up__book=top_up.book
    ).exclude(status__in=["won", "lost", "warning_closed", "prevented"])
    if not disputes.exists():
        AutoTopUp.objects.filter(**_of(top_up), pause=Pause.DISPUTED).update(
            pause="", pause_detail="", paused_at=None
        )


def resume(row: AutoTopUp) -> None:
    """Somebody says that the reason is gone: try again. A dispute is not for them to end."""
    AutoTopUp.objects.filter(pk=row.pk).exclude(pause=Pause.DISPUTED).update(
        pause="", pause_detail="", paused_at=None, failures=0, not_before=None
    )


def _locked(top_up: TopUp) -> AutoTopUp | None:
    """Its row, locked until the commit: of two disputes that open or close at once the second sees the first."""
    return AutoTopUp.objects.select_for_update(no_key=True).filter(**_of(top_up)).first()


def _of(top_up: TopUp) -> dict[str, object]:
    return {"workspace_id": top_up.workspace_id, "book": top_up.book}
