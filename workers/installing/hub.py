"""Weights from a model hub: what a pinned revision holds, and its files, resumed where they broke off and verified.

Only data is taken: safetensors, and the small text files beside them, of the components that the pipeline names.
Whatever the hub calls a file's hash is what the file must have: the sha256 of a large one, git's own of a small one.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from marketplace.catalog import InvalidManifest
from workers.installing.entries import Source

ENDINGS = {
    ".safetensors",
    ".json",
    ".txt",
    ".model",
    ".jinja",
}  # the last: templates of chats, run in a sandbox
CHUNK = 2**20
ATTEMPTS = 5
STALL_SECONDS = 30.0  # without a byte; the hub's client would wait for ever
TOLD_BYTES = 2**28  # of one file, between two lines about it
SPARE_BYTES = 2**30  # that stay free on the disk
INDEX = "model_index.json"
_PARTIAL = ".partial"
_SAFE = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*){0,3}")
_VARIANT = re.compile(r"\.(fp16|fp8|bf16|fp32|non_ema|int8)(?=[.-])")

log = logging.getLogger(__name__)

Say = Callable[[str], None]
Tell = Callable[[int], None]  # how many bytes of a file are there


class Unreachable(InvalidManifest):
    """The weights cannot be fetched from here; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class File:
    """One file of a revision: `sha256` of a large one, `blob` (git's SHA-1) of a small one."""

    name: str
    size: int
    sha256: str
    blob: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """The files of a revision that are needed. `revision` is the commit, resolved if it was not pinned."""

    hub: str
    revision: str
    license: str
    files: tuple[File, ...]

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)


def look_up(source: Source, *, endpoint: str | None = None) -> Wanted:
    """What the hub has of `source`. Raises Unreachable."""
    from huggingface_hub import HfApi

    with _told(source):
        api = HfApi(endpoint=endpoint, library_name="vitrine")
        info = api.model_info(
            source.hub, revision=source.revision or None, files_metadata=True, timeout=STALL_SECONDS
        )
    if not re.fullmatch(r"[0-9a-f]{40}", info.sha or "") or (source.revision and info.sha != source.revision):
        raise Unreachable(
            f"the hub gave the revision {info.sha} of {source.hub} for {source.revision or 'the newest'}"
        )
    found = [
        File(one.rfilename, one.size or 0, one.lfs.sha256 if one.lfs else "", one.blob_id or "")
        for one in info.siblings or ()
    ]
    card = getattr(info, "card_data", None)
    return Wanted(
        hub=source.hub,
        revision=str(info.sha),
        license=str((card or {}).get("license") or ""),
        files=tuple(allowed(found, variant=source.variant)),
    )


def allowed(files: Iterable[File], *, variant: str = "") -> list[File]:
    """Those that are needed: data beside the index, in the folders of components, of one precision.

    Of weights that a folder has as `variant`, that; of the others, those without one.
    """
    data = [
        file
        for file in files
        if _SAFE.fullmatch(file.name) and PurePosixPath(file.name).suffix.lower() in ENDINGS
    ]
    inside = [file for file in data if "/" in file.name]
    folders_with_variant = {
        PurePosixPath(file.name).parent
        for file in inside
        if (found := _VARIANT.search(file.name)) and found[1] == variant
    }

    def is_wanted(file: File) -> bool:
        path = PurePosixPath(file.name)
        found = _VARIANT.search(path.name)
        if not path.name.endswith((".safetensors", ".safetensors.index.json")) and found is None:
            return True
        return (found[1] if found else "") == (variant if path.parent in folders_with_variant else "")

    return [*(file for file in data if file.name == INDEX), *(file for file in inside if is_wanted(file))]


