"""The workspace's webhooks: who is told, with what secret, and the logs of what was sent, to them and to the addresses
that single runs named."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, cast

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from marketplace.ids import parse
from marketplace.models import User, Workspace
from marketplace.people import Act
from playground import webhooks as book
from playground.models import RUN_EVENTS, Delivery, Event, Webhook
from playground.pages.access import member, own

PAGE = 30
SHOWN_BODY = 32 * 1024  # characters of a payload that the page shows
JUST_MADE = "webhook_made"  # in the session: whose secret is shown at the next look
PILLS = {
    "enabled": "live",
    "failing": "expiring",
    "paused": "canceled",
    "disabled": "failed",
    "pending": "queued",
    "delivered": "succeeded",
}
WORDS = {"enabled": "Enabled", "failing": "Failing", "paused": "Paused", "disabled": "Disabled"}


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@member(Act.WEBHOOKS)
def webhooks(request: HttpRequest) -> HttpResponse:
    """The list, and the form that adds one; a new one's own page shows its secret."""
    workspace = own(request)
    values: Mapping[str, Any] = {"events": list(Event.values)}
    errors: dict[str, str] = {}
    if request.method == "POST":
        values = _posted(request)
        try:
            made = book.make(workspace, **values, by=cast("User", request.user))
        except book.InvalidWebhook as error:
            errors = {one.field: one.message for one in error.errors}
        except (book.TooMany, book.WorkspaceClosed) as error:
            errors = {"": str(error)}
        else:
            request.session[JUST_MADE] = made.uid
            return redirect("webhook", made.uid)
    return _list(request, form=_form(values, errors), status=422 if errors else 200)


@require_POST
@never_cache
@member(Act.WEBHOOKS)
def request_secret(request: HttpRequest, act: str) -> HttpResponse:
    """Show or replace the secret that signs deliveries to addresses which requests name."""
    workspace = own(request)
    if act == "rotate":
        book.rotate_request_secret(workspace)
        messages.success(request, "The request secret was replaced. The old one signs too for 24 hours.")
    elif act != "reveal":
        raise Http404
    return _list(request, request_secret=book.request_secret(workspace).secret)


def _list(request: HttpRequest, *, status: int = 200, **more: Any) -> HttpResponse:
    rows = list(book.of(own(request)))
    context = {
        "lines": [_line(row) for row in rows],
        "is_full": len(rows) >= book.MAX_WEBHOOKS,
        "most": book.MAX_WEBHOOKS,
        "form": _form({"events": list(Event.values)}, {}),
    }
    return render(request, "webhooks/list.html", context | more, status=status)


@require_safe
@never_cache
@member(Act.WEBHOOKS)
def webhook(request: HttpRequest, webhook_id: str) -> HttpResponse:
    """One webhook: its settings, its secret on demand, and what was sent."""
    row = _own(request, webhook_id)
    is_new = request.session.get(JUST_MADE) == row.uid
    if is_new:
        del request.session[JUST_MADE]
    return _page(request, row, secret=row.secret if is_new else "", is_new=is_new)


def _page(request: HttpRequest, row: Webhook, **more: Any) -> HttpResponse:
    values = {"url": row.url, "description": row.description, "events": row.events}
    context = {**_line(row), "form": _form(values, {}), "secret": "", **_log(request, row)}
    return render(
        request, "webhooks/webhook.html", context | more, status=422 if more.get("is_wrong") else 200
    )


@require_safe
@never_cache
@member(Act.WEBHOOKS)
def request_deliveries(request: HttpRequest) -> HttpResponse:
    """What was sent to the addresses that single runs named."""
    return render(request, "webhooks/requests.html", _log(request, own(request)))


def _log(request: HttpRequest, source: Webhook | Workspace) -> dict[str, Any]:
    """A page of the log of a webhook, or of the requests of a workspace, as its filters ask for it."""
    status = request.GET.get("status", "")
    status = status if status in Delivery.Status.values else ""
    # Nobody sends a test to an address that a run names.
    events = book.EVENTS if isinstance(source, Webhook) else RUN_EVENTS
    event = request.GET.get("event", "")
    event = event if event in events else ""
    rows = book.deliveries(source, status=status, event=event)
    rows = rows.select_related("prediction", "webhook").defer("body")
    before = parse(request.GET.get("before", "")[:64], "d")
    if before is not None:
        # The place of a row of this log; what has left it since begins the log anew.
        last = book.deliveries(source).filter(public_id=before).values_list("pk", flat=True).first()
        rows = rows.filter(pk__lt=last) if last is not None else rows
    found = list(rows[: PAGE + 1])
    return {
        "log": [_sent(one) for one in found[:PAGE]],
        "older": found[PAGE - 1].uid if len(found) > PAGE else "",
        "is_first": before is None,
        "status": status,
        "statuses": Delivery.Status.choices,
        "event": event,
        "events": events,
    }


@require_POST
@never_cache
@member(Act.WEBHOOKS)
def webhook_act(request: HttpRequest, webhook_id: str, act: str) -> HttpResponse:
    """Change, pause, enable, test, reveal, rotate, delete."""
    row = _own(request, webhook_id)
    if act not in ACTS:
        raise Http404
    try:
        return ACTS[act](request, row) or redirect("webhook", row.uid)
    except book.NotFound as error:  # deleted in this moment, by somebody else
        raise Http404(str(error)) from None


def _change(request: HttpRequest, row: Webhook) -> HttpResponse | None:
    values = _posted(request)
    try:
        book.change(row, **values)
    except book.InvalidWebhook as error:
        errors = {one.field: one.message for one in error.errors}
        return _page(request, row, form=_form(values, errors), is_wrong=True)
    messages.success(request, "Saved.")
    return None


