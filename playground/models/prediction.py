"""One execution, and the promise that a repeated request makes no second one."""

from __future__ import annotations

from typing import Any, Self

from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Q
from django.db.models.expressions import RawSQL
from django.utils import timezone

from marketplace.ids import encode, uuid7
from marketplace.models import ApiKey, Endpoint, Offer, User, Version, Workspace
from playground.models.deletion import Deletion

# What a search looks in: the words of the prompt, and the workspace and the day as one more of them, so that the index
# alone tells whose runs of which days have a word. No text has a word with a space in it.
WORDS = (
    """to_tsvector('simple'::regconfig, "left"(COALESCE(input ->> 'prompt', ''), 2000))"""
    """ || array_to_tsvector(ARRAY['ws ' || workspace_id::text || ' ' || """
    """floor(extract(epoch FROM created_at AT TIME ZONE 'UTC') / 86400)::int::text])"""
)


class PredictionQuerySet(models.QuerySet["Prediction"]):
    """Filters over runs."""

    def of(self, workspace: Workspace) -> Self:
        """The workspace's runs, without those that were deleted."""
        return self.kept().filter(workspace=workspace)

    def kept(self) -> Self:
        return self.filter(deletion=None)

    def open(self) -> Self:
        return self.filter(status__in=Prediction.OPEN)

    def with_model(self) -> Self:
        return self.select_related("version__listing__publisher", "endpoint").prefetch_related("assets")


