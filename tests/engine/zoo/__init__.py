"""A tiny pipeline of every class in the catalogue: the real class with random weights, in a folder, without a network.

`build(name, folder)` makes the one for the pipeline class `name`; classes that share their parts share a folder's
contents. Pictures and films of 32 px, sounds of a second, a step in milliseconds.
"""

from __future__ import annotations

from pathlib import Path

import torch

from tests.engine.zoo import films, meshes, pictures, sounds

MAKERS = pictures.MAKERS | films.MAKERS | sounds.MAKERS | meshes.MAKERS


def build(name: str, folder: Path) -> Path:
    """The pipeline class `name` in `folder`."""
    torch.manual_seed(0)
    MAKERS[name]().save_pretrained(folder)
    return folder
