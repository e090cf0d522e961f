"""Pictures of their own that publishers show as covers: uploads, which do not expire for as long as a model shows them.

They come in as all files of strangers do: examined in a process of its own, within the workspace's quota.
"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from marketplace.ids import parse
from marketplace.models import Listing, User, Workspace
from playground import assets, examiner
from playground.assets import uploads
from playground.models import Asset
from playground.predictions.examples import FOREVER, covers_of, files_of_examples
from playground.predictions.files import EXAMINE_WAIT_SECONDS

TYPES = ("image/png", "image/jpeg", "image/webp")
MAX_BYTES = 8 * 2**20


def take(
    workspace: Workspace, by: User | None, arrival: assets.Arrival, *, declared: str = "", filename: str = ""
) -> Asset:
    """The workspace's asset of a picture that has come, which no model shows yet.

    Raises Refusal for what is no whole PNG, JPEG or WebP, and TooLarge, QuotaReached, TooManyUploads, Busy.
    """
    if arrival.size > MAX_BYTES:
        raise uploads.TooLarge(MAX_BYTES)
    place = uploads.announce(workspace, by=by, size=arrival.size, media_type=declared, filename=filename)
    try:
        found = examiner.examine(arrival.file, wait_seconds=EXAMINE_WAIT_SECONDS)
        if found.media_type not in TYPES:
            raise examiner.Refusal("unsupported", "a cover is a PNG, JPEG or WebP picture")
        asset, _ = uploads.finish(place, arrival, found)
    except BaseException:
        uploads.abandon(place)
        raise
    return asset


def is_own(workspace: Workspace, cover: str) -> bool:
    """Whether this names a picture that the workspace has uploaded, and still has."""
    number = parse(cover, "a") if assets.is_picture(cover) else None
    rows = Asset.objects.live().filter(workspace=workspace, kind=Asset.Kind.UPLOAD, media_type__in=TYPES)
    return number is not None and rows.filter(public_id=number).exists()


def note_change(listing: Listing, former: str) -> None:
    """Keep the upload that is the cover now, and let the former one expire if nothing else shows it. In the transaction
    that changed it."""
    workspace_id = listing.publisher.workspace_id
    rows = Asset.objects.filter(workspace_id=workspace_id, kind=Asset.Kind.UPLOAD)
    shown, number = _number(listing.cover), _number(former)
    if shown is not None:
        rows.filter(public_id=shown).update(expires_at=FOREVER)
    if number is None or number in covers_of(workspace_id) or number in files_of_examples(workspace_id):
        return
    until = timezone.now() + timedelta(days=settings.UPLOAD_DAYS)
    rows.filter(public_id=number, expires_at=FOREVER).update(expires_at=until)


def let_go() -> int:
    """Let uploads expire that were kept as covers, or for examples, and that nothing shows any more: a manifest that is
    published again may name another cover. Returns how many."""
    rows = Asset.objects.filter(kind=Asset.Kind.UPLOAD, expires_at=FOREVER)
    return sum(_let_go(workspace_id) for workspace_id in rows.values_list("workspace", flat=True).distinct())


def _let_go(workspace_id: int) -> int:
    until = timezone.now() + timedelta(days=settings.UPLOAD_DAYS)
    rows = Asset.objects.filter(workspace_id=workspace_id, kind=Asset.Kind.UPLOAD, expires_at=FOREVER)
    with transaction.atomic():
        # Whoever chooses a cover or pins an example changes or locks the listing first.
        shelf = Listing.objects.select_for_update(no_key=True).filter(publisher__workspace=workspace_id)
        list(shelf.order_by("pk").values_list("pk"))
        shown = covers_of(workspace_id) | files_of_examples(workspace_id)
        return rows.exclude(public_id__in=shown).update(expires_at=until)


def _number(cover: str) -> UUID | None:
    return parse(cover, "a") if assets.is_picture(cover) else None
