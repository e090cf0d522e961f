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
    assert said["asynchronous"] == ["PNG", 64, 48]
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


def test_python_by_provider(called: Stack, folder: Path) -> None:
    settings = {"HF_ENDPOINT": f"{called.url}/hf", "HF_TOKEN": called.key}
    said = running.python(HERE / "providers.py", settings, called.url, folder)
    assert said["chosen"] == [128, 128]
    assert said["drawn"] == [[128, 128]] * 3
    assert said["edited"] == [[64, 48]] * 3
    assert said["spoken"] == ["RIFF"] * 3
    assert said["filmed"] == ["ftyp"] * 2
    assert said["awake"] == "ftyp"
    assert said["info"]["model_pipeline_tag"] == "text-to-image"
    assert said["health"] == [True, False]
    assert said["none"] == ["RepositoryNotFoundError", 404]
    assert said["task"][0] == "ValueError"
    assert "text-to-image" in said["task"][1]
    assert said["wrong"][1] == 422


def test_javascript_by_provider(called: Stack, folder: Path) -> None:
    said = running.javascript(HERE / "providers.mjs", {"HF_TOKEN": called.key}, called.url, folder)
    for name in ("drawn", "edited"):
        assert [one[1:4] for one in said[name]] == ["PNG"] * 3
    assert [one[:4] for one in said["spoken"]] == ["RIFF"] * 3
    assert (said["filmed"][4:], said["awake"][4:]) == ("ftyp", "ftyp")
    assert said["none"] == ["InferenceClientHubApiError", 404]
