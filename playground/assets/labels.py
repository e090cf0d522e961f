"""What whoever uploaded a file says of it: a name, and whatever else they want to find with it again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from playground.assets.uploads import clean_filename
from playground.models import Asset

_SAID = "said"  # in an asset's `meta`


def label(asset: Asset, said: Mapping[str, Any], *, filename: str = "") -> None:
    """Keep this of the file instead of what was said before; without a name it keeps the one it has."""
    asset.meta = {**asset.meta, _SAID: dict(said)}
    asset.filename = clean_filename(filename) or asset.filename
    asset.save(update_fields=["meta", "filename"])


def label_of(asset: Asset) -> dict[str, Any]:
    """What was said last."""
    said: dict[str, Any] = asset.meta.get(_SAID, {})
    return said
