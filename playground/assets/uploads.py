"""Files of strangers: announced within a quota, received, examined, and only then assets of their workspace.

Each upload is an asset of its own, with its own name and its own time. The same bytes are stored once in a workspace,
count once in its quota, and go with the last asset that has them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TypedDict

from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import connection, transaction
from django.db.models import F, Sum
from django.db.models.functions import Greatest
from django.urls import reverse
from django.utils import timezone

from marketplace import outbound
from marketplace.ids import parse
from marketplace.models import User, Workspace
from playground import examiner
from playground.assets.arrivals import Arrival
from playground.assets.intake import ROOT_FOLDER, Stored, storage_path
from playground.assets.present import AssetJson
from playground.assets.present import as_json as asset_json
from playground.assets.purge import PARTS_FOLDER, discard_later
from playground.examiner import Found, Refusal
from playground.models import Asset, Upload, UploadPart
from playground.models.asset import AssetQuerySet

PART_BYTES = 8 * 2**20
MAX_UNFINISHED = 32  # of a workspace
LIFETIME = timedelta(days=1)  # of an upload in parts
MOMENT = timedelta(hours=3)  # of one in a single request
LOCK_CLASS = 0x76_75  # "vu": the first half of the lock on a workspace's quota
_SLACK = timedelta(hours=1)  # between the end of an upload's time as it is reckoned and as it is written
_SHA256 = re.compile(r"[0-9a-f]{64}")


class NotFound(LookupError):
    """No such upload that this workspace can see."""


class TooLarge(ValueError):
    """The file is larger than any may be."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(f"A file may have at most {max_bytes:,} bytes.")
        self.max_bytes = max_bytes


class QuotaReached(Exception):
    """The workspace keeps as many bytes of uploads as it may."""

    def __init__(self, used_bytes: int, quota_bytes: int, needed_bytes: int) -> None:
        super().__init__(
            f"The file has {needed_bytes:,} bytes, and {max(0, quota_bytes - used_bytes):,} of {quota_bytes:,} are "
            "left for uploads in this workspace. Delete some, or wait until they expire."
        )
        self.used_bytes, self.quota_bytes, self.needed_bytes = used_bytes, quota_bytes, needed_bytes


class TooManyUploads(Exception):
    """The workspace has as many unfinished uploads as it may."""


class Occupied(Exception):
    """Another file has become what the upload's address leads to."""

    def __init__(self) -> None:
        super().__init__("Another file was put here before. Ask for a new address.")


class Incomplete(Exception):
    """Parts are missing."""

    def __init__(self, missing: list[int]) -> None:
        super().__init__(f"{len(missing)} parts are missing; send them, then complete the upload again.")
        self.missing = missing


class WrongPart(ValueError):
    """The part does not belong to the upload, or has not the size that it must have."""


def announce(
    workspace: Workspace,
    *,
    by: User | None,
    size: int,
    media_type: str = "",
    filename: str = "",
    sha256: str = "",
    in_parts: bool = False,
    lifetime: int | None = None,
) -> Upload:
    """Take a place for a file of `size` bytes, to be kept for `lifetime` seconds, or as long as uploads are.

    Raises Refusal, TooLarge, QuotaReached, TooManyUploads.
    """
    if size <= 0:
        raise Refusal("empty", "the file is empty")
    if size > settings.MAX_UPLOAD_BYTES:
        raise TooLarge(settings.MAX_UPLOAD_BYTES)
    declared = declared_type(media_type)
    with transaction.atomic():
        lock_quota(workspace)
        check_room(workspace, size)
        return Upload.objects.create(
            workspace=workspace,
            created_by=by,
            filename=clean_filename(filename),
            media_type=declared[:100],
            size=size,
            sha256=sha256,
            part_bytes=PART_BYTES if in_parts else 0,
            lifetime=lifetime,
            expires_at=timezone.now() + (LIFETIME if in_parts else MOMENT),
        )


def declared_type(media_type: str) -> str:
    """A declared type by its usual name, empty if it claims nothing. Raises Refusal for one that is not taken."""
    declared = examiner.plain(media_type)
    if declared and not examiner.is_taken(declared):
        raise Refusal(
            "unsupported", f"files of type {declared[:60]} are not taken; what is taken is {examiner.taken()}"
        )
    return declared


