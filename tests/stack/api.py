"""A caller of the API, as a program somebody wrote."""

from __future__ import annotations

import time
from typing import Any

import httpx

MODEL = "vitrine/daylight"
PROMPT = "a glossy teal vase on a white plinth, light from the left, ivory wall"
SMALL = {"width": 128, "height": 128}  # pictures that do not keep the tests waiting
TERMINAL = {"succeeded", "failed", "canceled"}


class Api:
    """`/api/v1` with one key."""

    def __init__(self, url: str, key: str) -> None:
        self.http = httpx.Client(
            base_url=f"{url}/api/v1", headers={"Authorization": f"Bearer {key}"}, timeout=90, trust_env=False
        )

    def __del__(self) -> None:
        self.http.close()

    def submit(self, *, headers: dict[str, str] | None = None, **input: Any) -> dict[str, Any]:
        body = {"model": MODEL, "input": {"prompt": PROMPT, **SMALL, **input}}
        answer = self.http.post("/predictions", json=body, headers=headers or {})
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def run(self, **input: Any) -> dict[str, Any]:
        """Submit and wait for the end."""
        return self.wait(self.submit(**input)["id"])

    def get(self, id: str) -> dict[str, Any]:
        answer = self.http.get(f"/predictions/{id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def wait(self, id: str, *, seconds: float = 120) -> dict[str, Any]:
        return self.until(id, lambda found: found["status"] in TERMINAL, seconds=seconds)

    def until(self, id: str, holds: Any, *, seconds: float = 120) -> dict[str, Any]:
        """The prediction as soon as `holds` is true of it."""
        deadline = time.monotonic() + seconds
        while not holds(found := self.get(id)):
            assert time.monotonic() < deadline, f"{found['status']} step {found['step']}: {found['error']}"
            time.sleep(0.05)
        return found

    def balance(self) -> dict[str, Any]:
        return dict(self.http.get("/balance").json())

    def media(self, url: str) -> bytes:
        answer = self.http.get(url, headers={"Authorization": ""})
        assert answer.status_code == 200, answer.text
        return answer.content
