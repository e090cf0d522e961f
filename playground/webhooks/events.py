"""From an event to its deliveries: who wants it, and the bytes they get."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import NAMESPACE_URL, UUID, uuid5

from django.db import transaction
from django.utils import timezone

from billing import ledger, limits
from billing.receipts import find as find_refund
from marketplace import dispatch
from marketplace.ids import uuid7
from marketplace.models import Workspace
from playground import predictions, receipts
from playground.models import Delivery, Event, Prediction, Webhook
from playground.models.webhook import LOGS_EVENT, STARTED_EVENT, TEST_EVENT, DeliveryQuerySet
from playground.predictions.progress import PROGRESS_TASK
from playground.predictions.settle import CLOSED_TASK
from playground.predictions.work import STARTED_TASK
from playground.refunds import REFUNDED_TASK
from playground.webhooks import book, postman, tongues

MAX_PAYLOAD_BYTES = 256 * 1024
TRIMMED_IN_ORDER = ("output", "logs", "input", "metrics", "quote")


@dispatch.handler(CLOSED_TASK)
def closed(payload: dispatch.Payload) -> None:
    """A run has ended: a delivery for each webhook that takes this, and for the address that its request named."""
    row = Prediction.objects.with_model().filter(public_id=UUID(payload["prediction"])).first()
    if row is None or not row.is_terminal:
        return
    if row.webhook and LOGS_EVENT in row.webhook["events"]:
        _progress_of(row).exclude(status=Delivery.Status.DELIVERED).delete()
    event = f"prediction.{row.status}"
    # From the run itself, so that one end is one event, however often it is told.
    event_id = uuid5(row.public_id, event)
    _tell(row.workspace_id, event, event_id, payload_of(row, event), row=row)


@dispatch.handler(STARTED_TASK)
def started(payload: dispatch.Payload) -> None:
    """A run has begun: a delivery for the address that its request named, if that wanted to know. Once, however often
    it begins."""
    row = Prediction.objects.with_model().filter(public_id=UUID(payload["prediction"])).first()
    if row is not None:
        event_id = uuid5(row.public_id, STARTED_EVENT)
        _tell(row.workspace_id, STARTED_EVENT, event_id, payload_of(row, STARTED_EVENT), row=row)


@dispatch.handler(PROGRESS_TASK)
def progressed(payload: dispatch.Payload) -> None:
    """A run under way has logged something: a delivery for the address that its request named, in place of those before
    it. What it was some seconds ago is nothing to be told, and kept for nobody."""
    row = Prediction.objects.with_model().filter(public_id=UUID(payload["prediction"])).first()
    if row is not None and row.status == Prediction.Status.RUNNING:
        _progress_of(row).delete()
        _tell(row.workspace_id, LOGS_EVENT, uuid7(), payload_of(row, LOGS_EVENT), row=row)


def _progress_of(row: Prediction) -> DeliveryQuerySet:
    """What was told of the run while it was under way, and is not being sent at this moment."""
    rows = Delivery.objects.filter(prediction=row, event=LOGS_EVENT)
    return rows.exclude(claimed_until__gt=timezone.now())


@dispatch.handler(REFUNDED_TASK)
def refunded(payload: dispatch.Payload) -> None:
    """A charge was given back, whole or in part: the same for those that take this, with the receipt as it is now."""
    reference, refund_id = UUID(payload["reference"]), UUID(payload["refund"])
    refund = find_refund(refund_id, reference)
    if refund is None:
        return
    workspace = Workspace.objects.get(pk=refund.workspace_id)
    found = receipts.receipts(workspace, [reference])
    if not found:
        return
    row = Prediction.objects.filter(public_id=reference).first()
    event = Event.REFUNDED.value
    data = {**found[0], "refund": receipts.refund_json(refund)}
    _tell(workspace.pk, event, refund_id, _envelope(event, refund.occurred_at, data, []), row=row)


@dispatch.handler(limits.EVENT_TASK)
def limit_alert(payload: dispatch.Payload) -> None:
    """A part of a spend limit is used: a delivery for each webhook that takes this."""
    workspace = Workspace.objects.filter(pk=payload["workspace"], closed_at=None).first()
    if workspace is None:
        return
    scope = ledger.SpendScope(*payload["scope"])
    target = limits.names(workspace, [scope])[scope]
    data = {
        "scope": target.kind,
        "target": target.id or None,
        "name": target.name,
        **{
            name: payload[name]
            for name in ("period", "limit_micros", "spent_micros", "percent", "is_refusing")
        },
        "resets_at": payload["resets_at"],
        "currency": "USD",
    }
    # From what was found, and when: one alert is one event, however often it is told, and another after the limit was
    # changed and changed back.
    told = f"limit:{payload['window']}:{payload['percent']}:{payload['at']}"
    event_id = uuid5(NAMESPACE_URL, told)
    tell(workspace, Event.LIMIT.value, event_id=event_id, at=datetime.fromisoformat(payload["at"]), data=data)


def tell(workspace: Workspace, event: str, *, event_id: UUID, at: datetime, data: dict[str, Any]) -> None:
    """Something of the workspace as a whole has happened: a delivery for each webhook that takes it. `event_id` is made
    from what happened, so that it is one event, however often it is told."""
    _tell(workspace.pk, event, event_id, _envelope(event, at, data, []))


# Locked against being deleted, and nothing else, until the deliveries are there: these refer to them. In the order in
# which all of a workspace are deleted.
_WHO_TAKES = """
SELECT * FROM playground_webhook WHERE workspace_id = %s AND is_enabled AND events @> ARRAY[%s]::varchar[]
 ORDER BY id FOR KEY SHARE
