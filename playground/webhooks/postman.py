"""Carrying deliveries out: claim, send, record.

Sending has threads of its own in the control process, most of which wait for strangers' servers: no Celery thread, no
transaction and no database connection waits with them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from django.db import close_old_connections, connection
from django.utils import timezone

from marketplace import outbound
from playground.models import Delivery
from playground.models.webhook import TEST_EVENT
from playground.webhooks import book, claims, signing, tongues
from playground.webhooks.claims import Claim
from playground.webhooks.outcome import Attempt, record

log = logging.getLogger(__name__)

THREADS = 32
LOOK_SECONDS = 1.0  # between looks at what is due; what is made in this process is looked at, at once
ATTEMPT_SECONDS = 10.0  # for name, connection and answer together
MAX_ANSWER_BYTES = 4096
AGENT = "Vitrine-Webhooks/1"

_news = threading.Event()


def wake() -> None:
    """Something is due: look now, if the postman is in this process."""
    _news.set()


def keep_delivering(stop: threading.Event | None = None) -> None:
    """Deliver what is due, many at a time, until `stop`. What fails is logged; the next look tries again."""
    places = threading.Semaphore(THREADS)
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="postman")

    def carry(claim: Claim) -> None:
        try:
            deliver(claim)
        except Exception:
            log.exception("delivery %s could not be carried out; it is tried again", claim.delivery)
        finally:
            close_old_connections()
            places.release()
            _news.set()

    while stop is None or not stop.is_set():
        _news.wait(LOOK_SECONDS)
        _news.clear()
        try:
            while claimed := _take(places):
                for claim in claimed:
                    pool.submit(carry, claim)
        except Exception:
            log.exception("due deliveries cannot be read; they are looked at again")
            time.sleep(LOOK_SECONDS)
        finally:
            close_old_connections()


def _take(places: threading.Semaphore) -> list[Claim]:
    """As many claims as there are free places, which are taken with them."""
    free = 0
    while places.acquire(blocking=False):
        free += 1
    claimed: list[Claim] = []
    try:
        claimed = claims.take(free) if free else []
    finally:
        if free > len(claimed):
            places.release(free - len(claimed))
    return claimed


def deliver_due(limit: int = 1000) -> int:
    """Deliver what is due now, one after the other, in this thread. Returns how many attempts were made."""
    made = 0
    while made < limit and (claimed := claims.take(THREADS)):
        for claim in claimed:
            deliver(claim)
        made += len(claimed)
    return made


def deliver(claim: Claim) -> None:
    """One attempt."""
    row = (
        Delivery.objects.select_related("webhook", "workspace")
        .filter(pk=claim.delivery, claimed_until=claim.until)
        .first()
    )
    if row is None:
        return
    webhook = row.webhook
    if webhook is not None and not webhook.is_enabled and row.event != TEST_EVENT:
        # Its event came while it was being paused: held, as all that is on its way.
        Delivery.objects.filter(pk=row.pk).update(next_attempt_at=None, claimed_until=None)
        return
    url = webhook.url if webhook is not None else row.url
    at = timezone.now()
    proof = proof_of(row, now=at)
    if not connection.in_atomic_block:
        close_old_connections()  # none is needed while the other side thinks
    record(claim, attempt(row, url=url, proof=proof, at=at))


def proof_of(row: Delivery, *, now: datetime) -> Mapping[str, str]:
    """The headers that prove who sends the delivery, in the words it is written in."""
    tongue = tongues.of(row)
    if tongue is not None:
        return tongue.headers(row, now=now)
    signer = row.webhook if row.webhook is not None else book.request_secret(row.workspace)
    return signing.headers(signer, message_id=row.message_id, body=row.body, now=now)


def attempt(row: Delivery, *, url: str, proof: Mapping[str, str], at: datetime) -> Attempt:
    """Send the delivery once; what came of it."""
    headers = {"Content-Type": "application/json", "User-Agent": AGENT, **proof}
    began = time.monotonic()
    try:
        answer = outbound.post(
            url, row.body.encode(), headers, seconds=ATTEMPT_SECONDS, max_answer_bytes=MAX_ANSWER_BYTES
        )
    except outbound.Failed as error:
        return Attempt(at=at, url=url, duration_ms=_since(began), error=str(error))
    return Attempt(
        at=at,
        url=url,
        duration_ms=_since(began),
        status=answer.status,
        answer=answer.body,
        retry_after=answer.headers.get("Retry-After", "") or answer.headers.get("retry-after", ""),
    )


def _since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)
