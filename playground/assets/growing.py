"""Uploads whose address is given out before anything has come, and whose size nobody announces.

Room in the quota is taken before anything is received: the `size` of an upload is what has come of it and what is on
its way. What does not come gives its room back. A place is a capability: whoever has it may put the file, or its
parts, without any other credential. What has become of the upload is read at its address, which others know before.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import F, Sum
from django.db.models.functions import Greatest
from django.utils import timezone

from marketplace.ids import parse
from marketplace.models import User, Workspace
from playground.assets.address import upload_address
from playground.assets.arrivals import Arrival
from playground.assets.intake import storage_path
from playground.assets.purge import PARTS_FOLDER, discard_later
from playground.assets.uploads import (
    LIFETIME,
    NotFound,
    QuotaReached,
    TooLarge,
    TooManyUploads,
    WrongPart,
    check_quota,
    check_room,
    clean_filename,
    declared_type,
    lifetime_of,
    lock_quota,
)
from playground.examiner import Refusal
from playground.models import Upload, UploadPart

MAX_WAITING = 500  # addresses of a workspace to which nothing has come yet
MAX_PARTS = 600  # what names them all fits into a small body


def begin(
    workspace: Workspace,
    *,
    by: User | None,
    media_type: str = "",
    filename: str = "",
    lifetime: int | None = None,
) -> Upload:
    """An upload with an address, to which nothing has come. Raises Refusal for a type that is not taken,
    TooManyUploads."""
    declared = declared_type(media_type)
    waiting = Upload.objects.of(workspace).unfinished().filter(size=0)
    if waiting.count() >= MAX_WAITING:
        raise TooManyUploads(f"{MAX_WAITING} uploads of this workspace wait for their files.")
    return Upload.objects.create(
        workspace=workspace,
        created_by=by,
        filename=clean_filename(filename),
        media_type=declared[:100],
        size=0,
        is_growing=True,
        lifetime=lifetime,
        expires_at=timezone.now() + LIFETIME,
    )


def address(upload: Upload) -> str:
    """The address of what it becomes, for as long as that is kept."""
    seconds = (
        LIFETIME + lifetime_of(upload) if upload.asset_id is None else upload.expires_at - timezone.now()
    )
    path = upload_address(upload, lifetime_seconds=max(1, round(seconds / timedelta(seconds=1))))
    return settings.PUBLIC_URL + path


def find(public_id: UUID | str | None, *, workspace: Workspace | None = None) -> Upload:
    """A growing upload, of the workspace where one is given. Raises NotFound."""
    named = parse(public_id, "u") if isinstance(public_id, str) else public_id
    row = None
    if named is not None:
        found = Upload.objects.live().filter(is_growing=True, public_id=named)
        found = found.of(workspace) if workspace is not None else found
        row = found.select_related("workspace", "asset__prediction").first()
    if row is None or row.workspace.is_closed:
        raise NotFound("There is no such upload, or its time is over.")
    return row


def take_room(upload: Upload, size: int, *, part: int | None = None) -> int:
    """Take room for `size` bytes of the file, which then is no larger, or for a part of it, before it is received.

    Returns the bytes that were taken: those that come in the place of an earlier part have their room. They are given
    back with `release` if the file does not come. Raises Refusal for nothing at all, TooLarge, WrongPart, QuotaReached,
    TooManyUploads.
    """
    if size <= 0:
        raise Refusal("empty", "the file is empty")
    if part is not None and not 1 <= part <= MAX_PARTS:
        raise WrongPart(f"Parts have numbers from 1 to {MAX_PARTS:,}.")
    if size > settings.MAX_UPLOAD_BYTES:
        raise TooLarge(settings.MAX_UPLOAD_BYTES)
    row = Upload.objects.filter(pk=upload.pk, asset=None)
    with transaction.atomic():
        lock_quota(upload.workspace)
        taken = max(0, size - (_replaced(upload, size, part) if part is not None else 0))
        if row.filter(size=0).exists():
            check_room(upload.workspace, taken)
        elif taken:
            check_quota(upload.workspace, taken)
        row.update(size=F("size") + taken)
    if part is None:
        upload.size = size  # what comes is compared with it
    return taken


def release(upload: Upload, taken: int) -> None:
    """Give back the room of what was to come and has not; what has come all the same keeps its own."""
    with transaction.atomic():
        if Upload.objects.select_for_update().filter(pk=upload.pk, asset=None).exists():
            _change_size(upload, -taken)


def _change_size(upload: Upload, by: int) -> None:
    """With its row locked. An upload has never less room than its parts take: one may be kept at the very moment that
    its client is given up."""
    there = upload.parts.aggregate(total=Sum("size", default=0))["total"]
    Upload.objects.filter(pk=upload.pk).update(size=Greatest(F("size") + by, there))


def _replaced(upload: Upload, size: int, number: int) -> int:
    """The bytes of the part that comes again, 0 if it is new. Raises TooLarge where the file is, with this part."""
    sizes = dict(upload.parts.values_list("number", "size"))
    before = sizes.get(number, 0)
    if sum(sizes.values()) - before + size > settings.MAX_UPLOAD_BYTES:
        raise TooLarge(settings.MAX_UPLOAD_BYTES)
    return before


def add_part(upload: Upload, number: int, arrival: Arrival, *, taken: int) -> str:
    """Keep a part that has come whole, instead of one that came before; returns its sha256.

    `taken` is the room that it has from `take_room`. Raises NotFound, TooLarge, and QuotaReached where the part that it
    replaces has shrunk meanwhile; nothing is given back then.
    """
    name = arrival.move(storage_path(PARTS_FOLDER))
    trouble: Exception | None = None
    with transaction.atomic():
        lock_quota(upload.workspace)
        row = Upload.objects.select_for_update().filter(pk=upload.pk, asset=None).first()
        try:
            if row is None:
                raise NotFound("The upload is complete, or was deleted.")
            grown = arrival.size - _replaced(upload, arrival.size, number) - taken
            if grown > 0:
                check_quota(upload.workspace, grown)
        except (NotFound, TooLarge, QuotaReached) as error:  # told after the commit that has the file removed
            discard_later([name])
            trouble = error
        else:
            discard_later(upload.parts.filter(number=number).values_list("storage_name", flat=True))
            values = {"size": arrival.size, "sha256": arrival.sha256, "storage_name": name}
            UploadPart.objects.update_or_create(upload=upload, number=number, defaults=values)
            _change_size(upload, grown)
    if trouble is not None:
        raise trouble
    return arrival.sha256


def parts_of(upload: Upload, wanted: Mapping[int, str]) -> tuple[int, ...]:
    """The numbers of the parts that the file is made of, in order, where `wanted` has the sha256 of each.

    Raises WrongPart for one that is not there or is another. The upload is then as large as they are together.
    """
    there = {part.number: part for part in upload.parts.all()}
    if not wanted:
        raise WrongPart("Name the parts that the file is made of.")
    for number, sha256 in wanted.items():
        if number not in there:
            raise WrongPart(f"There is no part {number}.")
        if there[number].sha256 != sha256:
            raise WrongPart(f"Part {number} is another than the one with this etag; it came again since.")
    upload.size = sum(there[number].size for number in wanted)
    return tuple(sorted(wanted))
