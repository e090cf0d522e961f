"""Finding a workspace's own top-ups, and looking at one that its buyer waits for."""

from __future__ import annotations

import logging
from datetime import datetime

from django.db.models import QuerySet
from django.utils import timezone

from billing.gateway import calls
from billing.ledger.accounts import current_book
from billing.models.credit import TopUp
from billing.topups import settling
from billing.topups.customers import CARD_OF
from marketplace.ids import encode, parse
from marketplace.models import Workspace

log = logging.getLogger(__name__)


class NotFound(Exception):
    """There is no such top-up in this workspace."""


def of(workspace: Workspace) -> QuerySet[TopUp]:
    """The workspace's top-ups, newest first."""
    rows = TopUp.objects.filter(workspace=workspace, book=current_book())
    return rows.select_related("workspace", "by").order_by("-created_at", "-id")


def find(workspace: Workspace, public_id: str) -> TopUp:
    """One of them by any spelling of its id. Raises NotFound."""
    number = parse(public_id, "tu")
    row = of(workspace).filter(public_id=number).first() if number is not None else None
    if row is None:
        raise NotFound("There is no such top-up in this workspace.")
    return row


def find_any(public_id: str) -> TopUp | None:
    """One of whatever workspace, for the operator."""
    number = parse(public_id, "tu")
    rows = TopUp.objects.filter(book=current_book()).select_related("workspace")
    return rows.filter(public_id=number).first() if number is not None else None


def look(row: TopUp, *, now: datetime | None = None) -> TopUp:
    """The top-up as Stripe has it at this moment, for the buyer who has just come back: booked on the way if it is
    paid, whether or not a webhook came. Outside of transactions. What Stripe does not answer is left to the clock."""
    if not row.is_undecided or not row.session_id:
        return row
    TopUp.objects.filter(pk=row.pk).update(checked_at=now or timezone.now())
    try:
        settling.follow_session(row.session_id, now=now)
    except (calls.Unreachable, calls.Rejected, calls.Mismatch) as error:
        log.warning("%s is looked at later: %s", row, error)
    row.refresh_from_db()
    return row


def look_card(workspace: Workspace, session_id: str, *, now: datetime | None = None) -> bool:
    """Whether a session that saved a card for this workspace is complete; the card is kept on the way."""
    try:
        session = calls.session(session_id)
    except (calls.Unreachable, calls.Rejected) as error:
        log.warning("a saved card of workspace %s is looked at later: %s", workspace.pk, error)
        return False
    if calls.said(session, CARD_OF) != encode(workspace.public_id, "ws"):
        return False
    return settling.take_session(session, now=now) == settling.Outcome.NOTED
