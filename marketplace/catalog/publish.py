"""From a manifest on disk to a version on the shelf."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from django.db import transaction

from marketplace import schema
from marketplace.catalog import accelerations
from marketplace.catalog.find import forget
from marketplace.catalog.prices import MAX_RUNS, UNITS, Line, follow_manifest
from marketplace.models import Endpoint, Listing, Offer, Publisher, Version

Manifest = dict[str, Any]

OPENED = {".json", ".safetensors", ".txt", ".model", ".jinja"}  # endings of files that an engine reads
STATIC_PATH = re.compile(r"[a-z0-9][\w./-]{0,199}")
REQUIRED = ("name", "tagline", "task", "license", "recipe", "endpoint", "prices", "lane")
REQUIRED_OF_ENDPOINT = ("input", "output", "max_seconds", "start_within_seconds")


class InvalidManifest(ValueError):
    """The manifest cannot be published; the message names the place."""


def read_manifest(path: Path, *, weights_dir: Path) -> Manifest:
    """Read a manifest file; README and word list beside the weights, and the weights' hashes, are taken in.

    Fields keep the order in which the file names them. Raises InvalidManifest.
    """
    try:
        manifest = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidManifest(f"{path.name}: {error}") from None
    missing = [key for key in REQUIRED if key not in manifest]
    if missing:
        raise InvalidManifest(f"{path.name}: missing {', '.join(missing)}")
    missing = [key for key in REQUIRED_OF_ENDPOINT if key not in manifest["endpoint"]]
    if missing:
        raise InvalidManifest(f"{path.name}: endpoint: missing {', '.join(missing)}")
    for order, one in enumerate(manifest["endpoint"]["input"].get("properties", {}).values()):
        one.setdefault("x-order", order)
    weights = manifest["recipe"].get("weights")
    if weights:
        folder = weights_dir / weights
        manifest["recipe"]["hashes"] = hashes(folder)
        for key, name in (("readme", "README.md"), ("words", "words.json")):
            if key not in manifest and (folder / name).is_file():
                text = (folder / name).read_text(encoding="utf-8")
                manifest[key] = json.loads(text) if name.endswith(".json") else text
    return manifest


def hashes(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file that an engine opens in `folder`, by path. Raises InvalidManifest for none."""
    found = {
        file.relative_to(folder).as_posix(): _sha256(file)
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.suffix in OPENED and file.name != "words.json"
    }
    if not any(name.endswith(".safetensors") for name in found):
        raise InvalidManifest(f"no safetensors weights in {folder.name}")
    return found


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:  # weights may be larger than the memory
        return hashlib.file_digest(stream, "sha256").hexdigest()