def lock_quota(workspace: Workspace) -> None:
    """Let nobody else take room in the workspace's quota until the commit."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [LOCK_CLASS, workspace.pk])


def check_room(workspace: Workspace, size: int) -> None:
    """Whether another upload of `size` bytes may begin. Raises QuotaReached, TooManyUploads."""
    if Upload.objects.of(workspace).unfinished().filter(size__gt=0).count() >= MAX_UNFINISHED:
        raise TooManyUploads(
            f"{MAX_UNFINISHED} uploads of this workspace are unfinished. Complete or delete some."
        )
    check_quota(workspace, size)


def check_quota(workspace: Workspace, size: int) -> None:
    """Whether `size` bytes more may be kept. Raises QuotaReached."""
    used = used_bytes(workspace)
    if used + size > settings.UPLOAD_QUOTA_BYTES:
        raise QuotaReached(used, settings.UPLOAD_QUOTA_BYTES, size)


def used_bytes(workspace: Workspace) -> int:
    """What counts against the workspace's quota: kept uploads, equal ones once, and the places of unfinished ones."""
    kept = Asset.objects.of(workspace).filter(kind=Asset.Kind.UPLOAD)
    stored = kept.values("storage_name", "size").distinct().aggregate(n=Sum("size"))["n"] or 0
    coming = Upload.objects.of(workspace).unfinished().aggregate(n=Sum("size"))["n"] or 0
    return int(stored + coming)


def fetch(url: str, *, seconds: float, max_bytes: int | None = None, accept: Sequence[str] = ()) -> Arrival:
    """The file at an address of somebody's. Raises outbound.Failed."""
    limit = min(settings.MAX_UPLOAD_BYTES, max_bytes or settings.MAX_UPLOAD_BYTES)
    with outbound.get(url, max_bytes=limit, seconds=seconds, accept=accept).file as file:
        arrival = Arrival()
        try:
            arrival.copy(file)
        except BaseException:
            arrival.close()
            raise
    return arrival


def find_upload(workspace: Workspace, upload_id: str) -> Upload:
    """The workspace's own upload. Raises NotFound."""
    public_id = parse(upload_id, "u")
    found = (
        Upload.objects.of(workspace).live().filter(public_id=public_id, part_bytes__gt=0)
        if public_id
        else None
    )
    row = found.select_related("workspace", "asset__prediction").first() if found is not None else None
    if row is None:
        raise NotFound("There is no such upload in this workspace, or its time is over.")
    return row


def abandon(upload: Upload) -> None:
    """Forget an upload, with its parts. A growing one can begin again, as its address was given out."""
    with transaction.atomic():
        row = Upload.objects.filter(pk=upload.pk)
        if not upload.is_growing:
            discard_later(upload.parts.values_list("storage_name", flat=True))
            row.delete()
        elif row.filter(asset=None).select_for_update().exists():
            parts = list(upload.parts.all())
            discard_later(part.storage_name for part in parts)
            upload.parts.filter(pk__in=[part.pk for part in parts]).delete()
            # What is on its way keeps its room.
            row.update(size=Greatest(F("size") - sum(part.size for part in parts), 0))


def part_size(upload: Upload, number: int) -> int:
    """The bytes that a part must have. Raises WrongPart for one that the file has not."""
    if not 1 <= number <= upload.part_count:
        raise WrongPart(f"This upload has parts 1 to {upload.part_count}.")
    return min(upload.part_bytes, upload.size - (number - 1) * upload.part_bytes)


def add_part(upload: Upload, number: int, arrival: Arrival) -> None:
    """Keep a part that has come whole, instead of one that came before. Raises WrongPart, NotFound."""
    wanted = part_size(upload, number)
    if arrival.size != wanted:
        raise WrongPart(f"Part {number} has {wanted:,} bytes, and {arrival.size:,} came.")
    name = arrival.move(storage_path(PARTS_FOLDER))
    with transaction.atomic():
        # Against the end of the upload; a name that is not kept goes with the orphans.
        if not Upload.objects.select_for_update().filter(pk=upload.pk, asset__isnull=True).exists():
            discard_later([name])
            kept = False
        else:
            discard_later(upload.parts.filter(number=number).values_list("storage_name", flat=True))
            values = {"size": arrival.size, "sha256": arrival.sha256, "storage_name": name}
            UploadPart.objects.update_or_create(upload=upload, number=number, defaults=values)
            kept = True
    if not kept:
        raise NotFound("The upload is complete, or was deleted.")


