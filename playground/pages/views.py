"""Every page by the name that the URL map uses."""

from __future__ import annotations

from playground.pages.gallery import gallery
from playground.pages.playground import estimate, model, model_api, model_readme, model_runs, run
from playground.pages.runs import again, balance, cancel, history, prediction, prediction_card
from playground.pages.sign_in import sign_in
from playground.pages.site import healthz
from playground.pages.webhooks import delivery, redeliver, request_secret, webhook, webhook_act, webhooks

__all__ = [
    "again",
    "balance",
    "cancel",
    "delivery",
    "estimate",
    "gallery",
    "healthz",
    "history",
    "model",
    "model_api",
    "model_readme",
    "model_runs",
    "prediction",
    "prediction_card",
    "redeliver",
    "request_secret",
    "run",
    "sign_in",
    "webhook",
    "webhook_act",
    "webhooks",
]
