"""The warning that credit runs low: a threshold per workspace, told once by mail until the next credit comes.

Who is low is found by the minute's tidying and mailed from the outbox, so that no run ever waits for it.
"""

from __future__ import annotations

from django.conf import settings
from django.db import connection, transaction
from django.urls import reverse

from billing.ledger.accounts import balance, current_book
from billing.letters import dollars, to_payers
from billing.models import LowBalance
from marketplace import dispatch
from marketplace.dispatch import Payload
from marketplace.models import Workspace

TELL_TASK = "billing.tell_low_balance"
AT_ONCE = 200


def set_threshold(workspace_id: int, below_micros: int, *, book: str | None = None) -> None:
    """Warn the workspace from now on when less than that is available; zero is never."""
    if below_micros < 0:
        raise ValueError("a threshold is zero or more micro-dollars")
    LowBalance.objects.update_or_create(
        workspace_id=workspace_id,
        book=current_book(book),
        defaults={"below_micros": below_micros, "told_at": None},
    )


# Whoever was credited once has accounts; whoever never was is not warned. A row is claimed by being marked.
_FIND = """
WITH low AS (
    SELECT a.workspace_id, sum(a.balance_micros) AS available, coalesce(min(l.below_micros), %(low)s) AS below
      FROM billing_ledgeraccount a
      LEFT JOIN billing_lowbalance l ON l.workspace_id = a.workspace_id AND l.book = a.book
     WHERE a.book = %(book)s AND a.kind IN ('workspace_granted', 'workspace_bought') AND l.told_at IS NULL
     GROUP BY a.workspace_id
    HAVING sum(a.balance_micros) < coalesce(min(l.below_micros), %(low)s)
     LIMIT %(limit)s
)
INSERT INTO billing_lowbalance AS l (workspace_id, book, below_micros, told_at)
SELECT workspace_id, %(book)s, below, now() FROM low
    ON CONFLICT (workspace_id, book) DO UPDATE SET told_at = excluded.told_at WHERE l.told_at IS NULL
RETURNING workspace_id
"""


def find_low(*, book: str | None = None) -> int:
    """Mark every workspace that is low and was not told, and have it told; returns how many."""
    wanted: dict[str, str | int] = {
        "book": current_book(book),
        "low": int(settings.LOW_BALANCE_MICROS),
        "limit": AT_ONCE,
    }
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_FIND, wanted)
        found = [workspace for (workspace,) in cursor.fetchall()]
        for workspace in found:
            dispatch.post(TELL_TASK, {"workspace": workspace, "book": wanted["book"]})
    return len(found)


@dispatch.handler(TELL_TASK)
def tell(payload: Payload) -> None:
    """Mail those who look after the workspace's credit, unless there is enough again."""
    workspace = Workspace.objects.filter(pk=payload["workspace"]).first()
    if workspace is None:
        return
    now = balance(workspace.pk, book=payload["book"])
    if not now.is_low:
        return
    held = f", and {dollars(now.held_micros)} is held by open runs" if now.held_micros else ""
    text = (
        f"{workspace.name} has {dollars(now.available_micros)} left to spend{held}.\n"
        f"You asked to be told below {dollars(now.low_micros)}. A run that costs more than what is left is refused; "
        "runs that were accepted are not affected.\n\n"
        f"Usage and balance: {settings.PUBLIC_URL}{reverse('usage')}\n\n"
        "You are told again only after credit has come."
    )
    subject = f"{workspace.name}: {dollars(now.available_micros)} left"
    to_payers(workspace, subject, text)
