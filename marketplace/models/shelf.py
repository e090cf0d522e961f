"""The shelf: publishers, listings, their immutable versions, and what each version can do at what price."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Self

from django.conf import settings
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVectorField
from django.db import models
from django.db.models.functions import Now
from django.utils import timezone

from marketplace.ids import uuid7
from marketplace.models.people import User, Workspace

UNPRICED = 2**62  # micro-dollars: behind everything that has a price
NAME_PATTERN = r"^[a-z0-9][a-z0-9-]{1,38}$"


def usual_share() -> Decimal:
    """What a new publisher gets of each charge, in percent. A later change of the setting changes nobody's share."""
    return Decimal(settings.PUBLISHER_SHARE_PERCENT)


class Publisher(models.Model):
    """A workspace's public face: the first half of `publisher/name`."""

    public_id = models.UUIDField(default=uuid7, unique=True, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.PROTECT, related_name="publishers")
    name = models.CharField(max_length=39, unique=True)
    title = models.CharField(max_length=80, blank=True)
    share_percent = models.DecimalField(
        max_digits=5,
        decimal_places=2,
        default=usual_share,
        help_text="of each charge; changed by the operator",
    )
    created_at = models.DateTimeField(default=timezone.now)
    agreed_at = models.DateTimeField(null=True, blank=True, help_text="when its terms were agreed to")
    agreed_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    closed_at = models.DateTimeField(
        null=True, blank=True, help_text="it sells nothing any more; what it earned is still paid"
    )

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(name__regex=NAME_PATTERN), name="publisher_name_shape"),
            models.CheckConstraint(
                condition=models.Q(share_percent__gte=0, share_percent__lte=100), name="publisher_share_range"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_closed(self) -> bool:
        return self.closed_at is not None


class ListingQuerySet(models.QuerySet["Listing"]):
    """Filters over the shelf."""

    def run_by_others(self) -> Self:
        """What people outside of its workspace can run now."""
        return self.filter(default_version__isnull=False, paused_at=None).exclude(
            visibility=Listing.Visibility.PRIVATE
        )

    def for_task(self, task: str) -> Self:
        return self.filter(task=task)


class Listing(models.Model):
    """The thing on the shelf; people call it a model. Its id in JSON is `publisher/name`."""

    class Visibility(models.TextChoices):
        PUBLIC = "public", "Public"
        UNLISTED = "unlisted", "Unlisted"
        PRIVATE = "private", "Private"

    public_id = models.UUIDField(default=uuid7, unique=True, editable=False)
    publisher = models.ForeignKey(Publisher, on_delete=models.PROTECT, related_name="listings")
    name = models.CharField(max_length=39)
    tagline = models.CharField(max_length=160)
    readme = models.TextField(blank=True)
    task = models.CharField(max_length=40)
    license = models.CharField(max_length=40)
    cover = models.CharField(
        max_length=200, blank=True, help_text="static path of the cover, or the id of a picture: a_…"
    )
    visibility = models.CharField(max_length=10, choices=Visibility.choices, default=Visibility.PUBLIC)
    paused_at = models.DateTimeField(null=True, blank=True, help_text="since when it takes no new runs")
    edited: models.JSONField[Any, Any] = models.JSONField(
        default=list,
        blank=True,
        db_default=[],
        help_text="fields that a member set by hand: the manifest does not change them",
    )
    featured = models.PositiveSmallIntegerField(default=0)
    default_version = models.ForeignKey(
        "Version", on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    run_count = models.PositiveBigIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now)
    examples: models.JSONField[Any, Any] = models.JSONField(
        default=list, blank=True, help_text="shipped with the manifest: input and static picture of each"
    )
    takes = models.CharField(
        max_length=60, blank=True, help_text="kinds of media its input takes, with spaces around: ' image '"
    )
    typical_micros = models.BigIntegerField(
        default=UNPRICED, help_text="least price of a typical run, set when published; for sorting only"
    )
    search = SearchVectorField(null=True, editable=False, help_text="kept by a trigger of the database")

    objects = ListingQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["publisher", "name"], name="listing_name_unique"),
            models.CheckConstraint(condition=models.Q(name__regex=NAME_PATTERN), name="listing_name_shape"),
        ]
        # Each order of the shelf is an index, walked until a page is full; what may not be seen is passed over.
        indexes = [
            models.Index(fields=["-featured", "-run_count", "id"], name="listing_by_feature"),
            models.Index(fields=["-run_count", "id"], name="listing_by_runs"),
            models.Index(fields=["-created_at", "id"], name="listing_by_age"),
            models.Index(fields=["typical_micros", "id"], name="listing_by_price"),
            models.Index(fields=["task", "-featured", "-run_count", "id"], name="listing_by_task"),
            models.Index(
                fields=["-featured", "-run_count", "id"], name="listing_takes", condition=~models.Q(takes="")
            ),
            GinIndex(fields=["search"], name="listing_search"),
        ]

    def __str__(self) -> str:
        return self.model_id

    @property
    def model_id(self) -> str:
        """`publisher/name`; the publisher must have been selected with the listing."""
        return f"{self.publisher.name}/{self.name}"

    @property
    def is_paused(self) -> bool:
        return self.paused_at is not None


