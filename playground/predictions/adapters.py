"""The adapters of a run: which of the workspace's files they are, how strong, and their bytes for whoever runs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import IO, Any, TypedDict

from django.conf import settings
from django.core.files.storage import default_storage

from marketplace import schema
from marketplace.ids import parse
from playground import assets
from playground.models import Asset, Prediction

MAX_BYTES = 512 * 2**20  # of one; it goes to the worker as a file, not in its job
CHUNK_BYTES = 2**20


class AdapterJson(TypedDict):
    """One adapter of a job. `url` is where a worker that has no storage of ours reads it; empty if the file is gone."""

    asset: str
    name: str
    sha256: str
    size: int
    weight: float
    url: str


def worn(row: Prediction) -> list[AdapterJson]:
    """What the run has on its base, by its input. Whose file is gone has no sha256, and no worker can put it on."""
    asked = schema.adapters_in(row.endpoint.input_schema, row.input)
    known = _known(row.workspace_id, [file for file, _ in asked])
    return [_as_json(file, weight, known.get(file)) for file, weight in asked]


def _known(workspace_id: int, files: Sequence[str]) -> dict[str, Asset]:
    """The assets that these ids name, by the ids as they were given."""
    ids = {file: parse(file, "a") for file in files}
    wanted = [one for one in ids.values() if one is not None]
    if not wanted:
        return {}
    rows = Asset.objects.filter(workspace_id=workspace_id, public_id__in=wanted)
    found = {asset.public_id: asset for asset in rows}
    return {file: found[one] for file, one in ids.items() if one in found}


def _as_json(file: str, weight: float, asset: Asset | None) -> AdapterJson:
    return {
        "asset": file,
        "name": (asset.filename if asset else "") or file,
        "sha256": asset.sha256 if asset else "",
        "size": asset.size if asset else 0,
        "weight": weight,
        "url": settings.PUBLIC_URL + assets.address(asset) if asset else "",
    }


def identities(workspace_id: int, described: schema.Schema, cleaned: Mapping[str, Any]) -> list[list[Any]]:
    """What runs must share, beside their input, to share a batch: the sha256 and the weight of each adapter."""
    asked = schema.adapters_in(described, cleaned)
    known = _known(workspace_id, [file for file, _ in asked])
    return sorted([known[file].sha256 if file in known else file, weight] for file, weight in asked)


def repeated(workspace_id: int, described: schema.Schema, cleaned: Mapping[str, Any]) -> str | None:
    """The path of an adapter whose bytes an earlier entry names already; None if each is another file."""
    name = schema.adapter_field(described)
    entries = (cleaned.get(name) if name else None) or ()
    known = _known(workspace_id, [one["file"] for one in entries])
    seen: set[str] = set()
    for place, one in enumerate(entries):
        same = known[one["file"]].sha256 if one["file"] in known else one["file"]
        if same in seen:
            return f"{name}[{place}].file"
        seen.add(same)
    return None


def copy(one: AdapterJson, to: IO[bytes]) -> None:
    """Write the file of an adapter to `to`. Raises OSError; FileNotFoundError where it is gone."""
    public_id = parse(one["asset"], "a")
    asset = Asset.objects.filter(public_id=public_id, sha256=one["sha256"]).first() if public_id else None
    if asset is None:
        raise FileNotFoundError(one["asset"])
    with default_storage.open(asset.storage_name) as file:
        while chunk := file.read(CHUNK_BYTES):
            to.write(chunk)
