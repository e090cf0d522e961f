"""What runs were charged for, each by itself and by the day."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from billing.models.books import Book


class UsageRecord(models.Model):
    """What one settled prediction was charged for; the line of the statement. Knows the room above by value
    only."""

    reference = models.UUIDField(unique=True)
    workspace = models.ForeignKey("marketplace.Workspace", on_delete=models.PROTECT, related_name="+")
    book = models.CharField(max_length=4, choices=Book.choices)
    model = models.CharField(max_length=120)
    key_id = models.BigIntegerField(null=True, blank=True)
    user_id = models.BigIntegerField(null=True, blank=True)
    status = models.CharField(max_length=16)
    quote: models.JSONField[Any, Any] = models.JSONField(default=dict)
    units: models.JSONField[Any, Any] = models.JSONField(default=dict)
    amount_micros = models.BigIntegerField()
    occurred_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.CheckConstraint(name="usage_record_amount", condition=Q(amount_micros__gte=0)),
        ]
        indexes = [models.Index(fields=["workspace", "-occurred_at"], name="usage_record_workspace")]

    def __str__(self) -> str:
        return f"usage of {self.reference}"


class UsageDay(models.Model):
    """The usage records of one UTC day, summed up. Written where they are, by the statement that writes them.

    Rows are parts of a sum: who finds all rows of its day locked by others that settle adds one, and waits for nobody.
    What was refunded counts on the day that it was refunded, so that the days of a month that is over stay as they are.
    """

    # Without an index of its own, here and below: the other one begins with the workspace, and a planner that has
    # both took this one, for all days instead of a few.
    workspace = models.ForeignKey(
        "marketplace.Workspace", on_delete=models.PROTECT, related_name="+", db_index=False
    )
    book = models.CharField(max_length=4, choices=Book.choices)
    day = models.DateField()
    model = models.CharField(max_length=120)
    key_id = models.BigIntegerField(default=0)  # 0 is none, here and below
    user_id = models.BigIntegerField(default=0)
    runs = models.BigIntegerField()
    not_charged = (
        models.BigIntegerField()
    )  # the runs among them that cost nothing because they did not succeed
    amount_micros = models.BigIntegerField()
    refunded_micros = models.BigIntegerField(default=0, db_default=0)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="usage_day_amounts",
                condition=Q(runs__gte=0, not_charged__gte=0, amount_micros__gte=0, refunded_micros__gte=0)
                & Q(not_charged__lte=F("runs")),
            ),
        ]
        indexes = [
            models.Index(
                fields=["workspace", "book", "day", "model", "key_id", "user_id"], name="usage_day_sums"
            ),
        ]

    def __str__(self) -> str:
        return f"usage of {self.model} on {self.day}"
