"""Short blocking calls for the edge: a few threads, and no database connection that outlives its call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from django.db import close_old_connections

P = ParamSpec("P")
T = TypeVar("T")

THREADS = 4  # look-ups of a millisecond; those that wait, wait on the loop

_pool = ThreadPoolExecutor(THREADS, thread_name_prefix="edge")


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run one short blocking call in one of the edge's threads; its database connection goes back to the pool after."""

    def call() -> T:
        try:
            return function(*args, **kwargs)
        finally:
            close_old_connections()

    return await asyncio.get_running_loop().run_in_executor(_pool, call)
