"""Who is told of what, and what became of telling them."""

from __future__ import annotations

from typing import Any, Self
from urllib.parse import urlsplit

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils import timezone

from marketplace.ids import encode, uuid7
from marketplace.models import User, Workspace
from playground.models.prediction import Prediction


class Event(models.TextChoices):
    """What can be told."""

    SUCCEEDED = "prediction.succeeded", "Run succeeded"
    FAILED = "prediction.failed", "Run failed"
    CANCELED = "prediction.canceled", "Run canceled"
    REFUNDED = "prediction.refunded", "Charge given back"
    LIMIT = "limit.alert", "Spend limit nearly used"
    CREDIT = "credit.added", "Credit added"
    PAYOUT_PAID = "payout.paid", "Payout made"
    PAYOUT_FAILED = "payout.failed", "Payout failed"
    PAYOUT_RETURNED = "payout.returned", "Payout came back"


RUN_EVENTS = tuple(one for one in Event.values if one.startswith("prediction."))  # of single runs
STARTED_EVENT = (
    "prediction.started"  # told only where a single request asks for it, so it is none of the above
)
LOGS_EVENT = "prediction.logs"  # the same, while it is under way
TEST_EVENT = "webhook.test"  # sent by hand only, so it cannot be subscribed to


class Signing(models.Model):
    """A secret that deliveries are signed with. The one before it signs beside it until `previous_until`.

    It is kept as it is: a hash signs nothing. The database that holds it holds the payloads too.
    """

    secret = models.CharField(max_length=80)
    previous_secret = models.CharField(max_length=80, blank=True)
    previous_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        abstract = True


class RequestSecret(Signing):
    """The workspace's secret for deliveries to addresses that single requests name."""

    workspace = models.OneToOneField(Workspace, on_delete=models.CASCADE, related_name="+")

    def __str__(self) -> str:
        return f"request secret of {self.workspace_id}"


class Webhook(Signing):
    """An address of a workspace that is told of every event of the kinds it takes."""

    public_id = models.UUIDField(default=uuid7, unique=True, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="webhooks")
    created_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    url = models.CharField(max_length=2048)
    description = models.CharField(max_length=200, blank=True)
    events = ArrayField(models.CharField(max_length=40), default=list)
    is_enabled = models.BooleanField(default=True)
    disabled_reason = models.CharField(
        max_length=300, blank=True, help_text="why we stopped; empty where a person did"
    )
    failing_since = models.DateTimeField(null=True, help_text="of the first failure since the last success")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [models.Index(fields=["workspace", "-id"], name="webhook_workspace")]

    def __str__(self) -> str:
        return self.uid

    @property
    def uid(self) -> str:
        return encode(self.public_id, "wh")

    @property
    def state(self) -> str:
        """One word: enabled, failing, paused or disabled."""
        if self.is_enabled:
            return "failing" if self.failing_since else "enabled"
        return "disabled" if self.disabled_reason else "paused"

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc

    @property
    def event_words(self) -> list[str]:
        """What it is told of, for people."""
        return [str(Event(one).label).lower() for one in self.events]


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    """Filters over deliveries."""

    def of(self, webhook: Webhook) -> Self:
        return self.filter(webhook=webhook)

    def of_requests(self, workspace: Workspace) -> Self:
        """Those to addresses that single requests of the workspace named."""
        return self.filter(workspace=workspace, webhook=None)

    def settled(self) -> Self:
        """Those that are not on their way any more."""
        return self.exclude(status=Delivery.Status.PENDING)


class Delivery(models.Model):
    """One event on its way to one address: tried until it is taken, or until there was enough of it.

    `event_id` is the same in every attempt and for every address, so that whoever is told twice can know.
    While `next_attempt_at` is set it is to be tried then; pending without it, it is held, as its webhook is paused.
    """

    class Status(models.TextChoices):
        PENDING = "pending", "Pending"
        DELIVERED = "delivered", "Delivered"
        FAILED = "failed", "Failed"

    public_id = models.UUIDField(default=uuid7, unique=True, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="+")
    webhook = models.ForeignKey(
        Webhook,
        on_delete=models.CASCADE,
        null=True,
        related_name="deliveries",
        help_text="null: the request named the address itself",
    )
    prediction = models.ForeignKey(Prediction, on_delete=models.CASCADE, null=True, related_name="deliveries")
    event_id = models.UUIDField()
    event = models.CharField(max_length=40)
    url = models.CharField(max_length=2048, help_text="where it went last, or goes next")
    target = models.CharField(max_length=80, help_text="what must not be asked by many at once, see claims")
    body = models.TextField(help_text="the very bytes that are signed and sent")

    status = models.CharField(max_length=10, choices=Status.choices, default=Status.PENDING)
    tries = models.PositiveSmallIntegerField(default=0, help_text="attempts of the present round")
    attempts: models.JSONField[Any, Any] = models.JSONField(
        default=list, help_text="the last ones, oldest first"
    )
    next_attempt_at = models.DateTimeField(null=True)
    claimed_until = models.DateTimeField(null=True, help_text="somebody is at it until then")
    delivered_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(default=timezone.now)

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["webhook", "event_id"], name="delivery_once", condition=Q(webhook__isnull=False)
            ),
            models.UniqueConstraint(
                fields=["event_id"], name="delivery_of_request_once", condition=Q(webhook__isnull=True)
            ),
            models.CheckConstraint(
                condition=Q(status="pending") | Q(next_attempt_at__isnull=True),
                name="delivery_closed_is_not_due",
            ),
            models.CheckConstraint(
                condition=~Q(status="delivered") | Q(delivered_at__isnull=False),
                name="delivery_delivered_has_its_time",
            ),
        ]
        indexes = [
            models.Index(
                fields=["workspace", "target", "next_attempt_at"],
                name="delivery_due",
                condition=Q(next_attempt_at__isnull=False),
            ),
            models.Index(
                fields=["workspace", "claimed_until"],
                name="delivery_claimed",
                condition=Q(claimed_until__isnull=False),
            ),
            models.Index(fields=["webhook", "-id"], name="delivery_log"),
            models.Index(
                fields=["workspace", "-id"],
                name="delivery_log_of_requests",
                condition=Q(webhook__isnull=True),
            ),
            models.Index(fields=["created_at"], name="delivery_age"),
        ]

    def __str__(self) -> str:
        return self.uid

    @property
    def uid(self) -> str:
        return encode(self.public_id, "d")

    @property
    def message_id(self) -> str:
        """What the receiver sees as `webhook-id`."""
        return encode(self.event_id, "evt")

    @property
    def last(self) -> dict[str, Any] | None:
        """The latest attempt."""
        return self.attempts[-1] if self.attempts else None

    @property
    def is_held(self) -> bool:
        return self.status == self.Status.PENDING and self.next_attempt_at is None

    @property
    def pill(self) -> str:
        """The shape that stands for its status."""
        return {"delivered": "succeeded", "failed": "failed"}.get(self.status, "queued")

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc
