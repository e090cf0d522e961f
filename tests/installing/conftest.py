from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.installing.shrunk import Weights


@pytest.fixture(scope="session", autouse=True)
def _coarse_meshes() -> None:
    """A surface is looked for in 24³ places instead of 128³: seconds of arithmetic that no test is about."""
    from diffusers.pipelines.shap_e.renderer import ShapERenderer

    search = ShapERenderer.decode_to_mesh.__wrapped__
    search.__defaults__ = (24, *search.__defaults__[1:])


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Weights:
    from workers.engine import machine

    machine.set_environment()
    from tests.installing.shrunk import Weights

    return Weights(Path(tmp_path_factory.mktemp("zoo")))