class Version(models.Model):
    """An immutable build: recipe, weights and their hashes. `sha256` is that of its canonical manifest."""

    listing = models.ForeignKey(Listing, on_delete=models.CASCADE, related_name="versions")
    sha256 = models.CharField(max_length=64)
    manifest: models.JSONField[Any, Any] = models.JSONField()
    measurements: models.JSONField[Any, Any] = models.JSONField(
        default=list,
        blank=True,
        help_text="how fast it ran on which machine; beside the build, and no part of it",
    )
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["listing", "sha256"], name="version_unique")]
        indexes = [models.Index(fields=["sha256"], name="version_by_sha256")]

    def __str__(self) -> str:
        return self.sha256[:12]

    @property
    def recipe(self) -> dict[str, Any]:
        recipe: dict[str, Any] = self.manifest["recipe"]
        return recipe


class Endpoint(models.Model):
    """One callable task of a version."""

    class Granularity(models.TextChoices):
        STEP = "step", "Step"
        RUN = "run", "Run"

    version = models.ForeignKey(Version, on_delete=models.CASCADE, related_name="endpoints")
    name = models.CharField(max_length=40)
    task = models.CharField(max_length=40)
    input_schema: models.JSONField[Any, Any] = models.JSONField()
    output_schema: models.JSONField[Any, Any] = models.JSONField()
    max_seconds = models.PositiveIntegerField()
    start_within_seconds = models.PositiveIntegerField()
    granularity = models.CharField(max_length=4, choices=Granularity.choices)
    max_batch = models.PositiveSmallIntegerField(default=1)
    batch_on: models.JSONField[Any, Any] = models.JSONField(default=list)
    typical_ms = models.PositiveIntegerField(default=1000, help_text="recent median of the run time")
    counted_until = models.DateTimeField(
        default=timezone.now, help_text="runs finished up to then are counted"
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["version", "name"], name="endpoint_name_unique"),
            models.CheckConstraint(
                condition=models.Q(max_seconds__gt=0, max_batch__gt=0), name="endpoint_positive_bounds"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Offer(models.Model):
    """One provider's way to serve an endpoint. Today: a lane of ours."""

    class Kind(models.TextChoices):
        LANE = "lane", "Lane"

    endpoint = models.ForeignKey(Endpoint, on_delete=models.CASCADE, related_name="offers")
    kind = models.CharField(max_length=10, choices=Kind.choices, default=Kind.LANE)
    lane = models.CharField(max_length=40)
    is_enabled = models.BooleanField(default=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["endpoint", "kind", "lane"], name="offer_unique"),
            models.CheckConstraint(condition=models.Q(lane__regex=NAME_PATTERN), name="offer_lane_shape"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.lane}"


class Price(models.Model):
    """What one unit costs from a moment on. A price is replaced by a later one, never edited.

    All rows of an endpoint that begin at one moment are one price list, in the order of their entry.
    """

    class Source(models.TextChoices):
        MANIFEST = "manifest", "Manifest"
        PAGE = "page", "Price page"

    endpoint = models.ForeignKey(Endpoint, on_delete=models.CASCADE, related_name="prices")
    unit = models.CharField(max_length=20)
    unit_price = models.DecimalField(max_digits=20, decimal_places=10)
    conditions: models.JSONField[Any, Any] = models.JSONField(default=dict, blank=True)
    from_runs = models.PositiveIntegerField(
        default=0,
        db_default=0,
        help_text="runs of the model in the month that come before the line counts for a workspace",
    )
    effective_from = models.DateTimeField(default=timezone.now)
    source = models.CharField(
        max_length=10, choices=Source.choices, default=Source.MANIFEST, db_default=Source.MANIFEST
    )
    set_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, db_default=Now())

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(unit_price__gte=0), name="price_not_negative"),
        ]
        indexes = [models.Index(fields=["endpoint", "-effective_from"], name="price_current")]

    def __str__(self) -> str:
        return f"{self.unit_price} / {self.unit}"
