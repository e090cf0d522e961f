"""What happened, told: events in Stripe's two forms, each with a notice for every address that wants it."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

import stripe
from django.conf import settings

from billing.gateway.client import WEBHOOK_PATH
from billing.sandbox import store
from billing.sandbox.models import Notice, Thing
from billing.sandbox.modes import Behaviour, behaviour
from billing.sandbox.refusals import Json
from billing.sandbox.serving import Call, serves


def tell(
    type: str, thing: Json, *, now: datetime, account: str = "", before: Json | None = None, key: str = ""
) -> Thing:
    """A snapshot event about an object as it is now; `before` has what changed of it."""
    data: Json = {"object": thing}
    if before is not None:
        data["previous_attributes"] = before
    event = {
        "type": type,
        "api_version": stripe.api_version,
        "data": data,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": key or None},
    }
    if account:
        event["account"] = account
    return _send(store.put("event", event, now=now, account=account), now=now)


def tell_thinly(type: str, name: str, *, kind: str, url: str, now: datetime) -> Thing:
    """A thin event of the second version: it names its object, and leaves the reading to who hears it."""
    event = {
        "type": type,
        "related_object": {"id": name, "type": kind, "url": url},
        "context": None,
        "reason": None,
    }
    return _send(store.put("v2.core.event", event, now=now), now=now)


def addresses(type: str) -> list[str]:
    """Who wants to hear of it: this site, and whoever registered."""
    registered = Thing.objects.filter(
        kind="webhook_endpoint", data__status="enabled", data__deleted__isnull=True
    )
    wanting = [one.data["url"] for one in registered if {type, "*"} & set(one.data["enabled_events"])]
    return [f"{settings.STRIPE_SANDBOX_URL}{WEBHOOK_PATH}", *wanting]


def _send(event: Thing, *, now: datetime) -> Thing:
    modes = behaviour()
    for url in addresses(event.data["type"]):
        Notice.objects.bulk_create(_notice(event, url, modes, now) for _ in range(modes.webhook_copies))
    return event


def _notice(event: Thing, url: str, modes: Behaviour, now: datetime) -> Notice:
    later = modes.webhook_delay_seconds + random.uniform(0, modes.webhook_disorder_seconds)
    state = Notice.State.WAITING if modes.webhooks == "sent" else Notice.State.WITHHELD
    return Notice(event=event, url=url, state=state, due_at=now + timedelta(seconds=later))


def pending(event: Thing) -> Json:
    """The event as the API answers it: with how many addresses have not heard it yet."""
    waiting = event.notices.exclude(state=Notice.State.DELIVERED).count()
    return {**event.data, "pending_webhooks": waiting}


@serves("get", "/v1/events/{id}")
def one(call: Call) -> Json:
    return pending(store.find("event", call.named["id"], account=call.account))


@serves("get", "/v1/events")
def some(call: Call) -> Json:
    types: Any = call.params.pop("types", None)
    matching: Json = {"type__in": types} if types else {}
    delivered = call.params.pop("delivery_success", None)
    found = store.listed(
        "event", call.params, url="/v1/events", account=call.account, matching=matching, by=("type",)
    )
    if delivered is not None:
        found["data"] = [one for one in found["data"] if _was_heard(one["id"]) is delivered]
    return found


def _was_heard(name: str) -> bool:
    return not Notice.objects.filter(event__name=name).exclude(state=Notice.State.DELIVERED).exists()


@serves("get", "/v2/core/events/{id}")
def one_thin(call: Call) -> Json:
    return dict(store.find("v2.core.event", call.named["id"]).data)


@serves("get", "/v2/core/events")
def some_thin(call: Call) -> Json:
    rows = Thing.objects.filter(kind="v2.core.event").order_by("-pk")
    if related := call.get("object_id"):
        rows = rows.filter(data__related_object__id=related)
    limit = store.limit_of(call.params, 20)
    return {"data": [row.data for row in rows[:limit]], "next_page_url": None, "previous_page_url": None}
