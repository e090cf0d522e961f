"""Files sent to the edge as a program sends them, and what is left of them."""

from __future__ import annotations

import json
from pathlib import Path

from marketplace.models import Outbox
from playground import examiner
from playground.assets import Arrival, uploads
from playground.assets.purge import DELETE_TASK, delete_media
from playground.models import Asset
from tests.edge.asgi import ask, run

PATH = "/api/v1/assets"


def left(folder: Path) -> list[str]:
    """The files that are there."""
    return sorted(str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file())


def send(world, data: bytes, *, key: str | None = None, path: str = PATH, **headers: str):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return run(ask("POST", path, headers={**world.headers(key), **named}, body=data))


def put(world, path: str, data: bytes, key: str | None = None):
    return run(ask("PUT", path, headers=world.headers(key), body=data))


def call(world, method: str, path: str, body: object = None, key: str | None = None):
    sent = b"" if body is None else json.dumps(body).encode()
    return run(
        ask(method, path, headers={**world.headers(key), "Content-Type": "application/json"}, body=sent)
    )


def clean_up() -> None:
    """What the control process does after deletions."""
    for message in Outbox.objects.filter(task=DELETE_TASK):
        delete_media(message.pk)


def take(world, data: bytes, **named) -> Asset:
    """An upload that has come, as any protocol takes it in."""
    with Arrival() as arrival:
        arrival.write(data)
        place = uploads.announce(world.ada, by=None, size=len(data), **named)
        return uploads.finish(place, arrival, examiner.examine(arrival.file))[0]
