"""A weights folder, before anything in it is opened: where it is, that it is only data, that it is the right data.

Hides the distrust: no pickles, no code, no links out of the folder, no hub, hashes when the recipe names them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from workers.engine.contract import EngineError, Recipe

SHIPPED = Path(__file__).resolve().parent.parent / "weights"

_UNSAFE = {
    ".bin", ".ckpt", ".pt", ".pth", ".pkl", ".pickle", ".joblib", ".npy", ".npz", ".h5", ".msgpack", ".onnx",
    ".py", ".pyc", ".so", ".dll", ".sh", ".exe", ".zip", ".tar", ".gz",
}  # fmt: skip
_LIBRARIES = {"diffusers", "transformers"}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*){0,3}")
_LARGEST_JSON_BYTES = 64 * 1024 * 1024
_LARGEST_HEADER_BYTES = 100 * 1024 * 1024


def _refuse(sentence: str) -> EngineError:
    return EngineError(sentence, code="bad_weights")


def locate(recipe: Recipe, *, root: Path) -> Path:
    """The folder of `recipe`: an absolute path as it is, a name under `root`. Raises EngineError."""
    name = recipe.get("weights", "")
    folder = Path(name) if name.startswith("/") else root / name
    if not name.startswith("/") and not _NAME.fullmatch(name):
        raise _refuse(f"“{name}” is no name of a weights folder; use letters, digits, dots and dashes.")
    if not folder.is_dir():
        raise _refuse("The weights of this model are not on this machine.")
    return folder.resolve()


def measure(folder: Path, *, item_bytes: int) -> int:
    """Bytes that the tensors in `folder` take with `item_bytes` for each number: what opening it will hold.

    Raises EngineError.
    """
    with _reading():
        folders = {file.parent for file in folder.rglob("*.safetensors")}
        return sum(math.prod(shape) * item_bytes for one in folders for shape in tensors(one).values())


def tensors(folder: Path) -> dict[str, list[int]]:
    """Name and shape of every tensor in the safetensors files right under `folder`, read from their headers.

    Raises EngineError.
    """
    found: dict[str, list[int]] = {}
    for file in sorted(folder.glob("*.safetensors")):
        found |= _header(file)
    return found


def check(recipe: Recipe, folder: Path) -> str:
    """The pipeline class that `folder` declares, once everything in it has been found to be harmless and whole.

    Raises EngineError with a sentence that names the file and what to change.
    """
    with _reading():
        for file in sorted(folder.rglob("*")):
            _check_file(file, folder)
        _check_hashes(folder, recipe.get("hashes") or {})
        index = _read_json(folder / "model_index.json", folder)
    declared = index.get("_class_name")
    if not isinstance(declared, str):
        raise _refuse("model_index.json must name a pipeline class of diffusers in “_class_name”.")
    for component, pair in index.items():
        if not component.startswith("_") and isinstance(pair, list):
            _check_component(component, pair, folder)
    return declared


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    """Around what reads files: a disk that fails is no failure of the engine."""
    try:
        yield
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise _refuse(f"The weights of this model cannot be read on this machine ({why}).") from error


def _check_file(file: Path, folder: Path) -> None:
    name = file.relative_to(folder).as_posix()
    if not file.resolve().is_relative_to(folder):
        raise _refuse(f"{name} points out of the weights folder; put the file itself there.")
    if file.is_dir():
        return
    if file.suffix.lower() in _UNSAFE:
        raise _refuse(
            f"{name} is refused: weights are opened from safetensors files only, and no code is run."
        )
    if file.suffix == ".safetensors":
        _header(file)
    if file.name.endswith("config.json") and "auto_map" in _read_json(file, folder):
        raise _refuse(f"{name} asks for code of its own (“auto_map”); only library classes are opened.")


def _check_component(component: str, pair: list[object], folder: Path) -> None:
    library, name = [*pair, None, None][:2]
    if library is None or name is None:
        return
    if not isinstance(library, str) or not isinstance(name, str):
        raise _refuse(f"model_index.json: “{component}” must be a pair of library and class.")
    # A third kind of library is a pipeline's own module inside diffusers, such as "stable_diffusion".
    if library not in _LIBRARIES and (not library.isidentifier() or (folder / library).exists()):
        raise _refuse(f"model_index.json: “{component}” comes from “{library}”, which is not opened here.")
    if not (folder / component).is_dir():
        raise _refuse(f"The folder of the component “{component}” is missing.")


def _check_hashes(folder: Path, hashes: Mapping[str, str]) -> None:
    for name, expected in hashes.items():
        file = folder / name
        if not file.resolve().is_relative_to(folder) or not file.is_file():
            raise _refuse(f"The weights file {name} is missing on this machine.")
        if _digest(file) != expected.removeprefix("sha256:"):
            raise _refuse(
                f"The weights file {name} on this machine is not the one that this version was made with: this copy is "
                "damaged or another one. Fetch it again."
            )


# Digests of files as they were, by what changes with them. A file that was found to be another one is not read again by
# each run that asks for it, nor are gigabytes that were evicted and come back.
_digests: dict[tuple[str, int, int, int, int, int], str] = {}


def _digest(file: Path) -> str:
    """The sha256 of a file's bytes; of one that did not change since it was read, from memory."""
    path = file.resolve()
    with path.open("rb") as stream:
        was = _standing(path, os.fstat(stream.fileno()))
        known = _digests.get(was)
        if known is None:
            known = hashlib.file_digest(stream, "sha256").hexdigest()
            if _standing(path, os.fstat(stream.fileno())) == was:  # else it was written to meanwhile
                _digests[was] = known
    return known


def _standing(path: Path, told: os.stat_result) -> tuple[str, int, int, int, int, int]:
    # The last moment is one that nobody can set back, as they can the others.
    return str(path), told.st_dev, told.st_ino, told.st_size, told.st_mtime_ns, told.st_ctime_ns


def _read_json(file: Path, folder: Path) -> dict[str, object]:
    name = file.relative_to(folder).as_posix()
    if not file.is_file():
        raise _refuse(f"{name} is missing from the weights folder.")
    if file.stat().st_size > _LARGEST_JSON_BYTES:
        raise _refuse(f"{name} is too large to be a configuration.")
    try:
        content = json.loads(file.read_bytes())
    except (ValueError, RecursionError):
        raise _refuse(f"{name} is not valid JSON.") from None
    if not isinstance(content, dict):
        raise _refuse(f"{name} must hold one JSON object.")
    return content


def _header(file: Path) -> dict[str, list[int]]:
    """The shapes of the tensors in a file, by name, once its header is found to be one and the file to be whole."""
    damaged = _refuse(f"The weights file {file.parent.name}/{file.name} is damaged; fetch it again.")
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or length > min(size - 8, _LARGEST_HEADER_BYTES):
            raise damaged
        try:
            header = json.loads(stream.read(length))
        except (ValueError, RecursionError):
            raise damaged from None
    if not isinstance(header, dict):
        raise damaged
    entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
    if not all(map(_is_tensor, entries.values())):
        raise damaged
    if 8 + length + max((entry["data_offsets"][1] for entry in entries.values()), default=0) != size:
        raise damaged
    return {name: entry["shape"] for name, entry in entries.items()}


def _is_tensor(entry: object) -> bool:
    if not isinstance(entry, dict) or not _are_counts(entry.get("shape")):
        return False
    return _are_counts(entry.get("data_offsets")) and len(entry["data_offsets"]) == 2


def _are_counts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, int) and one >= 0 for one in value)
