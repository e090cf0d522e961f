"""What the house has earned, for pictures of its pages: runs that another workspace paid with bought credit.

`manage.py shell -c "from tests import earned; earned.earn()"` on a stack of one's own. The clock of the books is moved
back to each day in turn, so that what was earned first has matured and was paid out by now.
"""

from __future__ import annotations

import contextlib
import random
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import uuid4

from django.conf import settings
from django.utils import timezone

from billing import ledger, payouts
from marketplace import people
from marketplace.models import Publisher, User

DAYS = 80
PICTURE_MICROS = 4_000


def earn(days: int = DAYS) -> None:
    """Some runs a day up to now, rising from week to week, and a payout by hand on each payout day."""
    house = Publisher.objects.get(name="vitrine")
    payouts.set_method(house, "manual", bank_details="Vitrine, IBAN XX00 0000", by=User.objects.first())
    buyer = people.make_workspace("northlight", name="Northlight")
    ledger.credit(buyer.pk, 2_000_000_000, source="bought", key="topup:northlight")
    dice, now = random.Random(5), timezone.now()
    for ago in range(days, -1, -1):
        at = now - timedelta(days=ago)
        for _ in range(dice.randrange(1, 4)):
            _run(house, buyer.pk, dice.randrange(40, 160) * (1 + (days - ago) // 7), at)
        if at.day == settings.PAYOUT_DAY and ago:
            _pay(house, at)
    payouts.run(now=now)


def _run(house: Publisher, buyer: int, pictures: int, at: datetime) -> None:
    reference, micros = uuid4(), pictures * PICTURE_MICROS
    lines = [{"unit": "image", "quantity": str(pictures), "unit_price": "0.004", "amount_micros": micros}]
    usage = ledger.Usage(
        model="vitrine/daylight",
        status="succeeded",
        quote={"lines": lines, "amount_micros": micros},
        units={"image": str(pictures)},
        user_id=None,
    )
    ledger.hold(workspace_id=buyer, reference=reference, amount_micros=micros)
    share = ledger.Share(house.pk, house.share_percent / Decimal(100))
    ledger.capture(reference=reference, amount_micros=micros, share=share, usage=usage, now=at)


def _pay(house: Publisher, at: datetime) -> None:
    with contextlib.suppress(payouts.Refused):
        row = payouts.start(house, by=None, kind=payouts.Payout.Kind.AUTOMATIC, now=at)
        payouts.mark_paid(row, reference=f"TX {at:%y%m%d}", by=None, now=at + timedelta(hours=30))
