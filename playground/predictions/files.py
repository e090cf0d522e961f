"""The files of an input: made assets of the workspace when the run is taken in, read when a worker takes it.

An asset's id stays as it is, one of our media addresses becomes its id, and a file that is sent whole is examined and
becomes an asset. The address of somebody else's server stays until `fetching` has fetched it; the run waits for that.
"""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import DateTimeField, Q, Value
from django.db.models.functions import Greatest

from marketplace import outbound, schema
from marketplace.ids import parse
from marketplace.models import ApiKey, User, Workspace
from playground import assets, examiner
from playground.assets import uploads
from playground.models import Asset, Prediction
from playground.predictions import adapters
from playground.predictions.lineage import note_sources

log = logging.getLogger(__name__)

FETCH_LANE = (
    "(inputs)"  # where a run waits for its files; no engine serves it, and no real lane has such a name
)
MAX_BYTES = 64 * 2**20  # of one file of an input: a worker gets it in its job, in memory
MAX_NEW = 16  # files of one run that are not assets yet
EXAMINE_WAIT_SECONDS = 3.0  # a request waits no longer for its turn
_OURS = re.compile(r"(?:https?://[^/?#]+)?/media/([A-Za-z0-9_-]+)/", re.IGNORECASE)
_MISSING = "is no file of this workspace, or it has expired"


@dataclass(frozen=True, slots=True)
class Taken:
    """An input whose files are assets, but for those at addresses: `is_complete` says that there are none."""

    values: dict[str, Any]
    sources: list[Asset]
    is_complete: bool


def take_files(
    workspace: Workspace,
    by: User | None,
    described: schema.Schema,
    cleaned: Mapping[str, Any],
    *,
    key: ApiKey | None = None,
) -> Taken:
    """Raises InvalidInput for each file that is not the workspace's own, has expired, is of another type or cannot be
    used; examiner.Busy; uploads.QuotaReached.

    To a publishable `key`, of the stored files only what came out of its own runs is there.
    """
    errors: list[schema.FieldError] = []
    sources: list[Asset] = []
    strange = new = 0

    def take(path: str, value: str, types: tuple[str, ...]) -> str:
        nonlocal strange, new
        is_data = value.startswith("data:")
        if is_data or (is_address(value) and _OURS.match(value) is None):
            new += 1
            if new > MAX_NEW:
                errors.append(
                    schema.FieldError(path, "too_many", f"a run takes at most {MAX_NEW} new files", MAX_NEW)
                )
                return value
        try:
            if is_address(value) and _OURS.match(value) is None:
                outbound.check(value)
                strange += 1
                return value
            asset = _sent(workspace, by, value) if is_data else _known(workspace.pk, value, key)
        except outbound.Failed as error:
            errors.append(schema.FieldError(path, "file", f"cannot be fetched: {error}"))
            return value
        except examiner.Refusal as error:
            errors.append(schema.FieldError(path, "file", f"cannot be used: {error}"))
            return value
        trouble = trouble_of(asset, types)
        if trouble is not None:
            errors.append(schema.FieldError(path, *trouble, list(types) if asset else None))
            return value
        assert asset is not None
        sources.append(asset)
        return asset.uid

    values = schema.replace_files(described, cleaned, take)
    if not errors and (twice := adapters.repeated(workspace.pk, described, values)) is not None:
        errors.append(schema.FieldError(twice, "repeated", "is the same file as one above it"))
    if errors:
        raise schema.InvalidInput(errors)
    return Taken(values, sources, is_complete=not strange)


def is_address(value: str) -> bool:
    """Whether a file is at an address, ours or another."""
    return value[:8].lower().startswith(("http://", "https://", "/media/"))


def trouble_of(asset: Asset | None, types: tuple[str, ...]) -> tuple[str, str] | None:
    """What is wrong with an asset as the value of a field: a code and a sentence."""
    if asset is None:
        return "not_found", _MISSING
    if not schema.takes(types, asset.media_type):
        return "media_type", f"must be {' or '.join(types)}, not {asset.media_type}"
    if asset.size > most_bytes(types):
        return "too_large", f"has more than the {most_bytes(types) >> 20} MiB that a run takes"
    return None


