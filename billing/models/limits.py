"""What may be spent, what was, and below which balance somebody is warned."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.functions import RandomUUID
from django.db import models
from django.db.models import Q
from django.utils import timezone

from billing.models.books import Book
from marketplace.ids import encode, uuid7


class Period(models.TextChoices):
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    LIFETIME = "lifetime"


class ScopeKind(models.TextChoices):
    KEY = "key"
    MEMBER = "member"
    WORKSPACE = "workspace"
    MODEL = "model"


def usual_alerts() -> list[int]:
    """At which parts of a limit its workspace is told, in percent, where nobody has chosen."""
    return [50, 80, 100]


class SpendLimit(models.Model):
    """The most that a key, member, model or the whole workspace may spend per period, as configured, and at which parts
    of it, in percent, those are told who look after the credit."""

    public_id = models.UUIDField(default=uuid7, db_default=RandomUUID(), unique=True, editable=False)
    workspace = models.ForeignKey("marketplace.Workspace", on_delete=models.CASCADE, related_name="+")
    book = models.CharField(max_length=4, choices=Book.choices)
    scope_kind = models.CharField(max_length=12, choices=ScopeKind.choices)
    scope_id = models.CharField(max_length=100)
    period = models.CharField(max_length=8, choices=Period.choices)
    limit_micros = models.BigIntegerField()
    alert_at = ArrayField(
        models.PositiveSmallIntegerField(), default=usual_alerts, db_default=[50, 80, 100], blank=True
    )
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "book", "scope_kind", "scope_id", "period"], name="spend_limit_scope"
            ),
            models.CheckConstraint(name="spend_limit_amount", condition=Q(limit_micros__gte=0)),
        ]

    def __str__(self) -> str:
        return f"{self.scope_kind} {self.scope_id} per {self.period}"

    @property
    def uid(self) -> str:
        """The public id as our own API and pages write it."""
        return encode(self.public_id, "l")


class SpendWindow(models.Model):
    """What was spent or is held against a limit in one period. A new period is a new row; rows are never
    deleted.

    `limit_micros` is the limit as of the latest hold, kept for the record. `before_micros` is the part of what was
    spent that was charged without the window, before its limit was set. `told_percent` is the highest part of the
    limit of which the workspace was told, `refused_at` when the limit first refused a run.
    """

    workspace = models.ForeignKey("marketplace.Workspace", on_delete=models.PROTECT, related_name="+")
    book = models.CharField(max_length=4, choices=Book.choices)
    scope_kind = models.CharField(max_length=12, choices=ScopeKind.choices)
    scope_id = models.CharField(max_length=100)
    period = models.CharField(max_length=8, choices=Period.choices)
    starts_at = models.DateTimeField()
    limit_micros = models.BigIntegerField()
    spent_micros = models.BigIntegerField(default=0)
    before_micros = models.BigIntegerField(default=0, db_default=0)
    told_percent = models.PositiveSmallIntegerField(default=0, db_default=0)
    refused_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "book", "scope_kind", "scope_id", "period", "starts_at"],
                name="spend_window_scope",
            ),
            models.CheckConstraint(name="spend_window_spent", condition=Q(spent_micros__gte=0)),
            models.CheckConstraint(name="spend_window_before", condition=Q(before_micros__gte=0)),
        ]

    def __str__(self) -> str:
        return f"{self.scope_kind} {self.scope_id} per {self.period} from {self.starts_at:%Y-%m-%d}"


class LowBalance(models.Model):
    """Below which available amount a workspace is warned, and when it was; the next credit makes that null again."""

    workspace = models.ForeignKey(
        "marketplace.Workspace", on_delete=models.CASCADE, related_name="+", db_index=False
    )
    book = models.CharField(max_length=4, choices=Book.choices)
    below_micros = models.BigIntegerField()  # 0 is never
    told_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["workspace", "book"], name="low_balance_once"),
            models.CheckConstraint(name="low_balance_amount", condition=Q(below_micros__gte=0)),
        ]

    def __str__(self) -> str:
        return f"workspace {self.workspace_id} below {self.below_micros}"
