"""Credit that is given: by staff to a workspace, or to whoever has a code. It may expire, and is never paid out."""

from __future__ import annotations

import re
import secrets
from datetime import datetime, timedelta
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils import timezone

from billing import ledger
from billing.ledger.accounts import current_book
from billing.models.credit import Coupon, CouponUse
from billing.topups.errors import Refused
from marketplace.ids import ALPHABET
from marketplace.models import User, Workspace

CODE = re.compile(r"[A-Z0-9][A-Z0-9-]{5,38}[A-Z0-9]")
LETTERS = 16  # of a code that is made up here: 80 bits, which nobody guesses
MOST_MICROS = 10_000_000_000
MOST_DAYS = 3650
UNKNOWN = "There is no such code, or it is over."


def make(
    amount_micros: int,
    *,
    source: str,
    code: str = "",
    most: int = 1,
    until: datetime | None = None,
    credit_days: int | None = None,
) -> Coupon:
    """Make a coupon; without a `code`, one that cannot be guessed. Raises Refused."""
    code = (code or _made_up()).strip().upper()
    if not CODE.fullmatch(code):
        raise Refused("A code has 7 to 40 letters, digits and hyphens.")
    if not 0 < amount_micros <= MOST_MICROS or most < 1 or not source.strip():
        raise Refused("A coupon needs an amount, a reason, and at least one use.")
    if credit_days is not None and not 0 < credit_days <= MOST_DAYS:
        raise Refused(f"Its credit lasts 1 to {MOST_DAYS} days, or for good.")
    try:
        with transaction.atomic():
            return Coupon.objects.create(
                code=code,
                book=current_book(),
                amount_micros=amount_micros,
                source=source.strip()[:80],
                most=most,
                until=until,
                credit_days=credit_days,
            )
    except IntegrityError:
        raise Refused(f"There is a coupon {code} already.") from None


def use(workspace: Workspace, code: str, *, by: User | None, now: datetime | None = None) -> int:
    """Give a workspace what a code is worth, in micro-dollars, once to it and once by a person. Raises Refused."""
    at = now or timezone.now()
    with transaction.atomic():
        # Locked, so that of two who use it last one does, and nobody uses it twice.
        row = (
            Coupon.objects.select_for_update()
            .filter(code=code.strip().upper()[:60].replace("\0", ""), book=current_book(), closed_at=None)
            .first()
        )
        if row is not None and CouponUse.objects.filter(coupon=row, workspace=workspace).exists():
            raise Refused("This workspace has used that code.")
        if row is not None and by is not None and CouponUse.objects.filter(coupon=row, by=by).exists():
            raise Refused("You have used that code for another workspace.")
        if row is None or row.used >= row.most or (row.until is not None and row.until <= at):
            raise Refused(UNKNOWN)
        made = CouponUse.objects.create(coupon=row, workspace=workspace, by=by, used_at=at)
        row.used += 1
        row.save(update_fields=["used"])
        ledger.credit(
            workspace.pk,
            row.amount_micros,
            key=f"coupon:{made.pk}",
            note=f"{row.source} ({row.code})",
            origin="coupon",
            expires_at=at + timedelta(days=row.credit_days) if row.credit_days else None,
            book=row.book,
            now=at,
        )
    return row.amount_micros


def grant(
    workspace: Workspace,
    amount_micros: int,
    *,
    source: str,
    key: UUID,
    days: int | None = None,
    now: datetime | None = None,
) -> bool:
    """Give a workspace credit by hand, once per `key`; True if this call did it. Raises Refused."""
    at = now or timezone.now()
    if not 0 < amount_micros <= MOST_MICROS or not source.strip():
        raise Refused("Credit is given with a reason, above nothing and up to $10,000.")
    if days is not None and not 0 < days <= MOST_DAYS:
        raise Refused(f"Credit lasts 1 to {MOST_DAYS} days, or for good.")
    return ledger.credit(
        workspace.pk,
        amount_micros,
        key=f"grant:{key}",
        note=source.strip()[:150],
        origin="grant",
        expires_at=at + timedelta(days=days) if days else None,
        now=at,
    )


def close(code: str, *, now: datetime | None = None) -> bool:
    """Nobody uses it any more; what was given stays."""
    rows = Coupon.objects.filter(code=code.strip().upper(), book=current_book(), closed_at=None)
    return bool(rows.update(closed_at=now or timezone.now()))


def _made_up() -> str:
    text = "".join(secrets.choice(ALPHABET) for _ in range(LETTERS)).upper()
    return "-".join(text[start : start + 4] for start in range(0, LETTERS, 4))