class Prediction(models.Model):
    """One run of one endpoint: queued → running → succeeded, failed or canceled, and then closed for good.

    `attempt` is the fence: it grows by one with every claim, and a worker's word counts only while it matches.
    `faults` counts the attempts that were lost, and bounds them.
    """

    class Status(models.TextChoices):
        QUEUED = "queued", "Queued"
        RUNNING = "running", "Running"
        SUCCEEDED = "succeeded", "Succeeded"
        FAILED = "failed", "Failed"
        CANCELED = "canceled", "Canceled"

    OPEN = (Status.QUEUED, Status.RUNNING)
    TERMINAL = (Status.SUCCEEDED, Status.FAILED, Status.CANCELED)

    class Via(models.TextChoices):
        PAGE = "page", "Playground"
        API = "api", "API"
        REPLICATE = "replicate", "Replicate client"
        FAL = "fal", "fal client"
        OPENAI = "openai", "OpenAI client"
        HUGGINGFACE = "huggingface", "Hugging Face client"

    public_id = models.UUIDField(default=uuid7, unique=True, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.PROTECT, related_name="predictions")
    created_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    api_key = models.ForeignKey(ApiKey, on_delete=models.SET_NULL, null=True, related_name="+")
    version = models.ForeignKey(Version, on_delete=models.PROTECT, related_name="+")
    endpoint = models.ForeignKey(Endpoint, on_delete=models.PROTECT, related_name="+")
    offer = models.ForeignKey(Offer, on_delete=models.PROTECT, related_name="+")
    model = models.CharField(max_length=80, help_text="publisher/name as it was called")
    via = models.CharField(max_length=20, choices=Via.choices)
    asked: models.JSONField[Any, Any] = models.JSONField(
        null=True, help_text="how a client of another protocol asked: {dialect, ignored, …}"
    )

    status = models.CharField(max_length=10, choices=Status.choices, default=Status.QUEUED)
    attempt = models.PositiveIntegerField(default=0)
    faults = models.PositiveSmallIntegerField(default=0)
    input: models.JSONField[Any, Any] = models.JSONField()
    output: models.JSONField[Any, Any] = models.JSONField(null=True)
    error_code = models.CharField(max_length=40, blank=True)
    error_message = models.CharField(max_length=500, blank=True)
    logs = models.TextField(blank=True)
    metrics: models.JSONField[Any, Any] = models.JSONField(default=dict)

    quote: models.JSONField[Any, Any] = models.JSONField()
    held_micros = models.BigIntegerField()
    cost_micros = models.BigIntegerField(null=True)

    lane = models.CharField(max_length=40)
    batch_key = models.CharField(max_length=64, blank=True, help_text="equal keys may run as one batch")
    exact = models.BooleanField(default=False)
    priority = models.SmallIntegerField(default=0)
    fair_at = models.DateTimeField(help_text="place in the lane's queue, see predictions.submit")
    start_by = models.DateTimeField(help_text="fails without a charge if it has not started by then")
    not_before = models.DateTimeField(null=True, help_text="no engine takes it before, after a fault")
    cancel_by = models.DateTimeField(null=True, help_text="canceled if it is still open then")

    worker = models.CharField(max_length=64, blank=True)
    worker_lock = models.PositiveIntegerField(
        null=True, help_text="advisory lock that the worker holds while it lives"
    )
    lease_until = models.DateTimeField(null=True)
    step = models.PositiveIntegerField(default=0)
    steps = models.PositiveIntegerField(default=0)

    webhook: models.JSONField[Any, Any] = models.JSONField(
        null=True, help_text="who else is told of its end: {url, events}"
    )

    created_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True, help_text="start of the latest attempt")
    finished_at = models.DateTimeField(null=True)
    deletion = models.ForeignKey(
        Deletion, on_delete=models.PROTECT, null=True, related_name="predictions", db_index=False
    )

    output_days: int | None = None  # of its workspace, where `claims` selects it; no column
    is_replay = False  # set on the instance that a repeated request is answered with; no column

    objects = PredictionQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(
                    status__in=["queued", "running"], finished_at__isnull=True, cost_micros__isnull=True
                )
                | Q(
                    status__in=["succeeded", "failed", "canceled"],
                    finished_at__isnull=False,
                    cost_micros__isnull=False,
                ),
                name="prediction_closed_is_settled",
            ),
            models.CheckConstraint(
                condition=~Q(status="running")
                | Q(lease_until__isnull=False, started_at__isnull=False, attempt__gt=0),
                name="prediction_running_is_leased",
            ),
            models.CheckConstraint(
                condition=Q(held_micros__gte=0)
                & (
                    Q(cost_micros__isnull=True)
                    | Q(cost_micros__gte=0, cost_micros__lte=models.F("held_micros"))
                ),
                name="prediction_cost_within_hold",
            ),
        ]
        indexes = [
            models.Index(
                fields=["lane", "-priority", "fair_at"],
                name="prediction_queue",
                condition=Q(status="queued"),
                include=["batch_key"],
            ),
            models.Index(
                fields=["workspace", "lane", "-fair_at"],
                name="prediction_share",
                condition=Q(status="queued"),
            ),
            models.Index(fields=["lease_until"], name="prediction_running", condition=Q(status="running")),
            models.Index(fields=["start_by"], name="prediction_start_by", condition=Q(status="queued")),
            models.Index(
                fields=["cancel_by"],
                name="prediction_cancel_by",
                condition=Q(cancel_by__isnull=False, status__in=["queued", "running"]),
            ),
            models.Index(fields=["workspace", "-id"], name="prediction_history"),
            models.Index(fields=["workspace", "created_at"], name="prediction_by_day"),
            models.Index(
                fields=["endpoint", "finished_at"], name="prediction_stats", condition=Q(status="succeeded")
            ),
            models.Index(
                fields=["workspace", "finished_at"],
                name="prediction_canceled",
                condition=Q(status="canceled"),
            ),
            # History by what people look for, newest first.
            models.Index(fields=["workspace", "status", "created_at"], name="prediction_by_status"),
            models.Index(fields=["workspace", "model", "created_at"], name="prediction_by_model"),
            models.Index(fields=["workspace", "via", "created_at"], name="prediction_by_via"),
            models.Index(
                fields=["workspace", "api_key", "created_at"],
                name="prediction_by_key",
                condition=Q(api_key__isnull=False),
            ),
            models.Index(
                fields=["workspace", "created_by", "created_at"],
                name="prediction_by_member",
                condition=Q(created_by__isnull=False),
            ),
            models.Index(
                fields=["workspace", "cost_micros"],
                name="prediction_by_cost",
                condition=Q(cost_micros__gt=0),
            ),
            models.Index(fields=["deletion"], name="prediction_deleted", condition=Q(deletion__isnull=False)),
            # Of closed runs alone: every step of an open one would write its words again.
            GinIndex(
                RawSQL(WORDS, []),  # noqa: S611 - a constant
                name="prediction_words",
                condition=Q(status__in=["succeeded", "failed", "canceled"]),
            ),
        ]

    def __str__(self) -> str:
        return self.uid

    @property
    def uid(self) -> str:
        """The public id as our own API and pages write it."""
        return encode(self.public_id, "p")

    @property
    def is_terminal(self) -> bool:
        return self.status in self.TERMINAL


class IdempotencyKey(models.Model):
    """A caller's name for one request: the same name and body give the same thing again for a day."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=255)
    body_sha256 = models.CharField(max_length=64)
    prediction = models.ForeignKey(Prediction, on_delete=models.CASCADE, null=True, related_name="+")
    made = models.UUIDField(null=True, help_text="public id of what it made, where that is no prediction")
    answerer = models.CharField(
        max_length=32,
        blank=True,
        default="",
        db_default="",
        help_text="the web process that was to answer it, where what was sent names the request",
    )
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["workspace", "key"], name="idempotency_key_once")]
        indexes = [models.Index(fields=["created_at"], name="idempotency_age")]

    def __str__(self) -> str:
        return self.key
