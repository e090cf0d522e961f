"""Models for the clients to call, which `tests/families/studio.py` runs: a picture that is edited, films, a voice."""

from __future__ import annotations

import tomllib
from pathlib import Path

from marketplace import catalog
from marketplace.models import Publisher

MODELS = Path(__file__).resolve().parent / "models"


def publish() -> None:
    """Put them on the shelf."""
    publisher = Publisher.objects.get(name="vitrine")
    for path in sorted(MODELS.glob("*.toml")):
        catalog.publish(publisher, tomllib.loads(path.read_text()))
