"""What fal's clients say beside the input: in `X-Fal-…` headers, and in the query of a submit."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from marketplace.schema import FieldError
from playground.api.problems import Problem, invalid

PRIORITIES = {"normal": 0, "low": -1}
LEAST_TIMEOUT = 0.1  # seconds, and not this either
MOST_SECONDS = 10 * 365 * 24 * 3600  # more than anything here lasts
MOST_UNHEARD = 20  # of which a caller is told
TRUE, FALSE = {"1", "true", "yes"}, {"0", "false", "no"}
_NUMBER = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,12})?")
# What is done, or is what happens anyway: nothing here is rerouted to a model that was not asked for.
_HEARD = {
    "x-fal-queue-priority",
    "x-fal-request-timeout",
    "x-fal-store-io",
    "x-fal-object-lifecycle-preference",
    "x-fal-target-url",
    "x-fal-client-proxy",
    "x-app-fal-disable-fallback",
}
_THEIRS = re.compile(r"x-(?:app-)?fal-[a-z0-9-]{1,60}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Wishes:
    """Beside the input. `start_within` in whole seconds; `ignored` names what is not done here."""

    priority: int = 0
    start_within: int | None = None
    keeps_input: bool = True
    expires_seconds: int | None = None
    webhook: str | None = None
    most_queued: int | None = None
    ignored: list[str] = field(default_factory=list)


def wishes(headers: Mapping[str, str], query: Mapping[str, str]) -> Wishes:
    """What a submit or a run wishes. `headers` finds names in any case. Raises Problem for what cannot be done."""
    priority = headers.get("X-Fal-Queue-Priority", "normal").strip().lower()
    if priority not in PRIORITIES:
        raise _wrong("X-Fal-Queue-Priority", "must be normal or low", list(PRIORITIES))
    return Wishes(
        priority=PRIORITIES[priority],
        start_within=start_within(headers.get("X-Fal-Request-Timeout", "")),
        keeps_input=headers.get("X-Fal-Store-IO", "1").strip().lower() not in FALSE,
        expires_seconds=lifecycle(headers.get("X-Fal-Object-Lifecycle-Preference", "")),
        webhook=query.get("fal_webhook") or None,
        most_queued=_most_queued(query.get("fal_max_queue_length")),
        ignored=unheard(headers),
    )


def unheard(headers: Mapping[str, str]) -> list[str]:
    """The names of fal's headers that change nothing here: plans for trying again, hints at a runner, tags, and what
    later clients send besides."""
    theirs = {name for name in headers if _THEIRS.fullmatch(name) and headers[name].strip()}
    return sorted(name for name in theirs if name.lower() not in _HEARD)[:MOST_UNHEARD]


def start_within(text: str) -> int | None:
    """The seconds in which a run must start, whole ones: a part of one counts as one. None without the wish."""
    text = text.strip()
    if not text:
        return None
    if _NUMBER.fullmatch(text) is None or not float(text) > LEAST_TIMEOUT:
        message = f"must be a number of seconds above {LEAST_TIMEOUT}"
        raise _wrong("X-Fal-Request-Timeout", message, {"exclusiveMinimum": LEAST_TIMEOUT})
    return min(math.ceil(float(text)), MOST_SECONDS)


def lifecycle(text: str, *, name: str = "X-Fal-Object-Lifecycle-Preference") -> int | None:
    """The seconds after which what is stored expires; None for as long as the workspace keeps it.

    An address of ours is a capability: whoever has it sees the file, and nobody else. So `allow` is what there is;
    a list of who may, or hiding a file from those who have its address, is refused rather than not done.
    """
    if not text.strip():
        return None
    try:
        asked = json.loads(text)
    except (ValueError, RecursionError):
        asked = None
    if not isinstance(asked, dict):
        raise _wrong(name, "must be a JSON object", "object")
    access = asked.get("initial_acl")
    is_open = access is None or (
        isinstance(access, dict) and access.get("default") in (None, "allow") and not access.get("rules")
    )
    if not is_open:
        message = "can only be allow: whoever has the address of a file can read it"
        raise _wrong(f"{name}.initial_acl", message, {"default": "allow"})
    seconds = asked.get("expiration_duration_seconds")
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < math.inf:
        raise _wrong(f"{name}.expiration_duration_seconds", "must be a number of seconds", {"minimum": 1})
    return min(math.ceil(seconds), MOST_SECONDS)


def with_logs(query: Mapping[str, str]) -> bool:
    """Whether a status is asked for with its log: `logs=1` by JavaScript, `logs=true` by Python."""
    return query.get("logs", "0").strip().lower() in TRUE


def _most_queued(text: str | None) -> int | None:
    if text is None:
        return None
    if re.fullmatch(r"[0-9]{1,9}", text) is None:
        raise _wrong("fal_max_queue_length", "must be a whole number", {"minimum": 0})
    return int(text)


def _wrong(name: str, message: str, allowed: Any) -> Problem:
    return invalid([FieldError(name, "not_allowed", message, allowed)])
