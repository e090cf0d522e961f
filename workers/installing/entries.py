"""The catalogue as files: one manifest per model, read and checked without torch."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marketplace import catalog
from marketplace.catalog import InvalidManifest

MANIFESTS = Path(catalog.__file__).parent / "manifests" / "open"
REQUIRED = ("name", "tagline", "task", "license", "lane", "source", "needs", "recipe", "prices", "endpoint")
KNOWN = {*REQUIRED, "readme", "featured", "cover", "visibility"}
ENDPOINT = {"max_seconds", "start_within_seconds", "typical_ms", "max_batch", "fields", "hide"}
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,38}")
_HUB = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[\w.-]{1,96}")
_REVISION = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Source:
    """Where the weights come from. Without a `revision` the newest is taken at the installation and pinned then;
    `gated`: the hub gives them only to who accepted their licence."""

    hub: str
    revision: str
    variant: str
    gated: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """One model of the catalogue. `memory_gb` is what its weights and one run take on the device."""

    name: str
    tagline: str
    task: str
    license: str
    lane: str
    source: Source
    memory_gb: float
    manifest: Mapping[str, Any]

    @property
    def recipe(self) -> Mapping[str, Any]:
        recipe: Mapping[str, Any] = self.manifest["recipe"]
        return recipe

    @property
    def pipeline(self) -> str:
        return str(self.recipe["pipeline"])


def names() -> list[str]:
    """What the models of the catalogue are called, sorted."""
    return sorted(path.stem for path in MANIFESTS.glob("*.toml"))


def entries() -> list[Entry]:
    """Every model of the catalogue, by name. Raises InvalidManifest for a broken file."""
    return [entry(name) for name in names()]


def entry(name: str) -> Entry:
    """The model called `name`. Raises InvalidManifest where there is none."""
    path = MANIFESTS / f"{name}.toml"
    if not _NAME.fullmatch(name) or not path.is_file():
        raise InvalidManifest(f"the catalogue has no {name!r}; `catalog list` shows what it has")
    return read(path)


def read(path: Path) -> Entry:
    """The manifest in a file. Raises InvalidManifest, naming the place."""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidManifest(f"{path.name}: {error}") from None
    missing = [key for key in REQUIRED if key not in found]
    strange = sorted({*found} - KNOWN) + sorted(
        f"endpoint.{key}" for key in {*found.get("endpoint", ())} - ENDPOINT
    )
    if missing or strange:
        said = [f"missing {', '.join(missing)}"] * bool(missing) + [f"unknown {', '.join(strange)}"] * bool(
            strange
        )
        raise InvalidManifest(f"{path.name}: {'; '.join(said)}")
    if found["name"] != path.stem or not _NAME.fullmatch(found["name"]):
        raise InvalidManifest(f"{path.name}: its name is not that of its file")
    for key in ("family", "weights", "pipeline", "dtype"):
        if not isinstance(found["recipe"].get(key), str):
            raise InvalidManifest(f"{path.name}: recipe.{key} is missing")
    memory = found["needs"].get("memory_gb")
    if isinstance(memory, bool) or not isinstance(memory, int | float) or memory <= 0:
        raise InvalidManifest(f"{path.name}: needs.memory_gb is a number of gigabytes")
    return Entry(
        name=found["name"],
        tagline=found["tagline"],
        task=found["task"],
        license=found["license"],
        lane=found["lane"],
        source=_source(found["source"], path),
        memory_gb=float(memory),
        manifest=found,
    )


def _source(found: Mapping[str, Any], path: Path) -> Source:
    hub, revision = found.get("hub"), found.get("revision", "")
    if not isinstance(hub, str) or not _HUB.fullmatch(hub):
        raise InvalidManifest(f"{path.name}: source.hub is OWNER/NAME of a repository")
    if revision and not (isinstance(revision, str) and _REVISION.fullmatch(revision)):
        raise InvalidManifest(
            f"{path.name}: source.revision is a commit of 40 hexadecimal digits, or left out"
        )
    return Source(
        hub=hub,
        revision=revision,
        variant=str(found.get("variant", "")),
        gated=found.get("gated") is True,
    )
