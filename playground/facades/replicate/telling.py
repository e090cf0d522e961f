"""What the address that a request names is told: the run as `GET /v1/predictions/<id>` shows it, signed as Replicate
signs, with the secret of `GET /v1/webhooks/default/secret`."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from django.conf import settings

from playground import live, predictions, webhooks
from playground.facades.replicate import show
from playground.models import Delivery, Prediction
from playground.models.webhook import LOGS_EVENT, STARTED_EVENT
from playground.predictions.present import moved
from playground.webhooks import signing
from playground.webhooks.events import MAX_PAYLOAD_BYTES

# Who is told of the start is told that, whatever has happened by the time that it is written.
_AT_THE_START: Any = {
    "status": Prediction.Status.RUNNING.value,
    "output": None,
    "error": None,
    "finished_at": None,
    "cost_micros": None,
    "logs": "",
    "step": 0,
}
KEPT_LOG = 16 * 1024  # characters at its end, of a log that is too long to be told


class Telling:
    """Replicate's tongue: see `playground.webhooks.tongues`."""

    def body(self, row: Prediction, event: str) -> str:
        """The run; of one that is too large the end of the log, then without its input."""
        document = predictions.as_json(row)
        if event == STARTED_EVENT:
            document = {**document, **_AT_THE_START}
        elif event == LOGS_EVENT and (state := live.read(row.public_id)) is not None:
            document = moved(document, state)  # the row has no log before the end
        shown: dict[str, Any] = show.prediction(document, row.asked, settings.PUBLIC_URL)
        body = _written(shown)
        for name, shorter in (("logs", shown["logs"][-KEPT_LOG:]), ("input", {})):
            if len(body.encode()) <= MAX_PAYLOAD_BYTES:
                break
            shown[name] = shorter
            body = _written(shown)
        return body

    def headers(self, delivery: Delivery, *, now: datetime) -> dict[str, str]:
        """What proves that it is from us; `webhook-id` is the same however often it is tried."""
        secret = webhooks.request_secret(delivery.workspace)
        return signing.headers(secret, message_id=delivery.message_id, body=delivery.body, now=now)


def _written(shown: dict[str, Any]) -> str:
    return json.dumps(shown, ensure_ascii=False, separators=(",", ":"))
