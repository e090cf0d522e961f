"""Stripe for tests: the sandbox behind real HTTP, and hands on what only Stripe can do.

    def test_it(stripe_sandbox):
        session = stripe_sandbox.client().v1.checkout.sessions.create({...})
        stripe_sandbox.pay(session.id)  # as a person at the hosted page
        stripe_sandbox.deliver()  # the webhooks, now; or `deliver(copies=5, order="random", drop={"charge.succeeded"})`

Webhooks wait until a test delivers them. The fixture commits: tests that use it are `transactional_db`.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest
from django.utils import timezone


class Sandbox:
    """The sandbox as a test moves it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def client(self, **options: Any) -> Any:
        """The client as the code has it; `retries=0` to see every fault, `seconds=` for a short patience."""
        from billing.gateway.client import client

        return client(**options)

    def thing(self, name: str) -> dict[str, Any]:
        """An object as it is now."""
        from billing.sandbox.models import Thing

        return Thing.objects.get(name=name).data

    def things(self, kind: str) -> list[dict[str, Any]]:
        """All objects of a kind, the oldest first."""
        from billing.sandbox.models import Thing

        return list(Thing.objects.filter(kind=kind).order_by("pk").values_list("data", flat=True))

    # What people do

    def pay(
        self, session: str, card: str = "visa", *, now: datetime | None = None, **details: str
    ) -> str | None:
        """Pay a session at the hosted page; why not, or None. `card` is the rest of `pm_card_…`."""
        from billing.sandbox import cards, checkout, store

        now = now or timezone.now()
        with store.changing():
            row = store.find("checkout.session", session)
            error = checkout.pay(row, cards.BY_NAME[f"pm_card_{card}"], now=now, **details)
        return error["message"] if error else None

    def authenticate(self, intent: str, *, approve: bool = True, now: datetime | None = None) -> None:
        """The holder of the card is asked, and answers."""
        from billing.sandbox import clockwork

        clockwork.answer_holder(intent, is_approved=approve, now=now or timezone.now())

    def advance(self, now: datetime | None = None) -> None:
        """Let time do what it does: sessions expire, slow banks answer, payouts arrive."""
        from billing.sandbox import clockwork, store

        with store.changing():
            clockwork.advance(now or timezone.now())

    def dispute(self, charge: str, *, amount: int | None = None, now: datetime | None = None) -> str:
        """The holder of a card disputes a charge; the dispute's id."""
        from billing.sandbox import disputes, store

        with store.changing():
            row = disputes.open_for(store.find("charge", charge), now=now or timezone.now(), amount=amount)
        return row.name

    def decide(self, dispute: str, status: str, *, now: datetime | None = None) -> None:
        """The bank decides: won or lost."""
        from billing.sandbox import disputes, store

        with store.changing():
            disputes.close(store.find("dispute", dispute), status, now=now or timezone.now())

    def onboard(
        self, account: str, outcome: str = "active", *, bank: str = "pays", now: datetime | None = None
    ) -> None:
        """A recipient goes through the onboarding page: active, pending or restricted; its bank pays or fails."""
        from billing.sandbox import accounts, store

        with store.changing():
            accounts.onboard(
                accounts.find(account), outcome, now=now or timezone.now(), name="Pia Pub", bank=bank
            )

    def set_capability(self, account: str, status: str, *, now: datetime | None = None) -> None:
        """Stripe thinks otherwise of an account: active, pending, restricted or rejected."""
        from billing.sandbox import accounts, store

        with store.changing():
            accounts.set_capability(accounts.find(account), status, now=now or timezone.now())

    def add_funds(self, cents: int, *, now: datetime | None = None) -> None:
        """Put money into the platform's balance, past any payment."""
        from billing.sandbox import balances, store

        with store.changing():
            balances.add_funds(cents, now=now or timezone.now())

    # What goes wrong

    def modes(self, **given: Any) -> None:
        """Change the modes: see `billing.sandbox.modes`."""
        from billing.sandbox import modes

        modes.change(**given)

    def fault(
        self, kind: str, verb: str = "*", path: str = "*", *, times: int = 1, seconds: float = 0
    ) -> None:
        """Let the next requests go wrong: drop, late_error, error, busy or hang.

        The library itself tries an `error`, `late_error` and `hang` again, twice, so these need `times=3` to be seen.
        """
        from billing.sandbox import faults

        faults.plan(kind, verb=verb, path=path, times=times, seconds=seconds)

    # Webhooks

    def undelivered(self) -> list[Any]:
        """The notices that wait, the oldest first."""
        from billing.sandbox.models import Notice

        return list(Notice.objects.exclude(state="delivered").select_related("event").order_by("pk"))

    def deliver(
        self,
        *,
        copies: int = 1,
        order: str = "made",
        drop: Collection[str] = (),
        at_once: int = 1,
        seed: int = 0,
    ) -> list[int | None]:
        """Post every event that waits, each so many times; the statuses of the answers.

        `order` is made, reversed or random; `drop` names types that never come; `at_once` posts so many in parallel.
        """
        from django.db import connections

        from billing.sandbox import delivery
        from billing.sandbox.models import Notice

        rows = self.undelivered()
        Notice.objects.filter(pk__in=[row.pk for row in rows]).update(state="delivered")
        sent = [row for row in rows if row.event.data["type"] not in drop for _ in range(copies)]
        if order == "reversed":
            sent.reverse()
        elif order == "random":
            random.Random(seed).shuffle(sent)

        def post(row: Any) -> int | None:
            try:
                return delivery.send(row.event, row.url)
            finally:
                if threading.current_thread() is not threading.main_thread():
                    connections.close_all()

        if at_once == 1:
            return [post(row) for row in sent]
        with ThreadPoolExecutor(at_once) as pool:
            return list(pool.map(post, sent))

    def signed(self, event: str) -> tuple[bytes, dict[str, str]]:
        """Body and headers of an event's notice, to post it by hand."""
        from billing.sandbox import delivery
        from billing.sandbox.models import Thing

        body = delivery.payload(Thing.objects.get(name=event))
        return body, delivery.headers(body)


@pytest.fixture
def stripe_sandbox(live_server: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """An empty sandbox at the address of a live server; the site's own pages are there too."""
    from django.core.servers.basehttp import ServerHandler

    run = ServerHandler.run

    def run_and_close(handler: Any, application: Any) -> None:
        """Django's test server would keep a connection whose answer broke off, and its client waiting."""
        run(handler, application)
        if handler.result is not None:
            handler.request_handler.close_connection = True

    monkeypatch.setattr(ServerHandler, "run", run_and_close)
    from billing.sandbox import modes
    from billing.sandbox import rooms as _  # noqa: F401

    settings.STRIPE_SANDBOX_URL = settings.PUBLIC_URL = live_server.url
    modes.change(webhooks="withheld")
    return Sandbox(live_server.url)