def most_bytes(types: Sequence[str]) -> int:
    """How large a file may be in a field of these types."""
    return adapters.MAX_BYTES if schema.ADAPTER_TYPE in types else MAX_BYTES


def pin(row: Prediction, sources: Sequence[Asset]) -> None:
    """Keep the files of a run, in its transaction, until it is over and for as long after as an upload is kept.

    Raises InvalidInput if one was deleted in the meantime.
    """
    if not sources:
        return
    until = row.start_by + timedelta(seconds=row.endpoint.max_seconds, days=settings.UPLOAD_DAYS)
    ids = {asset.pk for asset in sources}
    kept = Greatest("expires_at", Value(until, output_field=DateTimeField()))
    if Asset.objects.filter(pk__in=ids, deletion=None).update(expires_at=kept) < len(ids):
        raise schema.InvalidInput(
            [schema.FieldError("input", "not_found", "names a file that was just deleted")]
        )
    note_sources(row)


def own_file(workspace: Workspace, uid: str) -> Asset | None:
    """A stored file of the workspace that is still there."""
    return _known(workspace.pk, uid)


def with_files(row: Prediction) -> dict[str, Any]:
    """The input of a run with the bytes of its files, as `data:` addresses: what a worker gets needs no storage.

    Its adapters are no part of it; they are told apart.
    A file that was deleted since the run was taken in is still given, as long as it is there. One that is gone stays an
    id, which no model takes.
    """

    def fill(path: str, value: str, types: tuple[str, ...]) -> str:
        public_id = parse(value, "a") if not value.startswith("data:") else None
        asset = (
            Asset.objects.filter(workspace_id=row.workspace_id, public_id=public_id).first()
            if public_id
            else None
        )
        if asset is None:
            return value
        try:
            data = assets.read(asset)
        except OSError as error:
            log.warning("%s: the file %s cannot be read: %s", row, value, error)
            return value
        return f"data:{asset.media_type};base64,{base64.b64encode(data).decode()}"

    described = row.endpoint.input_schema
    apart = schema.adapter_field(described)
    values = {name: value for name, value in row.input.items() if name != apart}
    return schema.replace_files(described, values, fill)


def _known(workspace_id: int, value: str, key: ApiKey | None = None) -> Asset | None:
    """The workspace's own asset that an id or one of our addresses names."""
    ours = _OURS.match(value)
    if ours is not None:
        allowed = assets.open_address(ours[1])
        named = allowed.names if allowed is not None else None
    else:
        public_id = parse(value, "a")
        named = Q(public_id=public_id) if public_id is not None else None
    if named is None:
        return None
    found = Asset.objects.live().filter(named, workspace_id=workspace_id)
    if key is not None and key.is_publishable:
        found = found.filter(prediction__api_key=key)
    return found.first()


def _sent(workspace: Workspace, by: User | None, value: str) -> Asset:
    """The asset of a `data:` address. Raises examiner.Refusal, examiner.Busy, uploads.QuotaReached."""
    head, _, text = value.partition(",")
    with assets.Arrival() as arrival:
        arrival.write(base64.b64decode(text))
        declared = head.removeprefix("data:").removesuffix(";base64")
        return made(workspace, by, arrival, declared=declared, wait_seconds=EXAMINE_WAIT_SECONDS, reuse=True)


def made(
    workspace: Workspace,
    by: User | None,
    arrival: assets.Arrival,
    *,
    declared: str = "",
    filename: str = "",
    lifetime: int | None = None,
    wait_seconds: float,
    reuse: bool = False,
) -> Asset:
    """The workspace's asset of a file that has come, or with `reuse` one that it has of the same bytes.

    Raises as `uploads.announce` and `examiner.examine` do.
    """
    place = uploads.announce(
        workspace, by=by, size=arrival.size, media_type=declared, filename=filename, lifetime=lifetime
    )
    try:
        found = examiner.examine(arrival.file, wait_seconds=wait_seconds)
        asset, _ = uploads.finish(place, arrival, found, reuse=reuse)
    except BaseException:
        uploads.abandon(place)
        raise
    return asset