def version_id(manifest: Mapping[str, Any]) -> str:
    """The SHA-256 of the canonical form of what makes a run: recipe, endpoint and task."""
    heart = {key: manifest[key] for key in ("recipe", "endpoint", "task")}
    return hashlib.sha256(json.dumps(heart, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@transaction.atomic
def publish(publisher: Publisher, manifest: Manifest) -> Listing:
    """Put a manifest on the shelf: listing, version, endpoint, offer, prices. Publishing it again changes nothing.

    A version is immutable; the rest of the listing follows the manifest, but for what a member set by hand. Raises
    InvalidManifest, also for a publisher that is closed.
    """
    wanted = prices_of(manifest)
    # Locked, so that none comes onto the shelf of a publisher that is being closed.
    if Publisher.objects.select_for_update(no_key=True).get(pk=publisher.pk).is_closed:
        raise InvalidManifest(f"the publisher {publisher.name} is closed")
    try:
        accelerations.check(manifest)
    except accelerations.Refused as error:
        raise InvalidManifest(str(error)) from None
    said = {
        "task": manifest["task"],
        "license": manifest["license"],
        "examples": examples_of(manifest),
        "takes": "".join(f" {kind} " for kind in schema.media_taken(manifest["endpoint"]["input"])),
        "featured": manifest.get("featured", 0),
        **said_of(manifest),
    }
    known = Listing.objects.filter(publisher=publisher, name=manifest["name"]).first()
    kept = known.edited if known is not None else []
    shelf, _ = Listing.objects.update_or_create(
        publisher=publisher,
        name=manifest["name"],
        defaults={name: value for name, value in said.items() if name not in kept},
    )
    version, is_new = Version.objects.get_or_create(
        listing=shelf, sha256=version_id(manifest), defaults={"manifest": manifest}
    )
    endpoint = _endpoint(version, manifest) if is_new else version.endpoints.get(name=manifest["task"])
    Offer.objects.update_or_create(
        endpoint=endpoint, kind=Offer.Kind.LANE, lane=manifest["lane"], defaults={"is_enabled": True}
    )
    endpoint.offers.filter(kind=Offer.Kind.LANE, is_enabled=True).exclude(lane=manifest["lane"]).update(
        is_enabled=False
    )
    if shelf.default_version_id != version.pk:
        shelf.default_version = version
        shelf.save(update_fields=["default_version"])
    follow_manifest(endpoint, wanted)
    shelf.refresh_from_db(fields=["typical_micros"])
    transaction.on_commit(forget)
    return shelf


def said_of(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What a manifest says of its listing that a member may change by hand, by the names of the listing's fields."""
    return {
        "tagline": manifest["tagline"],
        "readme": manifest.get("readme", ""),
        "cover": manifest.get("cover", ""),
        "visibility": manifest.get("visibility", Listing.Visibility.PUBLIC),
    }


def _endpoint(version: Version, manifest: Manifest) -> Endpoint:
    described = manifest["endpoint"]
    try:
        schema.check(described["input"])
    except schema.InvalidSchema as error:
        raise InvalidManifest(f"endpoint.input {error}") from None
    adapters = schema.adapter_field(described["input"])
    if adapters is not None and manifest["recipe"].get("family") != "diffusers":
        raise InvalidManifest(f"endpoint.input $.{adapters}: only the family diffusers takes adapters")
    return Endpoint.objects.create(
        version=version,
        name=manifest["task"],
        task=manifest["task"],
        input_schema=described["input"],
        output_schema=described["output"],
        max_seconds=described["max_seconds"],
        start_within_seconds=described["start_within_seconds"],
        granularity=described.get("granularity", Endpoint.Granularity.RUN),
        max_batch=described.get("max_batch", 1),
        batch_on=described.get("batch_on", []),
        typical_ms=described.get("typical_ms", 1000),
    )


def examples_of(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The examples of a manifest: an input that the schema takes, and the static picture that came of it.

    Raises InvalidManifest.
    """
    found = []
    for place, one in enumerate(manifest.get("examples", ()), start=1):
        picture = one.get("picture") if isinstance(one, Mapping) else None
        if not isinstance(picture, str) or not STATIC_PATH.fullmatch(picture) or ".." in picture:
            raise InvalidManifest(f"examples: number {place} names no static picture")
        try:
            schema.clean(manifest["endpoint"]["input"], one.get("input"))
        except schema.InvalidInput as error:
            raise InvalidManifest(f"examples: number {place}: {error}") from None
        found.append({"input": dict(one["input"]), "picture": picture})
    return found


def prices_of(manifest: Mapping[str, Any]) -> list[Line]:
    """The price lines of a manifest. Raises InvalidManifest for units or amounts that cannot be computed."""
    lines = []
    for line in manifest["prices"]:
        try:
            amount = Decimal(str(line["unit_price"]))
        except (InvalidOperation, KeyError):
            raise InvalidManifest("prices: unit_price is a decimal number in quotes") from None
        if not amount.is_finite() or amount < 0 or line.get("unit") not in UNITS:
            raise InvalidManifest(f"prices: a price is 0 or more for one of {', '.join(UNITS)}")
        runs = line.get("from_runs", 0)
        if isinstance(runs, bool) or not isinstance(runs, int) or not 0 <= runs <= MAX_RUNS:
            raise InvalidManifest("prices: from_runs is a whole number of runs, 0 or more")
        lines.append(Line(line["unit"], amount, dict(line.get("conditions", {})), runs))
    if not lines:
        raise InvalidManifest("prices: a model without a price cannot be run; use 0 for a free one")
    return lines