def fetch(wanted: Wanted, folder: Path, *, say: Say, endpoint: str | None = None) -> dict[str, str]:
    """Bring the files of `wanted` into `folder`, what is there already left as it is; their sha256 by name.

    Goes on where an earlier attempt broke off. Raises Unreachable; InvalidManifest for a file that is not the one that
    the hub says it is, which is deleted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    index = next((file for file in wanted.files if file.name == INDEX), None)
    if index is None:
        raise InvalidManifest(f"{wanted.hub} has no {INDEX}: it is no pipeline of diffusers")
    hashes = {INDEX: _bring(index, wanted, folder, lambda there: None, endpoint=endpoint)}
    parts = _components(folder / INDEX)
    files = [file for file in wanted.files if file.name.partition("/")[0] in parts]
    _check_room(files, folder)
    total, done = sum(file.size for file in files), 0
    for file in files:

        def tell(there: int, *, name: str = file.name, before: int = done) -> None:
            say(f"{_gigabytes(before + there)} of {_gigabytes(total)}  {name}")

        tell(0)
        hashes[file.name] = _bring(file, wanted, folder, tell, endpoint=endpoint)
        done += file.size
    say(f"{_gigabytes(done)} of {_gigabytes(total)}  verified")
    return hashes


def _components(index: Path) -> set[str]:
    try:
        found = json.loads(index.read_bytes())
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise InvalidManifest(f"{INDEX} is not valid JSON")
    return {
        name for name, pair in found.items() if isinstance(pair, list) and len(pair) == 2 and None not in pair
    }


def still_to_come(files: Sequence[File], folder: Path) -> int:
    """Bytes of `files` that an earlier attempt has not brought into `folder`."""
    there = sum(
        path.stat().st_size for file in files for path in _either(folder / file.name) if path.is_file()
    )
    return sum(file.size for file in files) - there


def _check_room(files: Sequence[File], folder: Path) -> None:
    needed, free = still_to_come(files, folder), shutil.disk_usage(folder).free
    if needed + SPARE_BYTES > free:
        raise InvalidManifest(
            f"the disk of {folder} has {_gigabytes(free)} free, and {_gigabytes(needed)} are still to come "
            f"(with {_gigabytes(SPARE_BYTES)} to spare): make room, or set WEIGHTS_DIR to a folder with more"
        )


def _either(path: Path) -> tuple[Path, Path]:
    return path, path.with_name(path.name + _PARTIAL)


def _bring(file: File, wanted: Wanted, folder: Path, tell: Tell, *, endpoint: str | None) -> str:
    """One file, whole and verified; its sha256."""
    path, partial = _either(folder / file.name)
    if path.is_file() and path.stat().st_size == file.size:
        found = _digest(path)
        if _is_right(file, found):
            return found[0]
        path.unlink()
    path.parent.mkdir(parents=True, exist_ok=True)
    _download(file, wanted, partial, tell, endpoint=endpoint)
    found = _digest(partial)
    if not _is_right(file, found):
        partial.unlink()
        raise InvalidManifest(
            f"{file.name} is not the file that the hub says it is (sha256 {found[0][:12]}…); it was deleted: try again"
        )
    partial.replace(path)
    return found[0]


def _is_right(file: File, found: tuple[str, str]) -> bool:
    return found[0] == file.sha256 if file.sha256 else bool(file.blob) and found[1] == file.blob


def _digest(path: Path) -> tuple[str, str]:
    """SHA-256 and git's name of a file."""
    whole, blob = hashlib.sha256(), hashlib.sha1(usedforsecurity=False)
    blob.update(f"blob {path.stat().st_size}\0".encode())
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            whole.update(chunk)
            blob.update(chunk)
    return whole.hexdigest(), blob.hexdigest()


def _download(file: File, wanted: Wanted, partial: Path, tell: Tell, *, endpoint: str | None) -> None:
    """Bring the rest of a file; a connection that breaks while something comes is made again."""
    source = Source(wanted.hub, wanted.revision, "", gated=False)
    if partial.is_file() and partial.stat().st_size > file.size:
        partial.unlink()
    for _ in range(ATTEMPTS):
        before = partial.stat().st_size if partial.is_file() else 0
        if before == file.size and partial.is_file():
            return
        with _told(source):
            _take_rest(file, wanted, partial, before, tell, endpoint=endpoint)
        if partial.stat().st_size in {before, file.size}:
            break
    if partial.stat().st_size < file.size:
        raise Unreachable(
            f"{file.name} broke off after {_gigabytes(partial.stat().st_size)}; run it again to go on"
        )


