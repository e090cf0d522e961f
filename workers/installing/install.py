"""From a manifest of the catalogue to a version on the shelf: drawn, checked against the machine, hashed, published."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from marketplace import catalog, schema
from marketplace.catalog import InvalidManifest
from workers.engine import EngineError, Recipe
from workers.installing.entries import Entry
from workers.installing.hub import ENDINGS, INDEX, Say, Wanted, fetch, look_up, still_to_come

GIGABYTE = 10**9
NAMED_BY = 12  # characters of a revision, or of a hash, that a folder of weights is called by


@dataclass(frozen=True, slots=True)
class Missing:
    """Something that a model needs and this machine has not. `is_fatal`: it cannot be installed here at all."""

    what: str
    is_fatal: bool


def complete(entry: Entry) -> dict[str, Any]:
    """The whole manifest of `entry`, its form drawn from its pipeline's class. Imports torch.

    Raises InvalidManifest.
    """
    from workers.engine.families.diffusers.drawing import draw

    described = dict(entry.manifest["endpoint"])
    fields, hide = described.pop("fields", {}), described.pop("hide", [])
    try:
        drawn = draw(entry.pipeline, defaults=entry.recipe.get("defaults"), fields=fields, hide=hide)
        schema.check(drawn.input)
    except (EngineError, schema.InvalidSchema) as error:
        raise InvalidManifest(f"{entry.name}: {error}") from None
    endpoint = {
        "input": drawn.input,
        "output": drawn.output,
        "granularity": drawn.granularity,
        "max_batch": drawn.max_batch,
        "batch_on": drawn.batch_on,
        **described,
    }
    manifest = {key: value for key, value in entry.manifest.items() if key not in ("source", "needs")}
    manifest |= {
        "endpoint": endpoint,
        "recipe": dict(entry.recipe),
        "readme": entry.manifest.get("readme", ""),
    }
    manifest["source"] = {"hub": entry.source.hub, "revision": entry.source.revision}
    catalog.prices_of(manifest)
    return manifest


def check(entry: Entry, *, weights_dir: Path, wanted: Wanted | None = None) -> list[Missing]:
    """What this machine lacks for `entry`; room on its disk too where it is known what is `wanted`."""
    found = []
    device, name = _memory()
    needed = entry.memory_gb * GIGABYTE
    if entry.lane == "gpu" and name != "GPU":
        found.append(
            Missing(
                f"a GPU with about {entry.memory_gb:g} GB: this machine has none, so an engine of its lane has to run "
                "on another",
                is_fatal=False,
            )
        )
    elif needed > device:
        have = f"{device / GIGABYTE:.0f} GB"
        found.append(
            Missing(f"{entry.memory_gb:g} GB of {name} memory: this machine has {have}", is_fatal=False)
        )
    if wanted is not None:
        folder = folder_of(entry, wanted, weights_dir=weights_dir)
        existing = next(path for path in (folder, *folder.parents) if path.is_dir())
        size, free = still_to_come(wanted.files, folder), shutil.disk_usage(existing).free
        if size > free:
            what = f"{size / GIGABYTE:.1f} GB more on the disk of {existing}, which has {free / GIGABYTE:.1f} GB free"
            found.append(Missing(what, is_fatal=True))
    packages = entry.manifest["needs"].get("packages", ())
    absent = [package for package in packages if importlib.util.find_spec(package) is None]
    found += [Missing(f"the Python package {package}: install it", is_fatal=True) for package in absent]
    return found


def _memory() -> tuple[int, str]:
    """The bytes of the device that engines here would use, and what it is called."""
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.get_device_properties(0).total_memory), "GPU"
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), "main"


def check_given(folder: Path) -> None:
    """Raises InvalidManifest for a folder that is not there, or holds no pipeline."""
    if not folder.is_dir():
        raise InvalidManifest(f"there is no folder {folder}")
    if not (folder / INDEX).is_file():
        raise InvalidManifest(f"{folder} is no folder of a pipeline: it has no {INDEX}")


def folder_of(entry: Entry, wanted: Wanted, *, weights_dir: Path) -> Path:
    """Where the files of a revision go: each has a folder of its own."""
    return weights_dir / str(entry.recipe["weights"]) / wanted.revision[:NAMED_BY]


def bring(
    entry: Entry,
    *,
    weights_dir: Path,
    say: Say,
    given: Path | None = None,
    endpoint: str | None = None,
) -> dict[str, Any]:
    """The manifest of `entry`, ready to publish: its weights in place, checked, and their hashes in the recipe.

    The weights come from the folder `given`, or else from the hub. Each revision has a folder of its own, so that the
    versions published before keep theirs. Raises InvalidManifest.
    """
    from workers.engine.families.diffusers.opening import check_files  # with torch

    manifest = complete(entry)
    name = entry.recipe["weights"]
    if given is not None:
        check_given(given)
        hashes = catalog.hashes(given)
        name = f"{name}/{_digest(hashes)}"
        folder = weights_dir / name
        _take_over(given, folder, say=say)
        hashes = {file: digest for file, digest in hashes.items() if (folder / file).is_file()}
        revision = entry.source.revision or "unknown: the folder was brought by hand"
    else:
        wanted = look_up(entry.source, endpoint=endpoint)
        say(f"{wanted.hub} at {wanted.revision}, licence there: {wanted.license or 'not said'}")
        for missing in check(entry, weights_dir=weights_dir):  # of the disk, fetching knows exactly
            if missing.is_fatal:
                raise InvalidManifest(f"{entry.name} needs {missing.what}")
            say(f"note: it needs {missing.what}")
        folder = folder_of(entry, wanted, weights_dir=weights_dir)
        name = folder.relative_to(weights_dir).as_posix()
        hashes = fetch(wanted, folder, say=say, endpoint=endpoint)
        revision = wanted.revision
    recipe = {key: value for key, value in manifest["recipe"].items() if key != "hashes"} | {"weights": name}
    try:
        check_files(cast("Recipe", recipe), folder.resolve())
    except EngineError as error:
        raise InvalidManifest(f"{entry.name}: {error.sentence}") from None
    manifest["recipe"] = {**recipe, "hashes": dict(sorted(hashes.items()))}
    manifest["source"] = {"hub": entry.source.hub, "revision": revision}
    return manifest


def is_of(entry: Entry, manifest: Mapping[str, Any], *, weights_dir: Path) -> bool:
    """Whether a published `manifest` is one that `bring` made of `entry`, whatever it is called and by whom, and its
    weights are here."""
    source, recipe = manifest.get("source"), manifest.get("recipe", {})
    if not isinstance(source, Mapping) or source.get("hub") != entry.source.hub or not recipe.get("hashes"):
        return False
    weights_name = str(recipe.get("weights", ""))
    return (
        all(recipe.get(key) == entry.recipe.get(key) for key in ("family", "pipeline"))
        and weights_name.rpartition("/")[0] == entry.recipe["weights"]
        and (weights_dir / weights_name / INDEX).is_file()
    )


def _digest(hashes: Mapping[str, str]) -> str:
    """What a folder that was brought by hand is called by: its content, as it says no revision."""
    lines = "".join(f"{digest} {name}\n" for name, digest in sorted(hashes.items()))
    return hashlib.sha256(lines.encode()).hexdigest()[:NAMED_BY]


def _take_over(given: Path, folder: Path, *, say: Say) -> None:
    """The data of `given` in `folder`; where both lie on one disk, without a second copy."""
    if given.resolve() == folder.resolve():
        return
    for file in sorted(given.rglob("*")):
        name = file.relative_to(given)
        if (
            not file.is_file()
            or file.suffix.lower() not in ENDINGS
            or any(p.startswith(".") for p in name.parts)
        ):
            continue
        target = folder / name
        if target.is_file() and target.stat().st_size == file.stat().st_size and target.samefile(file):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        try:
            os.link(file.resolve(), target)
        except OSError:
            shutil.copyfile(file, target)
        say(f"took over {name}")
