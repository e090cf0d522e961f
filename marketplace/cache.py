"""Django's cache on the Redis that everything shares: what counts, and may be forgotten.

Without Redis it is empty and takes everything, so that nobody is held up by a limit that cannot be counted: what
must never be unlimited, as guesses of a second factor, is counted where that is refused. Values are JSON, so that
nobody who can write to Redis runs code here.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import redis
from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.core.cache.backends.redis import RedisCache

log = logging.getLogger(__name__)


class Json:
    """How values are written. Whole numbers stay numbers, which Redis itself can count up."""

    def dumps(self, value: Any) -> Any:
        return value if type(value) is int else json.dumps(value)

    def loads(self, data: bytes) -> Any:
        return json.loads(data)


class SharedCache(RedisCache):
    """A cache with a prefix of its own, which alone `clear` empties."""

    def add(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> bool:
        return bool(self._or(1, super().add, key, value, timeout, version))

    def get(self, key: Any, default: Any = None, version: Any = None) -> Any:
        return self._or(default, super().get, key, default, version)

    def set(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> None:
        self._or(None, super().set, key, value, timeout, version)

    def delete(self, key: Any, version: Any = None) -> bool:
        return bool(self._or(0, super().delete, key, version))

    def clear(self) -> None:
        client = self._cache.get_client(None, write=True)
        for name in client.scan_iter(match=f"{self.key_prefix}:*", count=1000):
            client.delete(name)

    def _or(self, otherwise: Any, act: Callable[..., Any], *args: Any) -> Any:  # what to answer without Redis
        try:
            return act(*args)
        except redis.RedisError as error:
            log.warning("the cache does not answer: %s", error)
            return otherwise