"""


def _tell(workspace_id: int, event: str, event_id: UUID, body: str, *, row: Prediction | None = None) -> None:
    """A delivery for each webhook of the workspace that takes the event, and for the address that the request of the
    run `row` named. Called in a transaction.

    A run that is gone for good names nobody any more.
    """
    wanted: list[tuple[Webhook | None, str, str]] = [
        (one, one.url, body) for one in Webhook.objects.raw(_WHO_TAKES, [workspace_id, event])
    ]
    if row is not None and row.webhook and event in row.webhook["events"]:
        tongue = tongues.of_run(row)
        wanted.append((None, row.webhook["url"], body if tongue is None else tongue.body(row, event)))
    now = timezone.now()
    Delivery.objects.bulk_create(
        [
            Delivery(
                workspace_id=workspace_id,
                webhook=webhook,
                prediction=row,
                event_id=event_id,
                event=event,
                url=url,
                target=target_of(webhook, url),
                body=text,
                next_attempt_at=now,
                created_at=now,
            )
            for webhook, url, text in wanted
        ],
        ignore_conflicts=True,
    )
    transaction.on_commit(postman.wake)


def send_test(webhook: Webhook) -> Delivery:
    """Send an event that means nothing, to see whether it arrives: once, also where the webhook is paused. Raises
    book.NotFound if it was deleted meanwhile."""
    now = timezone.now()
    data = {"webhook": webhook.uid, "message": "It works."}
    with transaction.atomic():
        book.locked(webhook)
        return Delivery.objects.create(
            workspace_id=webhook.workspace_id,
            webhook=webhook,
            event_id=uuid7(),
            event=TEST_EVENT,
            url=webhook.url,
            target=target_of(webhook, webhook.url),
            body=_envelope(TEST_EVENT, now, data, []),
            next_attempt_at=now,
            created_at=now,
        )


def payload_of(row: Prediction, event: str) -> str:
    """The body that tells of a closed run: as the API shows it, without what makes it too large; `trimmed` names that.

    An output that was left out is at the run's own address, `data.urls.get`.
    """
    data: dict[str, Any] = dict(predictions.as_json(row))
    trimmed: list[str] = []
    at = row.finished_at or timezone.now()
    body = _envelope(event, at, data, trimmed)
    for name in TRIMMED_IN_ORDER:
        if len(body.encode()) <= MAX_PAYLOAD_BYTES:
            break
        data[name] = "" if name == "logs" else None
        trimmed.append(name)
        body = _envelope(event, at, data, trimmed)
    return body


def target_of(webhook: Webhook | None, url: str) -> str:
    """What a delivery must not crowd: its webhook, or the server that a request named."""
    if webhook is not None:
        return webhook.uid
    return hashlib.sha256(urlsplit(url).netloc.lower().encode()).hexdigest()[:32]


def _envelope(event: str, at: datetime, data: dict[str, Any], trimmed: list[str]) -> str:
    whole = {"type": event, "timestamp": at.isoformat(), "data": data, "trimmed": trimmed}
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":"))
