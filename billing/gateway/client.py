"""Stripe's own client, for Stripe itself or for the sandbox of this site. Who calls it cannot tell which it is.

    client().v1.checkout.sessions.create({...}, {"idempotency_key": f"topup-{attempt.public_id}"})

Nothing here may run inside a database transaction: write the attempt before, and what came of it after.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import stripe
from django.conf import settings
from django.db import connection

if TYPE_CHECKING:
    from stripe._base_address import BaseAddresses

SECONDS = 20.0  # for one request; a page or a task waits no longer for money
RETRIES = 2  # of what the network lost, by the library itself and under the same idempotency key
API_PATH = "/-/stripe"  # of the sandbox; Stripe's own paths (/v1/…, /v2/…) follow
WEBHOOK_PATH = "/stripe/webhook"  # where Stripe and the sandbox tell us what happened

stripe.enable_telemetry = False  # what machine this is concerns nobody


class NotConfigured(Exception):
    """There is no Stripe here: no key is set, and the sandbox is off."""


class InTransaction(Exception):
    """Stripe was about to be called inside a database transaction, which might be rolled back after it."""


def is_configured() -> bool:
    """Whether money can come in and go out at all."""
    return bool(settings.STRIPE_SECRET_KEY)


def is_test() -> bool:
    """Whether it is play money: the sandbox's, or that of a test key."""
    return not settings.STRIPE_IS_LIVE


def client(*, seconds: float = SECONDS, retries: int = RETRIES) -> stripe.StripeClient:
    """The client for the configured key, which threads may share. Raises NotConfigured; its calls raise what
    `stripe` raises, and InTransaction."""
    if not is_configured():
        raise NotConfigured("Neither STRIPE_SECRET_KEY nor the sandbox is set up.")
    base = f"{settings.STRIPE_SANDBOX_URL}{API_PATH}" if settings.STRIPE_SANDBOX else ""
    return _client(settings.STRIPE_SECRET_KEY, base, seconds, retries)


def webhook_secrets() -> tuple[str, ...]:
    """Any of them may have signed what comes to `WEBHOOK_PATH`."""
    return tuple(settings.STRIPE_WEBHOOK_SECRETS)


@functools.lru_cache(maxsize=16)
def _client(key: str, base: str, seconds: float, retries: int) -> stripe.StripeClient:
    addresses: BaseAddresses = {}
    if base:
        addresses = {"api": base, "connect": base, "files": base, "meter_events": base}
    return stripe.StripeClient(
        key,
        max_network_retries=retries,
        base_addresses=addresses,
        http_client=_Outside(seconds=seconds, is_near=bool(base)),
    )


class _Outside(stripe.RequestsClient):
    """Requests outside of transactions; to the sandbox past any proxy that is meant for the world outside."""

    def __init__(self, *, seconds: float, is_near: bool) -> None:
        super().__init__(timeout=seconds)
        self._is_near = is_near

    def request(  # type: ignore[override]
        self, method: str, url: str, headers: Mapping[str, str] | None, post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        # A test case's own transaction is none: whatever a test does happens inside of it.
        if any(not block._from_testcase for block in connection.atomic_blocks):  # type: ignore[attr-defined]
            raise InTransaction(f"{method.upper()} {url} was asked inside a database transaction.")
        if self._is_near and getattr(self._thread_local, "session", None) is None:
            self._thread_local.session = self.requests.Session()
            self._thread_local.session.trust_env = False
        return super().request(method, url, headers, post_data)
