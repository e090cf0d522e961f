"""What a publisher says of its models on the shelf, by hand: description, README, cover, who sees them, and pauses.

What was set by hand stays when the model is published again: the row notes which fields those are. A field that is set
back to what the manifest says follows the manifest again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from marketplace.catalog.find import NotFound, forget
from marketplace.catalog.publish import said_of
from marketplace.models import Listing, Publisher, Workspace
from marketplace.schema import FieldError, FieldErrors

TAGLINE_LENGTH = 160
README_LENGTH = 100_000
Visibility = Listing.Visibility


class InvalidListing(FieldErrors):
    """What a listing should say cannot be; `errors` lists all that is wrong, by field."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a listing says of itself. `cover` is the path of a static file, the id of a picture, or empty."""

    tagline: str
    readme: str
    cover: str
    visibility: str


def own_listings(workspace: Workspace) -> QuerySet[Listing]:
    """The workspace's models, also those that nobody else sees, in the order of their names."""
    rows = Listing.objects.filter(publisher__workspace=workspace, default_version__isnull=False)
    return (
        rows.select_related("publisher", "default_version")
        .defer("search")
        .order_by("publisher__name", "name")
    )


def own_listing(workspace: Workspace, publisher: str, name: str) -> Listing:
    """One of them. Raises NotFound, for those of others as for those that never were."""
    row = own_listings(workspace).filter(publisher__name=publisher, name=name).first()
    if row is None:
        raise NotFound(f"This workspace has no model {publisher[:40]}/{name[:40]}.")
    return row


def describe(listing: Listing, said: Said) -> Listing:
    """Say this of the listing from now on. Raises InvalidListing."""
    tagline, readme = _tidy("tagline", said.tagline), _tidy("readme", said.readme)
    errors = []
    if not tagline:
        errors.append(FieldError("tagline", "required", "is required"))
    if len(tagline) > TAGLINE_LENGTH:
        errors.append(
            FieldError("tagline", "too_long", f"has at most {TAGLINE_LENGTH} characters", TAGLINE_LENGTH)
        )
    if len(readme) > README_LENGTH:
        errors.append(
            FieldError("readme", "too_long", f"has at most {README_LENGTH:,} characters", README_LENGTH)
        )
    if said.visibility not in Visibility.values:
        errors.append(FieldError("visibility", "not_allowed", "is none of the choices", Visibility.values))
    if errors:
        raise InvalidListing(errors)
    values = {"tagline": tagline, "readme": readme, "cover": said.cover, "visibility": said.visibility}
    with transaction.atomic():
        row = _locked(listing)
        if row.publisher.is_closed and row.visibility != values["visibility"]:
            raise InvalidListing(
                [FieldError("visibility", "not_allowed", "stays private while the publisher is closed")]
            )
        row.edited = _by_hand(row, values)
        for name, value in values.items():
            setattr(row, name, value)
        row.save(update_fields=[*values, "edited"])
        transaction.on_commit(forget)
    return row


def pause(listing: Listing, *, now: datetime | None = None) -> bool:
    """Take no new runs of it; those that were accepted go on. Whether that is news."""
    paused = Listing.objects.filter(pk=listing.pk, paused_at=None).update(paused_at=now or timezone.now())
    transaction.on_commit(forget)
    return bool(paused)


def resume(listing: Listing) -> bool:
    """Take runs of it again. Whether that is news."""
    resumed = Listing.objects.filter(pk=listing.pk).exclude(paused_at=None).update(paused_at=None)
    transaction.on_commit(forget)
    return bool(resumed)


def take_down(publisher: Publisher) -> int:
    """Make all models of the publisher private, also when they are published again; how many were not.

    The publisher's row is locked by the present transaction.
    """
    taken = 0
    for row in Listing.objects.select_for_update(no_key=True).filter(publisher=publisher):
        taken += row.visibility != Visibility.PRIVATE
        row.visibility, row.edited = Visibility.PRIVATE, sorted({*row.edited, "visibility"})
        row.save(update_fields=["visibility", "edited"])
    transaction.on_commit(forget)
    return taken


def _locked(listing: Listing) -> Listing:
    """The row as it is now, with its publisher, which nobody closes meanwhile; its manifest with it."""
    publisher = Publisher.objects.select_for_update(no_key=True).get(pk=listing.publisher_id)
    row = Listing.objects.select_for_update(no_key=True, of=("self",)).select_related("default_version")
    found = row.get(pk=listing.pk)
    found.publisher = publisher
    return found


def _by_hand(row: Listing, values: dict[str, str]) -> list[str]:
    """The fields that were set by hand once these values are.

    One that nobody set says what was published last, so that a change of it is by hand; one that was set before is
    that no more where it is as the version's manifest has it. How a form spells the ends of lines changes nothing.
    """
    said = said_of(row.default_version.manifest) if row.default_version is not None else {}

    def differs(name: str) -> bool:
        before = said.get(name) if name in row.edited else getattr(row, name)
        return before is None or _tidy(name, before) != values[name]

    return sorted(filter(differs, values))


def _tidy(field: str, text: str) -> str:
    """What a listing says in this field as it is kept: a description of one line, a README from its first line on."""
    if field == "tagline":
        return " ".join(text.split())
    return text.replace("\r\n", "\n").strip("\n") if field == "readme" else text