def _pause(request: HttpRequest, row: Webhook) -> None:
    book.change(row, is_enabled=False)
    messages.success(request, "Paused. What is on its way waits until you enable it again.")


def _enable(request: HttpRequest, row: Webhook) -> None:
    book.change(row, is_enabled=True)
    messages.success(request, "Enabled. What was held goes out now.")


def _test(request: HttpRequest, row: Webhook) -> None:
    book.send_test(row)
    messages.success(request, "A test event is on its way. Reload to see what the server answered.")


def _reveal(request: HttpRequest, row: Webhook) -> HttpResponse:
    return _page(request, row, secret=row.secret)


def _rotate(request: HttpRequest, row: Webhook) -> HttpResponse:
    changed = book.rotate(row)
    return _page(request, changed, secret=changed.secret, is_rotated=True)


def _delete(request: HttpRequest, row: Webhook) -> HttpResponse:
    book.remove(row)
    messages.success(request, f"The webhook to {row.url[:80]} is deleted.")
    return redirect("webhooks")


ACTS: dict[str, Callable[[HttpRequest, Webhook], HttpResponse | None]] = {
    "change": _change,
    "pause": _pause,
    "enable": _enable,
    "test": _test,
    "reveal": _reveal,
    "rotate": _rotate,
    "delete": _delete,
}


@require_safe
@never_cache
@member(Act.WEBHOOKS)
def delivery(request: HttpRequest, webhook_id: str, delivery_id: str) -> HttpResponse:
    """One delivery of a webhook: what was sent, and what each attempt was answered."""
    row = _own(request, webhook_id)
    return _one(request, _delivery(request, row, delivery_id), row)


@require_safe
@never_cache
@member(Act.WEBHOOKS)
def request_delivery(request: HttpRequest, delivery_id: str) -> HttpResponse:
    """One delivery to an address that a run named."""
    return _one(request, _delivery(request, None, delivery_id), None)


def _one(request: HttpRequest, sent: Delivery, row: Webhook | None) -> HttpResponse:
    body = json.dumps(json.loads(sent.body), indent=2, ensure_ascii=False)
    log = reverse("webhook", args=[row.uid]) if row is not None else reverse("request-deliveries")
    context = {
        **_sent(sent),
        "log": (log, row.host if row is not None else "Single runs"),
        "again": _address(sent, "redeliver"),
        "attempts": list(reversed(sent.attempts)),
        "body": body[:SHOWN_BODY],
        "is_cut": len(body) > SHOWN_BODY,
        "size": len(sent.body.encode()),
    }
    return render(request, "webhooks/delivery.html", context)


@require_POST
@never_cache
@member(Act.WEBHOOKS)
def redeliver(request: HttpRequest, webhook_id: str, delivery_id: str) -> HttpResponse:
    """Send it again, under the same id."""
    return _again(request, _delivery(request, _own(request, webhook_id), delivery_id))


@require_POST
@never_cache
@member(Act.WEBHOOKS)
def request_redeliver(request: HttpRequest, delivery_id: str) -> HttpResponse:
    """Send again what went to an address that a run named."""
    return _again(request, _delivery(request, None, delivery_id))


def _again(request: HttpRequest, sent: Delivery) -> HttpResponse:
    try:
        book.redeliver(sent)
    except book.NotFound as error:
        raise Http404(str(error)) from None
    messages.success(request, "It is on its way again. Reload to see what the server answered.")
    return redirect(_address(sent))


def _address(sent: Delivery, act: str = "delivery") -> str:
    """Of the page of a delivery, or of what can be done to it."""
    if sent.webhook is not None:
        return reverse(act, args=[sent.webhook.uid, sent.uid])
    return reverse(f"request-{act}", args=[sent.uid])


def _own(request: HttpRequest, webhook_id: str) -> Webhook:
    """The workspace's own webhook; for everybody else there is none."""
    try:
        return book.find(own(request), webhook_id[:64])
    except book.NotFound as error:
        raise Http404(str(error)) from None


def _delivery(request: HttpRequest, row: Webhook | None, delivery_id: str) -> Delivery:
    try:
        return book.find_delivery(own(request), row, delivery_id[:64])
    except book.NotFound as error:
        raise Http404(str(error)) from None


def _posted(request: HttpRequest) -> dict[str, Any]:
    return {
        "url": request.POST.get("url", "").strip().replace("\0", "\ufffd"),
        "description": request.POST.get("description", "").strip().replace("\0", "\ufffd"),
        "events": request.POST.getlist("events")[:20],
    }


def _form(values: Mapping[str, Any], errors: Mapping[str, str]) -> dict[str, Any]:
    chosen = values.get("events", ())
    return {
        "url": values.get("url", ""),
        "description": values.get("description", ""),
        "events": [(value, label, value in chosen) for value, label in Event.choices],
        "errors": errors,
        "problem": errors.get("", ""),
        "url_error": errors.get("url", ""),
        "events_error": errors.get("events", ""),
        "description_error": errors.get("description", ""),
    }


def _line(row: Webhook) -> dict[str, Any]:
    return {"row": row, "pill": PILLS[row.state], "word": WORDS[row.state]}


def _sent(row: Delivery) -> dict[str, Any]:
    last = row.last or {}
    return {
        "sent": row,
        "address": _address(row),
        "sent_pill": "canceled" if row.is_held else PILLS.get(row.status, row.status),
        "sent_word": "Held" if row.is_held else row.get_status_display(),
        "answered": last.get("status"),
        "duration_ms": last.get("duration_ms"),
        "said": last.get("error"),
    }
