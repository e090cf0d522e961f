"""What a request of Replicate's clients asks for: its body and its headers, checked, in our words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.utils.dateparse import parse_datetime
from rest_framework.request import Request

from marketplace.schema import FieldError
from playground import webhooks
from playground.api.problems import invalid
from playground.models import Event
from playground.models.webhook import LOGS_EVENT, STARTED_EVENT

# What each of Replicate's events is here. An output is there as a whole when a run has ended, and is told then; the log
# is, too, once more.
EVENTS: dict[str, tuple[str, ...]] = {
    "start": (STARTED_EVENT,),
    "output": (Event.SUCCEEDED.value,),
    "logs": (LOGS_EVENT, Event.SUCCEEDED.value, Event.FAILED.value, Event.CANCELED.value),
    "completed": (Event.SUCCEEDED.value, Event.FAILED.value, Event.CANCELED.value),
}
USUAL_EVENTS = ("output", "completed")
LEAST_SECONDS, MOST_SECONDS = 5, 24 * 3600  # of `Cancel-After`
_FIELDS = ("input", "stream", "webhook", "webhook_completed", "webhook_events_filter")
_CLIENT = {"auth", "baseUrl", "userAgent"}  # the fields of the JavaScript client itself
_DURATION = re.compile(r"(?:([0-9]{1,3})h)?(?:([0-9]{1,5})m)?(?:([0-9]{1,6})s?)?")
_FILE = re.compile(r"https?://([^/?#]+)/v1/files/([0-9a-z]{26})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Asked:
    """A prediction that is asked for. `version` is as it was written: an id, a model's name, or both.

    `events` are Replicate's words, `told` the same in ours.
    """

    version: str
    input: Mapping[str, Any]
    webhook: str | None
    events: tuple[str, ...]
    cancel_after: int | None

    @property
    def told(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(ours for theirs in self.events for ours in EVENTS[theirs]))


def prediction(request: Request, *, names_version: bool) -> Asked:
    """The request. `names_version`: its body says what to run, else its address does. Raises Problem with every error;
    a field that there is not is one."""
    data = request.data
    fields = (*_FIELDS, "version") if names_version else _FIELDS
    errors: list[FieldError] = []
    if not isinstance(data, Mapping):
        raise invalid([FieldError("body", "type", "must be a JSON object", "object")])
    version, given = data.get("version", ""), data.get("input", {})
    if names_version and not version:
        errors.append(FieldError("version", "required", "is required", "string"))
    elif not isinstance(version, str):
        errors.append(FieldError("version", "type", "must be text", "string"))
    if not isinstance(given, Mapping):
        errors.append(FieldError("input", "type", "must be an object", "object"))
    elif given.keys() >= _CLIENT:
        # A known fault of a client: with data URIs as its strategy for files it sends itself, its token and all.
        message = (
            "is the client itself with its API token, as replicate-javascript sends it with the fileEncodingStrategy "
            "data-uri. Nothing of it was kept: use another strategy, and make a new token"
        )
        raise invalid([FieldError("input", "not_allowed", message)])
    unknown = [name for name in data if name not in fields][:20]
    errors += [
        FieldError(name[:64], "unknown", "is no field of this request", list(fields)) for name in unknown
    ]
    webhook, events = _webhook(data, errors)
    cancel_after = _cancel_after(request.headers.get("Cancel-After", "").strip(), errors)
    if errors:
        raise invalid(errors)
    return Asked(version=version, input=given, webhook=webhook, events=events, cancel_after=cancel_after)


def _webhook(data: Mapping[str, Any], errors: list[FieldError]) -> tuple[str | None, tuple[str, ...]]:
    """Who is told of what. `webhook_completed` is an older way to ask for the end alone."""
    name = "webhook" if data.get("webhook") else "webhook_completed"
    url, events = data.get(name), data.get("webhook_events_filter")
    if url is not None and not isinstance(url, str):
        errors.append(FieldError(name, "type", "must be an address", "string"))
    elif url and (wrong := webhooks.wrong_with(url)):
        errors.append(FieldError(name, "pattern", wrong, "an http or https address"))
    if events is None:
        events = USUAL_EVENTS if name == "webhook" else ("completed",)
    elif not isinstance(events, list) or not all(isinstance(one, str) and one in EVENTS for one in events):
        errors.append(
            FieldError("webhook_events_filter", "not_allowed", "names what there is not", list(EVENTS))
        )
        return None, ()
    return (url, tuple(dict.fromkeys(events))) if url and events and isinstance(url, str) else (None, ())


def _cancel_after(text: str, errors: list[FieldError]) -> int | None:
    """`Cancel-After` in seconds: 90, 90s, 1m30s, 2h."""
    if not text:
        return None
    found = _DURATION.fullmatch(text)
    seconds = 0
    if found is not None:
        hours, minutes, rest = (int(part or 0) for part in found.groups())
        seconds = hours * 3600 + minutes * 60 + rest
    if not LEAST_SECONDS <= seconds <= MOST_SECONDS:
        allowed = {"minimum": LEAST_SECONDS, "maximum": MOST_SECONDS}
        errors.append(
            FieldError("Cancel-After", "pattern", "must be a duration from 5s to 24h, as in 1m30s", allowed)
        )
        return None
    return seconds


def with_own_files(value: Any, host: str) -> Any:
    """The input with our own file addresses as the ids that they name: never fetched, and the caller's own or nobody's.

    `host` is the name by which the caller knows us.
    """
    if isinstance(value, Mapping):
        return {name: with_own_files(one, host) for name, one in value.items()}
    if isinstance(value, list):
        return [with_own_files(one, host) for one in value]
    found = _FILE.fullmatch(value) if isinstance(value, str) else None
    ours = {host.lower(), urlsplit(settings.PUBLIC_URL).netloc.lower()}
    return f"a_{found[2].lower()}" if found is not None and found[1].lower() in ours else value


def moment(request: Request, name: str) -> datetime | None:
    """A time of the query, ISO 8601; without a zone in UTC. Raises Problem."""
    text = str(request.query_params.get(name, ""))
    if not text:
        return None
    try:
        found = parse_datetime(text.replace(" ", "+"))  # a plus that was not escaped arrives as a space
    except ValueError:
        found = None
    if found is None:
        raise invalid([FieldError(name, "type", "must be a time as in 2026-01-31T12:00:00Z", "date-time")])
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def text_of(request: Request, name: str) -> str:
    """A text of the query; a null character, which the database cannot hold, matches nothing."""
    return str(request.query_params.get(name, "")).replace("\0", "\ufffd")


def is_version(text: str) -> bool:
    """Whether it is the id of a version alone."""
    return re.fullmatch(r"[0-9a-f]{64}", text) is not None


def model_named(version: str) -> str:
    """The model that a version other than a bare id names; `latest` is the one that there is."""
    name, _, wanted = version.partition(":")
    return name if wanted in {"", "latest"} else version