def is_complete(upload: Upload) -> bool:
    """Whether the upload has become an asset by now, and has no parts any more. Raises NotFound if it was deleted."""
    row = Upload.objects.filter(pk=upload.pk).values_list("asset").first()
    if row is None:
        raise NotFound("The upload was deleted.")
    return row[0] is not None


def join(upload: Upload, numbers: Sequence[int] = ()) -> Arrival:
    """The whole file, from all its parts or those with these numbers, in their order. Raises Incomplete."""
    wanted = sorted(numbers) or range(1, upload.part_count + 1)
    parts = {part.number: part for part in upload.parts.all()}
    missing = [number for number in wanted if number not in parts]
    if missing:
        raise Incomplete(missing)
    arrival = Arrival()
    try:
        for number in wanted:
            with default_storage.open(parts[number].storage_name) as file:
                arrival.copy(file)
    except FileNotFoundError:  # a part was replaced or the upload deleted meanwhile
        arrival.close()
        raise Incomplete([number]) from None
    except BaseException:
        arrival.close()
        raise
    return arrival


def finish(upload: Upload, arrival: Arrival, found: Found, *, reuse: bool = False) -> tuple[Asset, bool]:
    """The asset that the file has become, and whether it is new; one that the upload had become before is not.

    With `reuse`, for what nobody uploads by itself, an upload of the same bytes that is kept is as good, and is kept
    longer then. Raises Refusal if the file is not what was announced, Occupied if another file was quicker, NotFound if
    the upload was deleted meanwhile.
    """
    if arrival.size != upload.size:
        raise Refusal("mismatch", f"{upload.size:,} bytes were announced, and {arrival.size:,} came")
    if upload.sha256 and upload.sha256 != arrival.sha256:
        raise Refusal("checksum", "the SHA-256 is not the announced one; upload the file again")
    if not examiner.agree(upload.media_type, found.media_type):
        raise Refusal("mismatch", f"the file was announced as {upload.media_type} and is {found.media_type}")
    if _is_occupied(upload, arrival.sha256):  # before anything is stored for it
        raise Occupied
    until = timezone.now() + lifetime_of(upload)
    stored = None if _twins(upload, arrival.sha256).exists() else _store(arrival, found)
    asset, is_new = None, False
    with transaction.atomic():
        lock_quota(upload.workspace)  # so that of two that come at once the second finds the first
        rows = Upload.objects.select_for_update(of=("self",)).select_related("asset")
        row = rows.filter(pk=upload.pk).first()
        is_occupied = _is_occupied(upload, arrival.sha256)
        if row is not None and not is_occupied:
            asset = row.asset or (_reused(upload, arrival.sha256, until) if reuse else None)
            is_new = asset is None
            asset = asset or _made(upload, arrival, found, stored, until)
            _close(row, asset, until)
        if stored is not None and (asset is None or asset.storage_name != stored.storage_name):
            discard_later([stored.storage_name, stored.thumbnail_name])
    if is_occupied:
        raise Occupied
    if asset is None:
        raise NotFound("The upload was deleted, or its time is over.")
    return asset, is_new


def lifetime_of(upload: Upload) -> timedelta:
    """How long what it becomes is kept: as long as uploads are, or shorter where that was asked for."""
    most = timedelta(days=settings.UPLOAD_DAYS)
    return most if upload.lifetime is None else min(most, timedelta(seconds=upload.lifetime))


def _is_occupied(upload: Upload, sha256: str) -> bool:
    rows = Upload.objects.filter(pk=upload.pk, asset__isnull=False)
    return rows.exclude(asset__sha256=sha256).exists()


def _twins(upload: Upload, sha256: str) -> AssetQuerySet:
    return Asset.objects.filter(workspace_id=upload.workspace_id, sha256=sha256, kind=Asset.Kind.UPLOAD)


