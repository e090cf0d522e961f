"""Hugging Face's own clients, unmodified, against a whole installation."""

from __future__ import annotations

from pathlib import Path

from tests.clients import running
from tests.conftest import Stack

HERE = Path(__file__).resolve().parent


def test_python(called: Stack, folder: Path) -> None:
    said = running.python(HERE / "surface.py", {}, called.url, called.key, folder)
    assert said["drawn"] == ["PNG", 128, 128]
    assert said["same"] is True
    assert said["named"] == ["PNG", 128, 128]
    assert (said["base64"], said["raw"]) == (["PNG", 64, 48], ["PNG", 64, 48])
    assert said["speech"] == "RIFF"
    for asked, status, word in (
        ("key", 401, "key"),
        ("model", 404, "vitrine/none"),
        ("size", 422, "'width'"),
    ):
        assert said[asked][0] == status
        assert word in said[asked][1]["error"]
        assert word in said[asked][2]  # people read it in the exception
    assert said["words"][0] == 422


def test_javascript(called: Stack, folder: Path) -> None:
    said = running.javascript(HERE / "surface.mjs", {}, called.url, called.key, folder)
    assert said["drawn"] == ["image/png", "\x89PNG"]
    assert said["address"].startswith("data:image/")  # this client calls every picture a JPEG
    assert (said["raw"], said["asked"]) == (["image/png", "\x89PNG"], ["image/png", "\x89PNG"])
    assert said["speech"] == ["audio/wav", "RIFF"]
    assert said["key"][:2] == ["InferenceClientProviderApiError", 401]
    assert said["model"][:2] == ["InferenceClientProviderApiError", 404]
    assert "vitrine/none" in said["model"][2]
