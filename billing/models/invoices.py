"""Months of a workspace, written down for good once they are over, and whom they are made out to."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import Q
from django.utils import timezone

from billing.models.books import Book


class Invoice(models.Model):
    """What a workspace used in a month that is over, and its credit before and after. Numbers have no gaps.

    `content` is the whole paper as it was made out, so that it stays the same whatever is renamed later.
    """

    workspace = models.ForeignKey("marketplace.Workspace", on_delete=models.PROTECT, related_name="+")
    book = models.CharField(max_length=4, choices=Book.choices)
    month = models.DateField()  # its first day
    number = models.CharField(max_length=32)
    charged_micros = models.BigIntegerField()
    refunded_micros = models.BigIntegerField()
    opening_micros = models.BigIntegerField()
    closing_micros = models.BigIntegerField()
    content: models.JSONField[Any, Any] = models.JSONField()
    issued_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["workspace", "book", "month"], name="invoice_once"),
            models.UniqueConstraint(fields=["book", "number"], name="invoice_number"),
            models.CheckConstraint(name="invoice_month", condition=Q(month__day=1)),
            models.CheckConstraint(
                name="invoice_amounts", condition=Q(charged_micros__gte=0, refunded_micros__gte=0)
            ),
        ]

    def __str__(self) -> str:
        return self.number


class InvoiceRecipient(models.Model):
    """Whom a workspace's invoices are made out to: what its books want to read there."""

    workspace = models.OneToOneField("marketplace.Workspace", on_delete=models.CASCADE, related_name="+")
    name = models.CharField(max_length=200, blank=True)
    address = models.CharField(max_length=500, blank=True)
    tax_id = models.CharField(max_length=40, blank=True)

    def __str__(self) -> str:
        return self.name