def _store(arrival: Arrival, found: Found) -> Stored:
    """Give the bytes to storage, with the small picture of them."""
    name = storage_path(ROOT_FOLDER)
    small = default_storage.save(f"{name}-t.webp", ContentFile(found.thumbnail)) if found.thumbnail else ""
    return Stored(
        storage_name=arrival.move(f"{name}.{examiner.extension_of(found.media_type)}"),
        thumbnail_name=small,
        sha256=arrival.sha256,
        media_type=found.media_type,
        size=arrival.size,
        width=found.width,
        height=found.height,
        duration_ms=found.duration_ms,
        meta=found.meta,
    )


def _made(upload: Upload, arrival: Arrival, found: Found, stored: Stored | None, until: datetime) -> Asset:
    """A new asset, over the bytes of another where there is one: whose row is locked, as bytes go with the last row."""
    twin = _twins(upload, arrival.sha256).select_for_update(no_key=True).order_by("-pk").first()
    lying = twin or stored or _store(arrival, found)
    return Asset.objects.create(
        workspace=upload.workspace,
        kind=Asset.Kind.UPLOAD,
        filename=upload.filename,
        sha256=arrival.sha256,
        media_type=found.media_type,
        size=arrival.size,
        width=found.width,
        height=found.height,
        duration_ms=found.duration_ms,
        meta=found.meta,
        storage_name=lying.storage_name,
        thumbnail_name=lying.thumbnail_name,
        expires_at=until,
    )


def _reused(upload: Upload, sha256: str, until: datetime) -> Asset | None:
    """The workspace's newest upload of these bytes, kept at least `until` then; none that was to go sooner."""
    usual = timedelta(days=settings.UPLOAD_DAYS) - _SLACK
    rows = _twins(upload, sha256).live().filter(expires_at__gte=F("created_at") + usual)
    known = (
        rows.select_for_update(of=("self",), no_key=True).select_related("prediction").order_by("-pk").first()
    )
    if known is not None:
        known.expires_at = max(known.expires_at, until)
        known.filename = known.filename or upload.filename  # it may have come without a name before
        known.save(update_fields=["expires_at", "filename"])
    return known


def _close(row: Upload, asset: Asset, until: datetime) -> None:
    """The upload is complete: nothing of it is left but its address, and the answer for whoever missed it."""
    discard_later(row.parts.values_list("storage_name", flat=True))
    row.parts.all().delete()
    if row.asset_id is not None:
        return
    if row.is_growing:  # its address was given out: it leads to the asset for as long as was said
        Upload.objects.filter(pk=row.pk).update(asset=asset, expires_at=until)
    elif row.part_bytes:
        Upload.objects.filter(pk=row.pk).update(asset=asset)
    else:
        row.delete()


class UploadJson(TypedDict):
    """One upload in `/api/v1`."""

    id: str
    filename: str
    size: int
    content_type: str
    part_size: int
    part_count: int
    parts: list[PartJson]
    asset: AssetJson | None
    created_at: str
    expires_at: str
    urls: dict[str, str]


class PartJson(TypedDict):
    """One part that is there."""

    number: int
    size: int
    sha256: str


def as_json(upload: Upload) -> UploadJson:
    """The API's view of an upload: what there is of it, and where the rest goes."""
    path = settings.PUBLIC_URL + reverse("api-upload", args=[upload.uid])
    parts = upload.parts.order_by("number")
    return {
        "id": upload.uid,
        "filename": upload.filename,
        "size": upload.size,
        "content_type": upload.media_type,
        "part_size": upload.part_bytes,
        "part_count": upload.part_count,
        "parts": [{"number": one.number, "size": one.size, "sha256": one.sha256} for one in parts],
        "asset": asset_json(upload.asset) if upload.asset is not None else None,
        "created_at": upload.created_at.isoformat(),
        "expires_at": upload.expires_at.isoformat(),
        "urls": {"get": path, "part": f"{path}/parts/{{number}}", "complete": f"{path}/complete"},
    }


def clean_filename(given: str) -> str:
    """The last part of a name, of visible characters; it is shown to people and opens nothing."""
    last = given.replace("\\", "/").rpartition("/")[2]
    return "".join(sign for sign in last if sign.isprintable()).strip()[:120]


def is_sha256(text: str) -> bool:
    return _SHA256.fullmatch(text) is not None
