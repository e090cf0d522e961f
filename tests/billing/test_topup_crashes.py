"""Killed at each point between "Stripe has done it" and "we know it": paid once, credited once, given back once.

What was not committed is gone, what Stripe did stays. What comes after is what always runs: the clock, control, and the
comparison with Stripe's lists.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings as site
from django.db import connection
from django.utils import timezone

from billing import ledger, topups
from billing.models.credit import TopUp, TopUpRefund
from billing.topups import automatic, checkout, letters, refunds, settling
from marketplace.host.places import Places
from tests.billing.buyers import USD, available, bought, clean_books, follow_all, low
from tests.billing.killed import Killed, dies_after

PROJECT = Path(__file__).resolve().parent.parent.parent


def life_goes_on(workspace):
    """What runs anyway: the clock and control, later, and every hour the comparison."""
    later = timezone.now() + timedelta(minutes=5)
    automatic.hint_waiting(now=later)
    for row in TopUp.objects.filter(workspace=workspace, kind="automatic", status="new"):
        automatic.charge(row.uid, now=later)
    for refund in TopUpRefund.objects.filter(status="started", refund_id=""):
        refunds.send(refund.uid, now=later)
    report = topups.reconcile()
    follow_all()
    assert topups.reconcile().differences == [], report.differences


@pytest.mark.parametrize(("module", "name"), [(checkout, "customer_of"), (checkout, "_create")])
def test_killed_while_the_page_is_opened(stripe_sandbox, ada, monkeypatch, module, name):
    dies_after(monkeypatch, module, name)
    with pytest.raises(Killed):
        topups.begin(ada, 25 * USD, by=None)
    monkeypatch.undo()
    row = TopUp.objects.get()
    assert row.status == "new"
    for session in stripe_sandbox.things("checkout.session"):  # nobody saw it; should it be paid all the same
        assert stripe_sandbox.pay(session["id"]) is None
    life_goes_on(ada)
    row.refresh_from_db()
    assert available(ada) == (25 * USD if row.is_paid else 0)
    assert row.is_paid == bool(stripe_sandbox.things("charge"))
    assert len(stripe_sandbox.things("customer")) == 1
    clean_books()


BOOKING = [
    (settling.calls, "session"),
    (settling, "_check"),
    (settling.dispatch, "post"),
    (settling.ledger, "credit"),
]


@pytest.mark.parametrize(("module", "name"), BOOKING)
def test_killed_while_a_payment_is_booked(stripe_sandbox, ada, monkeypatch, module, name):
    row = topups.begin(ada, 25 * USD, by=None)
    stripe_sandbox.pay(row.session_id)
    dies_after(monkeypatch, module, name)
    with pytest.raises(Killed):
        topups.look(row)
    monkeypatch.undo()
    assert available(ada) == 0
    row.refresh_from_db()
    assert row.status == "open"
    life_goes_on(ada)
    assert available(ada) == 25 * USD
    clean_books()


CHARGING = [
    (automatic, "_ask"),
    (automatic.settling, "take_intent"),
    (letters, "tell_refilled"),
    (settling.ledger, "credit"),
]


@pytest.mark.parametrize(("module", "name"), CHARGING)
@pytest.mark.parametrize("is_told", [True, False])
def test_killed_while_a_card_is_charged(stripe_sandbox, ada, monkeypatch, module, name, is_told):
    low(stripe_sandbox, ada)
    automatic.find_low()
    row = TopUp.objects.get()
    dies_after(monkeypatch, module, name)
    with pytest.raises(Killed):
        automatic.charge(row.uid)
    monkeypatch.undo()
    if is_told:
        stripe_sandbox.deliver(copies=2, order="reversed")
        follow_all()
    life_goes_on(ada)
    assert available(ada) == 25 * USD
    assert len(stripe_sandbox.things("charge")) == 1
    clean_books()


def test_killed_while_a_decline_is_noted(stripe_sandbox, ada, monkeypatch):
    low(stripe_sandbox, ada, "chargeCustomerFail")
    automatic.find_low()
    row = TopUp.objects.get()
    dies_after(monkeypatch, automatic, "_let_go")
    with pytest.raises(Killed):
        automatic.charge(row.uid)
    monkeypatch.undo()
    life_goes_on(ada)
    row.refresh_from_db()
    assert row.status == "failed"
    assert available(ada) == 0
    assert stripe_sandbox.things("payment_intent")[0]["status"] == "canceled"


REFUNDING = [
    (refunds.calls, "plain"),
    (refunds, "take_refund"),
    (letters, "tell_refund"),
    (refunds.ledger, "topup_refund_done"),
]


@pytest.mark.parametrize(("module", "name"), REFUNDING)
def test_killed_while_credit_goes_back(stripe_sandbox, ada, monkeypatch, module, name):
    row = bought(stripe_sandbox, ada)
    refund = refunds.start(row, 10 * USD, by=None)
    dies_after(monkeypatch, module, name)
    with pytest.raises(Killed):
        refunds.send(refund.uid)
    monkeypatch.undo()
    assert available(ada) == 15 * USD
    life_goes_on(ada)
    refund.refresh_from_db()
    assert refund.status == "done"
    assert available(ada) == 15 * USD
    assert len(stripe_sandbox.things("refund")) == 1
    clean_books()


PROGRAM = """
import os, signal, django
django.setup()
from billing.topups import automatic, refunds
def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)
automatic.settling.take_intent = refunds.take_refund = die
{act}
"""


@pytest.mark.parametrize("what", ["charge", "refund"])
def test_a_process_is_killed_indeed(stripe_sandbox, ada, what):
    """The same by `kill -9` of a process of its own, between Stripe's answer and our books."""
    if what == "charge":
        low(stripe_sandbox, ada)
        automatic.find_low()
        act = f"automatic.charge({TopUp.objects.get().uid!r})"
    else:
        refund = refunds.start(bought(stripe_sandbox, ada), 10 * USD, by=None)
        act = f"refunds.send({refund.uid!r})"
    database = Places.configured().postgres_url(database=str(connection.settings_dict["NAME"]))
    env = {
        **os.environ,
        "DATABASE_URL": database,
        "PUBLIC_URL": stripe_sandbox.url,
        "STRIPE_SANDBOX_URL": stripe_sandbox.url,
        "SECRET_KEY": site.SECRET_KEY,
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(act=act)],
        env=env,
        cwd=PROJECT,
        capture_output=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    assert len(stripe_sandbox.things("charge")) == 1
    life_goes_on(ada)
    assert available(ada) == (25 * USD if what == "charge" else 15 * USD)
    assert len(stripe_sandbox.things("charge")) == 1
    assert len(stripe_sandbox.things("refund")) == (0 if what == "charge" else 1)
    assert ledger.verify() == []
