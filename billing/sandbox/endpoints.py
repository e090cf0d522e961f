"""Webhook endpoints that somebody registered, beside this site's own, which is there of itself."""

from __future__ import annotations

from urllib.parse import urlsplit

from billing.sandbox import store
from billing.sandbox.reading import reads
from billing.sandbox.refusals import Json, Refused
from billing.sandbox.serving import Call, merged, only, serves

NEAR = {"localhost", "127.0.0.1", "::1"}


@serves("post", "/v1/webhook_endpoints")
def create(call: Call) -> Json:
    only(call, "url", "enabled_events", "description", "metadata")
    _check(call.params["url"])
    row = store.put(
        "webhook_endpoint",
        {
            "description": call.get("description"),
            "enabled_events": call.params["enabled_events"],
            "metadata": merged({}, call.get("metadata")),
            "status": "enabled",
            "url": call.params["url"],
        },
        now=call.now,
        secret=f"whsec_{store.token(32)}",
    )
    return {**row.data, "secret": row.hidden["secret"]}  # once


def _check(url: str) -> None:
    """The sandbox tells nobody but this machine: it is no way to reach others' networks."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or parts.hostname not in NEAR:
        raise Refused("The sandbox tells addresses of this machine only.", param="url", code="url_invalid")


reads("webhook_endpoint", "/v1/webhook_endpoints", "webhook_endpoint")


@serves("delete", "/v1/webhook_endpoints/{webhook_endpoint}")
def delete(call: Call) -> Json:
    row = store.find("webhook_endpoint", call.named["webhook_endpoint"])
    row.data = {**row.data, "deleted": True}
    store.change(row)
    return {"id": row.name, "object": "webhook_endpoint", "deleted": True}
