"""Telling customers' servers what happened: signed, at least once, for days, and never so that one holds up others.

An event becomes one delivery for each address that wants it, in the transaction that deletes the event's outbox
message. A delivery is a row: it is claimed, sent without a transaction, and what came of it is recorded. A process that
dies between the two leaves a claim that runs out, so the same delivery goes again, under the same id.
"""

from __future__ import annotations

from playground.webhooks.book import (
    MAX_WEBHOOKS,
    InvalidWebhook,
    NotFound,
    TooMany,
    WorkspaceClosed,
    change,
    find,
    make,
    of,
    remove,
    remove_all,
    request_secret,
    rotate,
    rotate_request_secret,
    wrong_with,
)
from playground.webhooks.credit import credit_arrived
from playground.webhooks.events import send_test
from playground.webhooks.log import EVENTS, deliveries, find_delivery, of_run, redeliver, tidy
from playground.webhooks.payouts import payout_closed
from playground.webhooks.postman import deliver_due, keep_delivering
from playground.webhooks.present import as_json, delivery_as_json, secret_as_json
from playground.webhooks.tongues import Tongue, teach

__all__ = [
    "EVENTS",
    "MAX_WEBHOOKS",
    "InvalidWebhook",
    "NotFound",
    "Tongue",
    "TooMany",
    "WorkspaceClosed",
    "as_json",
    "change",
    "credit_arrived",
    "deliver_due",
    "deliveries",
    "delivery_as_json",
    "find",
    "find_delivery",
    "keep_delivering",
    "make",
    "of",
    "of_run",
    "payout_closed",
    "redeliver",
    "remove",
    "remove_all",
    "request_secret",
    "rotate",
    "rotate_request_secret",
    "secret_as_json",
    "send_test",
    "teach",
    "tidy",
    "wrong_with",
]