def _take_rest(
    file: File, wanted: Wanted, partial: Path, at: int, tell: Tell, *, endpoint: str | None
) -> None:
    from huggingface_hub import get_session, hf_hub_url
    from huggingface_hub.utils._headers import build_hf_headers
    from huggingface_hub.utils._http import hf_raise_for_status

    url = hf_hub_url(wanted.hub, file.name, revision=wanted.revision, endpoint=endpoint)
    headers = build_hf_headers(library_name="vitrine") | {"Accept-Encoding": "identity"}
    headers |= {"Range": f"bytes={at}-"} if at else {}
    with get_session().stream(
        "GET", url, headers=headers, follow_redirects=True, timeout=STALL_SECONDS
    ) as answer:
        if answer.status_code >= 400:
            answer.read()
        hf_raise_for_status(answer)
        is_rest = answer.status_code == 206
        left = told = file.size - (at if is_rest else 0)
        with partial.open("ab" if is_rest else "wb") as stream:
            try:
                # As it comes: a larger piece would be lost with the connection.
                for chunk in answer.iter_bytes():
                    left -= len(chunk)
                    if left < 0:
                        break  # more than was announced: the hash will not fit
                    stream.write(chunk)
                    if told - left >= TOLD_BYTES:
                        told = left
                        tell(file.size - left)
            except OSError:
                raise
            except Exception:
                log.info("%s broke off", file.name)  # what came is kept


class _told:  # noqa: N801 - reads as a statement: with _told(source)
    """Errors of the hub's client as sentences about what to do."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: Any) -> None:
        if error is None or not isinstance(error, Exception) or isinstance(error, InvalidManifest):
            return
        raise Unreachable(_sentence(error, self._source)) from error


def _sentence(error: Exception, source: Source) -> str:
    from huggingface_hub import errors, get_token

    hub, has_token, by_hand = source.hub, bool(get_token()), "or bring the folder by hand with --from FOLDER"
    code = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.OfflineModeIsEnabled):
        return f"no hub is asked while HF_HUB_OFFLINE is set: unset it and run it again, {by_hand}"
    if isinstance(error, errors.GatedRepoError):
        way = "with the account of HF_TOKEN" if has_token else "and set HF_TOKEN to a token of that account"
        return f"{hub} is gated: accept its licence on its page there {way}, run it again, {by_hand}"
    if isinstance(error, errors.DisabledRepoError):
        return f"the hub has closed {hub}: take another source, {by_hand}"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{hub} has no revision {source.revision}: pin another in the manifest, {by_hand}"
    if isinstance(error, errors.EntryNotFoundError):
        return f"{hub} has lost a file that it names: pin another revision in the manifest, {by_hand}"
    if (
        isinstance(error, errors.RepositoryNotFoundError)
        or code == 404
        or (code in {401, 403} and not has_token)
    ):
        whom = (
            "the account of HF_TOKEN: use another token"
            if has_token
            else "everybody: set HF_TOKEN if it is private"
        )
        return f"{hub} is not there, or not for {whom}, {by_hand}"
    if code == 401:
        return (
            f"the hub does not know the token in HF_TOKEN: make a new one there and run it again, {by_hand}"
        )
    if code == 403:
        return f"the token in HF_TOKEN may not read {hub}: allow it that on its page there and run it again, {by_hand}"
    if code == 429:
        return f"the hub wants fewer requests (status 429): run it again in some minutes, {by_hand}"
    if isinstance(code, int) and code >= 500:
        return f"the hub itself failed (status {code}): run it again later, {by_hand}"
    if isinstance(error, OSError) and error.errno is not None and code is None:
        return f"the disk refused what came from {hub}: {error.strerror}"
    return (
        f"{hub} cannot be reached from here ({type(error).__name__}{f', status {code}' if code else ''}): "
        f"check the network or HF_ENDPOINT and run it again, {by_hand}"
    )


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 10**7 else f"{size / 1e3:.0f} kB"
