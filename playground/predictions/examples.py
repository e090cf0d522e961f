"""Examples: runs that a publisher pins to its listing. Everybody sees their input and output, for as long as they are.

What is pinned does not expire: its media, the files of its input, and the input itself are kept until it is let go.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Max, QuerySet
from django.utils import timezone

from marketplace import schema
from marketplace.ids import parse
from marketplace.models import Listing, User, Workspace
from playground import assets
from playground.models import Asset, Example, Prediction

FOREVER = datetime(9999, 12, 31, tzinfo=UTC)
MOST = 24
GRACE = timedelta(days=1)  # at least, for what is let go after its time


class CannotPin(Exception):
    """The run cannot be an example; the message says why."""


def may_pin(workspace: Workspace | None, row: Prediction) -> bool:
    """Whether the workspace owns both the run and the listing that it is of. Roles are for the caller to ask."""
    return (
        workspace is not None
        and row.workspace_id == workspace.pk
        and row.version.listing.publisher.workspace_id == workspace.pk
    )


@transaction.atomic
def pin(row: Prediction, *, by: User | None) -> Example:
    """Show a succeeded run of the publisher's own; again changes nothing. Raises CannotPin.

    `row` was selected `with_model`, and `may_pin` said yes.
    """
    shelf = Listing.objects.select_for_update(no_key=True).get(pk=row.version.listing_id)
    known = Example.objects.filter(prediction=row).first()
    if known is not None:
        return known
    if row.status != Prediction.Status.SUCCEEDED:
        raise CannotPin("Only a run that has succeeded can be an example.")
    if not row.input:
        raise CannotPin("The input of this run is no longer kept. Run it again, then pin that.")
    if Example.objects.filter(listing=shelf).count() >= MOST:
        raise CannotPin(f"A model shows {MOST} examples at most. Take another one away first.")
    kept = list(Asset.objects.live().select_for_update().filter(prediction=row))
    if len(kept) < len(_positions(row.output)):
        raise CannotPin("Its media has expired. Run it again, then pin that.")
    Asset.objects.filter(pk__in=[asset.pk for asset in kept]).update(expires_at=FOREVER)
    _files(row).update(expires_at=FOREVER)
    last = Example.objects.filter(listing=shelf).aggregate(last=Max("position"))["last"]
    return Example.objects.create(
        listing=shelf, prediction=row, position=0 if last is None else last + 1, pinned_by=by
    )


@transaction.atomic
def unpin(row: Prediction) -> None:
    """Show it no more: what was kept for it expires as if it had never been pinned, a day from now at the earliest."""
    removed, _ = Example.objects.filter(prediction=row).delete()
    if not removed:
        return
    ended = row.finished_at or timezone.now()
    until = max(ended + timedelta(days=settings.OUTPUT_DAYS), timezone.now() + GRACE)
    Asset.objects.filter(prediction=row, expires_at=FOREVER).update(expires_at=until)
    still = [one.prediction for one in _pinned().filter(listing_id=row.version.listing_id)]
    named = {asset for other in still for asset in _named(other)}
    named |= covers_of(row.workspace_id)
    _files(row).filter(expires_at=FOREVER).exclude(public_id__in=named).update(expires_at=until)


@transaction.atomic
def move(row: Prediction, *, by: int) -> None:
    """Move an example `by` places; beyond the ends it stays at the end."""
    shelf = Listing.objects.select_for_update(no_key=True).get(pk=row.version.listing_id)
    order = list(Example.objects.filter(listing=shelf).order_by("position", "pk"))
    at = next((place for place, one in enumerate(order) if one.prediction_id == row.pk), None)
    if at is None:
        return
    order.insert(min(max(at + by, 0), len(order) - 1), order.pop(at))
    for place, one in enumerate(order):
        one.position = place
    Example.objects.bulk_update(order, ["position"])


def examples(listing: Listing) -> list[Prediction]:
    """The pinned runs in order, `with_model`. Whoever sees the listing may see them, their inputs without secrets."""
    return [one.prediction for one in _pinned().filter(listing=listing)[:MOST]]


def example(listing: Listing, public_id: str) -> Prediction | None:
    """The pinned run of this listing by any spelling of its id; None if it is none of its examples."""
    number = parse(public_id, "p")
    found = _pinned().filter(listing=listing, prediction__public_id=number).first() if number else None
    return found.prediction if found is not None else None


def is_pinned(row: Prediction) -> bool:
    return Example.objects.filter(prediction=row).exists()


def covers_of(workspace_id: int) -> set[UUID]:
    """The assets that models of the workspace have as their covers."""
    covers = Listing.objects.filter(publisher__workspace=workspace_id).values_list("cover", flat=True)
    numbers = {parse(cover, "a") for cover in covers if assets.is_picture(cover)}
    return {number for number in numbers if number is not None}


def files_of_examples(workspace_id: int) -> set[UUID]:
    """The stored files that inputs of the workspace's pinned runs name."""
    pinned = _pinned().filter(prediction__workspace=workspace_id)
    return {asset for one in pinned for asset in _named(one.prediction)}


def is_cover(row: Prediction) -> bool:
    """Whether a picture of the run is the cover of the model that it is of: everybody sees it, pinned or not. `row` was
    selected `with_model`."""
    cover = row.version.listing.cover
    return bool(cover) and any(asset.uid == cover and asset.deletion_id is None for asset in row.assets.all())


def _pinned() -> QuerySet[Example]:
    return (
        Example.objects.select_related("prediction__version__listing__publisher", "prediction__endpoint")
        .prefetch_related("prediction__assets")
        .order_by("position", "pk")
    )


def _positions(output: object) -> set[int]:
    """The media that an output names."""
    if isinstance(output, list):
        return {number for one in output for number in _positions(one)}
    if isinstance(output, dict):
        if "$media" in output:
            return {int(output["$media"])}
        return {number for one in output.values() for number in _positions(one)}
    return set()


def _named(row: Prediction) -> set[UUID]:
    """The stored files that an input names."""
    found: set[UUID] = set()

    def note(path: str, value: str, types: tuple[str, ...]) -> str:
        public_id = None if value.startswith("data:") else parse(value, "a")
        if public_id is not None:
            found.add(public_id)
        return value

    schema.replace_files(row.endpoint.input_schema, row.input, note)
    return found


def _files(row: Prediction) -> QuerySet[Asset]:
    """The stored files of an input, which are the workspace's own."""
    return Asset.objects.filter(workspace_id=row.workspace_id, public_id__in=_named(row))
