"""fal's own clients, unmodified, beside runs and the queue: uploads, realtime, and everything through the proxy."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients import running
from tests.clients.fal.test_clients import key  # noqa: F401 - a fixture
from tests.conftest import Stack
from tests.examiner import files

HERE = Path(__file__).parent
APP = "vitrine/card"


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "s.png"
    path.write_bytes(files.picture(size=(900, 700)))
    return path


def test_python(stack: Stack, key: str, picture: Path) -> None:  # noqa: F811 - a fixture
    seen = running.python(HERE / "beside.py", {"FAL_BASE": stack.url, "FAL_KEY": key}, APP, picture)
    for name in ("small", "bytes", "storage", "parts", "parts_of_file"):
        assert seen[name] == seen["sha256"], name
    assert seen["refused"][0] == 422
    for name in ("realtime", "realtime_by_key"):
        assert seen[name] == ["1", 1, 7]
        assert seen[f"{name}_refused"] == ["INVALID_INPUT", ["body", "num_images"]]
        assert seen[f"{name}_large"] == ["body", "prompt"]
    assert seen["async"] == [True, ["0", "1", "2"]]


def test_javascript_through_the_proxy(stack: Stack, key: str, picture: Path) -> None:  # noqa: F811 - a fixture
    seen = running.javascript(HERE / "beside.mjs", {"FAL_BASE": stack.url, "FAL_KEY": key}, APP, picture)
    assert (seen["small"], seen["parts"]) == (seen["sha256"], seen["sha256"])
    assert seen["hidden"] == [True, 422]
    assert (seen["run"], seen["polling"], seen["stream"]) == (1, 1, 1)
    assert seen["streaming"] == [1, "COMPLETED"]
    assert seen["realtime"] == [[["1", 1]], "INVALID_INPUT"]
