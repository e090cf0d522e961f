"""A whole installation with the models that the clients call, and files for them to send."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from tests.conftest import Stack

PUBLISH = "from tests.clients import shelf; shelf.publish()"
GROUND = (30, 90, 200)


@pytest.fixture(scope="session")
def called(stack: Stack) -> Stack:
    """The session's installation, with those models on its shelf."""
    stack.manage("shell", "-c", PUBLISH)
    return stack


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`picture.png`, all of one colour, and `mask.png` of the same size, with a hole in the middle."""
    folder = tmp_path_factory.mktemp("files")
    Image.new("RGB", (64, 48), GROUND).save(folder / "picture.png")
    mask = Image.new("RGBA", (64, 48), (0, 0, 0, 255))
    ImageDraw.Draw(mask).rectangle((20, 16, 44, 32), (0, 0, 0, 0))
    mask.save(folder / "mask.png")
    return folder


from tests.api.conftest import world  # noqa: E402, F401 - a fixture, for views
from tests.edge.conftest import world as committed  # noqa: E402, F401 - the same, for the edge
