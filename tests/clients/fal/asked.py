"""Requests as fal's clients send them, to the application in this process."""

from __future__ import annotations

import json
from typing import Any

from tests.edge.asgi import Answer, ask, begin

VASE = {"prompt": "a vase", "seed": 7}


def sent(world: Any, input: Any = VASE, *, key: str | None = "", **headers: str) -> dict[str, Any]:
    """Headers and body of a POST, with Ada's key or another; names of headers with underscores."""
    who = {} if key is None else {"Authorization": f"Key {key or world.ada_key}"}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return {
        "headers": {**who, "Content-Type": "application/json", **named},
        "body": json.dumps(input).encode(),
    }


async def submit(
    world: Any, input: Any = VASE, *, query: str = "", base: str = "/fal/queue", **headers: str
) -> Answer:
    return await ask("POST", f"{base}/kiln/vase{query}", **sent(world, input, **headers))


async def get(world: Any, path: str, *, key: str = "", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await ask("GET", path, headers={"Authorization": f"Key {key or world.ada_key}", **named})


def path_of(url: str) -> str:
    """What follows the host."""
    return "/" + url.split("/", 3)[3]


__all__ = ["VASE", "begin", "get", "path_of", "sent", "submit"]
