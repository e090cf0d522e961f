"""A process that holds and settles for ever and says what was committed, until somebody kills it.

`python -m tests.billing.crasher prepare` prints the ids of a workspace and a publisher; `... run WORKSPACE PUBLISHER
SEED` prints `held <reference> <amount>` and `captured <reference> <amount>` or `released <reference> 0`, then perhaps
`refunded <reference> <amount>`, `started <payout> <amount>` and `done <payout> <amount>`, each after its commit.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import django

CREDIT = 50_000_000


def prepare() -> None:
    from billing import ledger
    from tests.billing.cast import new_publisher, new_workspace

    workspace = new_workspace(granted=CREDIT // 2, bought=CREDIT // 2)
    scope = ledger.SpendScope("workspace", "1")
    ledger.set_limit(workspace_id=workspace.pk, scope=scope, period="lifetime", limit_micros=CREDIT)
    print(workspace.pk, new_publisher().pk, flush=True)


def run(workspace_id: int, publisher_id: int, seed: int) -> None:
    from django.db import transaction

    from billing import ledger
    from tests.billing.cast import USAGE

    luck = random.Random(seed)

    def nap() -> None:
        time.sleep(luck.random() / 500)  # wide enough to die in

    scopes = [ledger.SpendScope("workspace", "1")]
    share = ledger.Share(publisher_id, Decimal("0.8"))
    while True:
        reference, amount = uuid4(), luck.randint(0, 900)
        with transaction.atomic():
            ledger.hold(workspace_id=workspace_id, reference=reference, amount_micros=amount, limits=scopes)
            nap()
        print("held", reference, amount, flush=True)
        if luck.random() < 0.2:
            continue
        with transaction.atomic():
            if luck.random() < 0.3:
                ledger.release(reference=reference)
                said = ("released", reference, 0)
            else:
                charge = ledger.capture(
                    reference=reference, amount_micros=amount // 2, share=share, usage=USAGE
                )
                said = ("captured", reference, charge.amount_micros)
            nap()
        print(*said, flush=True)
        if said[0] == "captured" and said[2] and luck.random() < 0.4:
            with transaction.atomic():
                back = luck.randint(1, amount // 2)
                ledger.refund(reference, back, key=str(reference), reason="fault")
                nap()
            print("refunded", reference, back, flush=True)
        if luck.random() < 0.2:
            pay_out(publisher_id, nap)


def pay_out(publisher_id: int, nap: Callable[[], None]) -> None:
    from django.db import transaction

    from billing import ledger

    payout = uuid4()
    with transaction.atomic():
        ledger.mature(publisher_id, delay=timedelta(0))
        nap()
    amount = ledger.publisher_balance(publisher_id).payable_micros // 4
    if amount <= 0:
        return
    try:
        with transaction.atomic():
            ledger.payout_started(payout, publisher_id, amount)
            nap()
    except ledger.InsufficientEarnings:
        return
    print("started", payout, amount, flush=True)
    with transaction.atomic():
        ledger.payout_done(payout)
        nap()
    print("done", payout, amount, flush=True)


if __name__ == "__main__":
    django.setup()
    if sys.argv[1] == "prepare":
        prepare()
    else:
        run(*map(int, sys.argv[2:]))
