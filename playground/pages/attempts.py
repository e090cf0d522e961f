"""How often something may be tried: counted in Redis for all web processes together, within a minute or longer."""

from __future__ import annotations

import hashlib
import time

import redis

from marketplace.dispatch import redis_client


class CannotCount(Exception):
    """Redis does not answer. Whoever asks decides whether that is a yes."""


def are_allowed(limits: dict[str, int], *, window_seconds: int) -> bool:
    """Count one attempt under each name; whether none has had more than its limit within the window.

    Raises CannotCount.
    """
    window = int(time.time()) // window_seconds
    try:
        pipe = redis_client().pipeline(transaction=False)
        for name in limits:
            pipe.incr(f"sign-in:{name}:{window}")
            pipe.expire(f"sign-in:{name}:{window}", 2 * window_seconds)
        counted = [int(number) for number in pipe.execute()[::2]]
    except redis.RedisError as error:
        raise CannotCount(str(error)) from None
    return all(number <= most for number, most in zip(counted, limits.values(), strict=True))


def trace(text: str) -> str:
    """What stands for an e-mail address in a name, so that none is kept there."""
    return hashlib.sha256(text.strip().lower().encode()).hexdigest()[:32]
