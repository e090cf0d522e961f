"""How often a caller may ask, and the headers that say so before it is too often.

Counted by the minute in Redis, for all processes together. The edge counts in the same place and says the same.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import redis
from django.conf import settings

from marketplace.dispatch import redis_client
from playground.api.problems import Problem

WINDOW_SECONDS = 60
LIMIT, REMAINING, RESET = "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"


@dataclass(frozen=True, slots=True)
class Rate:
    """Where a caller stands in the present minute."""

    limit: int
    used: int
    reset_seconds: int

    @property
    def is_over(self) -> bool:
        return self.used > self.limit


def limit() -> int:
    """Requests that a caller may send in a minute; 0 is no limit."""
    return int(settings.API_REQUESTS_PER_MINUTE)


def counter(name: str) -> str:
    """Where the requests of `name` in the present minute are counted in Redis."""
    return f"throttle:{name}:{int(time.time()) // WINDOW_SECONDS}"


def rate(used: int) -> Rate:
    """Where somebody stands who has sent `used` requests in the present minute."""
    return Rate(limit(), used, max(1, round(WINDOW_SECONDS - time.time() % WINDOW_SECONDS)))


def take(name: str) -> Rate | None:
    """Count one request of `name`. None without a limit, and without Redis: then nobody is held up."""
    if not limit():
        return None
    counted = counter(name)
    try:
        pipe = redis_client().pipeline(transaction=False)
        pipe.incr(counted)
        pipe.expire(counted, 2 * WINDOW_SECONDS)
        return rate(int(pipe.execute()[0]))
    except redis.RedisError:
        return None


def headers(found: Rate | None) -> dict[str, str]:
    """The three headers of every answer that was counted."""
    if found is None:
        return {}
    return {
        LIMIT: str(found.limit),
        REMAINING: str(max(0, found.limit - found.used)),
        RESET: str(found.reset_seconds),
    }


def throttled(found: Rate) -> Problem:
    """The error of a request too many."""
    detail = f"More than {found.limit:,} requests in a minute; go on in {found.reset_seconds} s."
    retry = {"Retry-After": str(found.reset_seconds), **headers(found)}
    return Problem("throttled", detail, headers=retry)
