"""The workspace's webhooks: making, changing, pausing, removing them, and their secrets."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from urllib.parse import urlsplit

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from marketplace import people
from marketplace.ids import parse
from marketplace.models import User, Workspace
from marketplace.schema import FieldError, FieldErrors
from playground.models import Delivery, Event, RequestSecret, Webhook
from playground.webhooks import signing

MAX_WEBHOOKS = 20  # of one workspace
MAX_URL, MAX_DESCRIPTION = 2048, 200


class InvalidWebhook(FieldErrors):
    """Some values cannot be taken; `errors` names each of them."""


class TooMany(Exception):
    """The workspace has as many webhooks as it may."""


class NotFound(LookupError):
    """The workspace has no such webhook or delivery."""


def of(workspace: Workspace) -> QuerySet[Webhook]:
    """The workspace's webhooks, newest first."""
    return Webhook.objects.filter(workspace=workspace).order_by("-id")


def find(workspace: Workspace, public_id: str) -> Webhook:
    """The workspace's webhook by any spelling of its id. Raises NotFound."""
    number = parse(public_id, "wh")
    row = Webhook.objects.filter(workspace=workspace, public_id=number).first() if number else None
    if row is None:
        raise NotFound("There is no such webhook in this workspace.")
    return row


def make(
    workspace: Workspace,
    *,
    url: str,
    events: Collection[str] = tuple(Event.values),
    description: str = "",
    by: User | None = None,
) -> Webhook:
    """Make a webhook with a secret of its own. Raises InvalidWebhook, TooMany, and NotFound in a closed workspace."""
    _check(url=url, events=events, description=description)
    with transaction.atomic():
        # The workspace's row is the lock, so that two at once cannot both be the last that fits, and none comes after
        # the workspace has gone.
        try:
            people.locked(workspace.pk)
        except people.NoSuchMember:
            raise NotFound("This workspace was deleted.") from None
        if of(workspace).count() >= MAX_WEBHOOKS:
            raise TooMany(f"A workspace has {MAX_WEBHOOKS} webhooks at most. Delete one that is not needed.")
        return Webhook.objects.create(
            workspace=workspace,
            created_by=by,
            url=url,
            events=_in_order(events),
            description=description,
            secret=signing.new_secret(),
        )


def change(
    webhook: Webhook,
    *,
    url: str | None = None,
    events: Collection[str] | None = None,
    description: str | None = None,
    is_enabled: bool | None = None,
) -> Webhook:
    """Change what is given. Raises InvalidWebhook, and NotFound for one that was deleted meanwhile.

    Pausing holds what is on its way back, enabling lets it go again, and forgets earlier failures.
    """
    _check(url=url, events=events, description=description)
    with transaction.atomic():
        row = locked(webhook)
        if url is not None:
            row.url, row.failing_since = url, row.failing_since if url == row.url else None
        if events is not None:
            row.events = _in_order(events)
        if description is not None:
            row.description = description
        if is_enabled is True and not row.is_enabled:
            row.is_enabled, row.disabled_reason, row.failing_since = True, "", None
            _pending(row).update(next_attempt_at=timezone.now())
        elif is_enabled is False and row.is_enabled:
            pause(row, reason="")
        row.save()
    return row


def locked(webhook: Webhook) -> Webhook:
    """The webhook as it is now, locked for the present transaction. Raises NotFound if it was deleted.

    Whoever locks a webhook and deliveries of it locks the webhook first; else two would wait for each other.
    """
    row = Webhook.objects.select_for_update().filter(pk=webhook.pk).first()
    if row is None:
        raise NotFound("There is no such webhook in this workspace.")
    return row


def pause(row: Webhook, *, reason: str) -> None:
    """Stop a locked webhook, and hold what is on its way (not saved)."""
    row.is_enabled, row.disabled_reason = False, reason
    _pending(row).update(next_attempt_at=None)


def remove(webhook: Webhook) -> None:
    """Delete a webhook with its deliveries; what is on its way is given up. Raises NotFound if it is gone."""
    with transaction.atomic():
        locked(webhook).delete()


def remove_all(workspace_id: int) -> None:
    """Delete the workspace's webhooks with all that is on its way to them, in the caller's transaction."""
    rows = Webhook.objects.filter(workspace_id=workspace_id)
    list(rows.select_for_update().order_by("pk"))  # before their deliveries, see `locked`
    rows.delete()


def rotate(webhook: Webhook) -> Webhook:
    """Give it a new secret; the old one signs too for a day. Raises NotFound if it was deleted meanwhile."""
    with transaction.atomic():
        row = locked(webhook)
        signing.replace(row, now=timezone.now())
        row.save(update_fields=["secret", "previous_secret", "previous_until"])
    return row


def request_secret(workspace: Workspace) -> RequestSecret:
    """The secret that signs deliveries to addresses which requests name. Made at first use."""
    row, _ = RequestSecret.objects.get_or_create(
        workspace=workspace, defaults={"secret": signing.new_secret()}
    )
    return row


def rotate_request_secret(workspace: Workspace) -> RequestSecret:
    """Replace it; the old one signs too for a day."""
    request_secret(workspace)
    with transaction.atomic():
        row = RequestSecret.objects.select_for_update().get(workspace=workspace)
        signing.replace(row, now=timezone.now())
        row.save()
    return row


def wrong_with(url: str) -> str | None:
    """Why `url` cannot be told anything, or None. Where its name leads is only known, and checked, when it is sent."""
    if len(url) > MAX_URL:
        return f"must have at most {MAX_URL:,} characters"
    if not url.isascii() or not url.isprintable() or " " in url:
        return "must be an address in plain ASCII, without spaces"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "is no address that can be read"
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        return "must start with https:// or http://, and name a host"
    if parts.username is not None or parts.password is not None:
        return "must not carry a name or password; put a secret into the path or query"
    if parts.fragment:
        return "must not have a fragment: servers never see it"
    return None


def _check(*, url: str | None, events: Collection[str] | None, description: str | None) -> None:
    errors = []
    if url is not None and (wrong := wrong_with(url)):
        errors.append(FieldError("url", "pattern", wrong, "an http or https address"))
    if events is not None and (not events or not set(events) <= set(Event.values)):
        message = "must name at least one event, and only those there are"
        errors.append(FieldError("events", "not_allowed", message, list(Event.values)))
    if description is not None and len(description) > MAX_DESCRIPTION:
        errors.append(FieldError("description", "too_long", "is too long", MAX_DESCRIPTION))
    if errors:
        raise InvalidWebhook(errors)


def _in_order(events: Collection[str]) -> Sequence[str]:
    return [one for one in Event.values if one in events]


def _pending(row: Webhook) -> QuerySet[Delivery]:
    return Delivery.objects.of(row).filter(status=Delivery.Status.PENDING)
