"""`python -m tests.bench.settle`: what closing a run costs, on a crash-safe PostgreSQL and a Redis of its own.

Closed is a run of the null model without its picture: the row, the charge with the publisher's share, the usage and its
day, the outbox where somebody is told, the live state. Beside it stands a bare commit of a row.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import django

from marketplace.host import embedded
from marketplace.host.places import Places

PROJECT = Path(__file__).resolve().parent.parent.parent
COUNT = 960
WARM = 160
LANE = "test"


def measure(label: str, threads: int, work: Callable[[], None], count: int = COUNT) -> float:
    """Calls per second of so many threads; each of them ends its connection."""
    from django.db import connection

    def loop() -> None:
        try:
            for _ in range(count // threads):
                work()
        finally:
            connection.close()

    begun = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(loop) for _ in range(threads)]:
            done.result()
    rate = count / (time.perf_counter() - begun)
    if label:
        print(f"{label:<58} {rate:6.0f}/s", flush=True)
    return rate


def run() -> None:
    from django.db import connection, connections

    from billing import ledger
    from marketplace.models import Outbox, Workspace
    from playground import webhooks
    from playground.predictions import work
    from tests.predictions import cast

    cast.shelve()
    payers = [cast.payer(credit=10**12, name="bench") for _ in range(16)]
    told = [cast.payer(credit=10**12, name="told") for _ in range(16)]
    for one in told:
        webhooks.make(one, url="https://example.test/hook")

    def prepared(workspaces: Sequence[Workspace], count: int) -> list[work.Job]:
        for n in range(count):
            cast.submit(workspaces[n % len(workspaces)])
        jobs: list[work.Job] = []
        while len(jobs) < count:
            jobs += work.claim(worker="bench", lane=LANE, limit=16)
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")  # as it is a minute later
        return jobs

    def charged(jobs: list[work.Job]) -> Callable[[], None]:
        def close() -> None:
            job = jobs.pop()
            assert work._succeed(job["id"], job["fence"], [], seed=7, metrics={"run_ms": 5}, logs=["done"])

        return close

    def released(jobs: list[work.Job]) -> Callable[[], None]:
        def close() -> None:
            job = jobs.pop()
            assert work.fail(
                id=job["id"], fence=job["fence"], code="broken", message="It broke.", retryable=False
            )

        return close

    measure("", 4, charged(prepared(payers, WARM)), WARM)
    measure(
        "bare commit of a row, one after the other", 1, lambda: Outbox.objects.create(task="b", payload={})
    )
    measure("charged, one after the other", 1, charged(prepared(payers[:1], COUNT)))
    measure("charged, 16 at once of 16 workspaces", 16, charged(prepared(payers, COUNT)))
    measure("charged, 16 at once of one workspace", 16, charged(prepared(payers[:1], COUNT)))
    measure("released, 16 at once of 16 workspaces", 16, released(prepared(payers, COUNT)))
    measure("charged, 16 at once of 16 workspaces with a webhook", 16, charged(prepared(told, COUNT)))
    if problems := ledger.verify():
        raise SystemExit(f"the books do not agree: {problems[:3]}")
    connections.close_all()
    connections["default"].close_pool()  # type: ignore[attr-defined]


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="vitrine-bench-") as folder:
        places = Places.at(Path(folder) / "data")
        for name in ("DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL"):
            os.environ.pop(name, None)
        os.environ |= {"VITRINE_DATA": str(places.root), "DJANGO_SETTINGS_MODULE": "marketplace.settings"}
        with embedded.running(places, durable=True):
            migrate = [sys.executable, "manage.py", "migrate", "--skip-checks", "-v0"]
            subprocess.run(migrate, cwd=PROJECT, check=True)
            django.setup()
            run()


if __name__ == "__main__":
    main()
