"""`python -m tests.bench.ledger`: what money costs a submit, on a crash-safe PostgreSQL of its own.

A submit here is a quote, a row with the input (as a prediction is) and the hold, in one commit; a settle is a capture
with a publisher's share and the usage record. Beside them stands a bare commit of that row, the floor of any of it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

import django

from marketplace.host import embedded
from marketplace.host.places import Places

PROJECT = Path(__file__).resolve().parent.parent.parent
COUNT = 1600
MOST_OPEN = 5000  # as an installation has it; every hold looks whether so many are open


def measure(label: str, threads: int, work: Callable[[int], None]) -> None:
    from django.db import connection

    taken: list[float] = []

    def loop(thread: int) -> None:
        for _ in range(COUNT // 16 if threads == 1 else COUNT // threads):
            begun = time.perf_counter()
            work(thread)
            taken.append(time.perf_counter() - begun)
        connection.close()

    started = [threading.Thread(target=loop, args=(thread,)) for thread in range(threads)]
    begun = time.perf_counter()
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    rate = len(taken) / (time.perf_counter() - begun)
    taken.sort()
    print(f"{label:<58} {rate:6.0f}/s   p50 {taken[len(taken) // 2] * 1000:6.1f} ms", flush=True)


def run() -> None:
    from django.db import connections, transaction

    from billing import ledger, pricing
    from marketplace.models import Outbox
    from tests.billing.cast import USAGE, new_publisher, new_workspace

    prices = [pricing.PriceLine("image", Decimal("0.002")), pricing.PriceLine("step", Decimal("0.00001"))]
    payers = [new_workspace(bought=10**12).pk for _ in range(16)]
    share = ledger.Share(new_publisher().pk, Decimal("0.8"))
    waiting: list[list[object]] = [[] for _ in range(16)]

    def row() -> None:
        Outbox.objects.create(task="bench", payload={"prompt": "a celadon vase in window light", "steps": 20})

    def submit(thread: int, payer: int) -> None:
        made = pricing.quote(prices, {"image": 1, "step": 20})
        reference = uuid4()
        scopes = [ledger.SpendScope("key", "1"), ledger.SpendScope("workspace", str(payer))]
        with transaction.atomic():
            row()
            ledger.hold(
                workspace_id=payer,
                reference=reference,
                amount_micros=made.amount_micros,
                limits=scopes,
                most_open=MOST_OPEN,
            )
        waiting[thread].append(reference)

    def settle(thread: int) -> None:
        with transaction.atomic():
            ledger.capture(
                reference=waiting[thread].pop(),  # type: ignore[arg-type]
                amount_micros=2200,
                share=share,
                usage=USAGE,
            )

    for threads, spread in ((1, 1), (16, 1), (16, 16)):
        name = f"{threads} at once, {spread} workspace{'s' if spread > 1 else ''}"
        measure(f"bare commit of a row, {threads} at once", threads, lambda _: row())
        measure(f"submit, {name}", threads, lambda thread, n=spread: submit(thread, payers[thread % n]))
        measure(f"settle, {name}", threads, settle)
    if problems := ledger.verify():
        raise SystemExit(f"the books do not agree: {problems[:3]}")
    connections.close_all()
    connections["default"].close_pool()  # type: ignore[attr-defined]


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="vitrine-bench-") as folder:
        places = Places.at(Path(folder) / "data")
        for name in ("DATABASE_URL", "REDIS_URL"):
            os.environ.pop(name, None)
        os.environ |= {"VITRINE_DATA": str(places.root), "DJANGO_SETTINGS_MODULE": "marketplace.settings"}
        with embedded.running(places, durable=True):
            migrate = [sys.executable, "manage.py", "migrate", "--skip-checks", "-v0"]
            subprocess.run(migrate, cwd=PROJECT, check=True)
            django.setup()
            run()


if __name__ == "__main__":
    main()
