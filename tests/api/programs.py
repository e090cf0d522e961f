"""Programs that speak to `/api/v1`."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from django.test import Client

from marketplace.models import Workspace


@dataclass
class Caller:
    """A program that speaks to `/api/v1` with one key, or none."""

    key: str | None = None
    client: Client = field(default_factory=Client)

    def headers(self, given: dict[str, str]) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}", **given} if self.key else given

    def get(self, path: str, **headers: str):
        return self.client.get(_path(path), headers=self.headers(_named(headers)))

    def post(
        self,
        path: str,
        body: Any = None,
        *,
        raw: bytes | None = None,
        content_type="application/json",
        **headers,
    ):
        data = raw if raw is not None else json.dumps(body if body is not None else {}).encode()
        return self.client.post(
            _path(path), data=data, content_type=content_type, headers=self.headers(_named(headers))
        )

    def put(self, path: str, body: Any):
        return self.client.put(
            _path(path), data=json.dumps(body), content_type="application/json", headers=self.headers({})
        )

    def patch(self, path: str, body: Any):
        return self.client.patch(
            _path(path), data=json.dumps(body), content_type="application/json", headers=self.headers({})
        )

    def delete(self, path: str, **headers: str):
        return self.client.delete(_path(path), headers=self.headers(_named(headers)))

    def run(self, **fields: Any):
        inputs = {"prompt": "a vase", **fields.pop("input", {})}
        return self.post("predictions", {"model": "kiln/vase", "input": inputs, **fields})


def _path(path: str) -> str:
    return path if path.startswith(("/", "http://")) else f"/api/v1/{path}"


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


@dataclass
class World:
    """Who is there."""

    workspace: Workspace
    other: Workspace
    ada: Caller
    mal: Caller
    nobody: Caller
    model: str
