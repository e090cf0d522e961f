"""Processes killed in the middle of moving money: nothing half done remains, nothing that was promised is lost."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from django.db import connection

from billing import ledger
from billing.models import Hold, Refund
from marketplace.host import embedded
from marketplace.host.places import Places
from tests.billing import crasher
from tests.billing.cast import new_publisher, new_workspace

PROJECT = Path(__file__).resolve().parent.parent.parent
SOAK = int(os.environ.get("SOAK", "1"))  # so many times as long; `make soak` sets it
State = tuple[str, int, int]  # state, held, captured


@contextmanager
def crashers(
    env: dict[str, str], workspace_id: int, publisher_id: int, *, seed: int, count: int = 3
) -> Iterator[list[str]]:
    """Runs some at once for a while, then kills them; on leaving, the list has all that they said was committed."""
    said: list[str] = []
    command = [sys.executable, "-m", "tests.billing.crasher", "run", str(workspace_id), str(publisher_id)]
    processes = [
        subprocess.Popen(
            [*command, str(seed * 100 + at)],
            env=env,
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for at in range(count)
    ]
    try:
        for process in processes:  # all are at work when the first dies
            assert process.stdout is not None
            said.append(process.stdout.readline().strip())
        yield said
    finally:
        for process in processes:
            process.send_signal(signal.SIGKILL)
            rest, _ = process.communicate()
            said += [line for line in rest.split("\n")[:-1] if line]


#: The keys of what else is promised, and the kind of account whose entry says how much it was.
MOVED = {
    "refunded": ("refund:", "workspace_%"),
    "started": ("payout:", "publisher_in_transit"),
    "done": ("payout_done:", "stripe_clearing"),
}
FIND_MOVED = """
SELECT sum(e.amount_micros)::bigint FROM billing_ledgertransaction t
  JOIN billing_ledgerentry e ON e.transaction_id = t.id JOIN billing_ledgeraccount a ON a.id = e.account_id
 WHERE t.key = %s AND a.kind LIKE %s
"""


def check_promises(
    said: list[str], find: Callable[[str], State | None], find_moved: Callable[[str, str], int | None]
) -> int:
    """Every line that was said is true in the database; returns the number of holds promised."""
    held = {line.split()[1]: int(line.split()[2]) for line in said if line.startswith("held ")}
    assert held
    for reference, amount in held.items():
        found = find(reference)
        assert found is not None, f"the hold of {reference} was promised and is lost"
        assert found[1] == amount
    for line in said:
        word, reference, amount_text = line.split()
        if word in {"refunded", "started", "done"}:
            assert find_moved(word, reference) == int(amount_text)
        elif word != "held":
            found = find(reference)
            assert found is not None
            assert (found[0], found[2]) == (word, int(amount_text))
    return len(held)


def wait_for_sessions_to_end(name: str) -> None:
    deadline = time.monotonic() + 20
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND application_name = %s"
    while time.monotonic() < deadline:
        with connection.cursor() as cursor:
            cursor.execute(query, [connection.settings_dict["NAME"], name])
            if cursor.fetchone()[0] == 0:
                return
        time.sleep(0.05)
    pytest.fail("the killed processes' sessions are still there")


@pytest.mark.django_db(transaction=True)
def test_killed_processes_leave_no_half_movement() -> None:
    workspace = new_workspace(granted=crasher.CREDIT // 2, bought=crasher.CREDIT // 2)
    scope = ledger.SpendScope("workspace", "1")
    ledger.set_limit(workspace_id=workspace.pk, scope=scope, period="lifetime", limit_micros=crasher.CREDIT)
    publisher = new_publisher()
    url = Places.configured().postgres_url(database=str(connection.settings_dict["NAME"]))
    env = {**os.environ, "DATABASE_URL": url, "PGAPPNAME": "crasher"}
    luck = random.Random(5)
    promised = 0

    def find(reference: str) -> State | None:
        hold = Hold.objects.filter(reference=reference).first()
        return hold and (hold.state, hold.granted_micros + hold.bought_micros, hold.captured_micros)

    def find_moved(word: str, reference: str) -> int | None:
        key, kind = MOVED[word]
        with connection.cursor() as cursor:
            cursor.execute(FIND_MOVED, [key + reference, kind])
            return cursor.fetchone()[0]

    for seed in range(3 * SOAK):
        with crashers(env, workspace.pk, publisher.pk, seed=seed) as said:
            time.sleep(luck.uniform(0.05, 0.8))
        wait_for_sessions_to_end("crasher")
        assert ledger.verify() == []
        promised += check_promises(said, find, find_moved)
        assert (
            promised <= Hold.objects.count() <= promised + 3 * (seed + 1)
        )  # one unsaid commit per process at most
    for reference in Hold.objects.filter(state="open").values_list("reference", flat=True):
        assert ledger.release(reference=reference)
    charged = sum(Hold.objects.values_list("captured_micros", flat=True))
    refunded = sum(Refund.objects.values_list("amount_micros", flat=True))
    assert ledger.balance(workspace.pk).balance_micros == crasher.CREDIT - charged + refunded
    assert ledger.balance(workspace.pk).held_micros == 0
    assert ledger.verify() == []


def test_a_killed_database_keeps_what_it_promised(tmp_path: Path) -> None:
    """`kill -9` of a crash-safe PostgreSQL under load, twice; it comes back with every commit that was said."""
    places = Places.at(tmp_path / "data")
    env = {name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "REDIS_URL"}}
    env["VITRINE_DATA"] = str(places.root)

    def output(*command: str) -> str:
        done = subprocess.run(
            [sys.executable, *command], env=env, cwd=PROJECT, check=True, text=True, capture_output=True
        )
        return done.stdout

    said: list[str] = []
    ids: list[int] = []
    for seed in range(2):
        with embedded.running(places, durable=True):
            if not ids:
                output("manage.py", "migrate", "--skip-checks", "-v0")
                ids = [int(word) for word in output("-m", "tests.billing.crasher", "prepare").split()]
            with crashers(env, *ids, seed=seed) as lines:
                time.sleep(0.7)
                os.kill(int((places.postgres / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
            said += lines
    with embedded.running(places, durable=True), psycopg.connect(places.postgres_url()) as session:

        def find(reference: str) -> State | None:
            return session.execute(
                "SELECT state, granted_micros + bought_micros, captured_micros FROM billing_hold"
                " WHERE reference = %s",
                [reference],
            ).fetchone()

        def find_moved(word: str, reference: str) -> int | None:
            key, kind = MOVED[word]
            row = session.execute(FIND_MOVED, [key + reference, kind]).fetchone()
            return row and row[0]

        assert session.execute("SHOW fsync").fetchone() == ("on",)
        check_promises(said, find, find_moved)
        assert "clean" in output("manage.py", "ledger", "verify")
