"""The chain over the books, and what the audit of each night found."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import Q
from django.utils import timezone

from billing.models.books import Book, LedgerTransaction


class Seal(models.Model):
    """One link of a book's chain: the root of a hash tree over transactions, bound to the seal before it.

    For the next seals to know where to begin: ledger transactions up to `reach_id` were made by database transactions
    older than `reach_xid`, and all that were made by such as are older than `horizon_xid` are sealed (0: who knows).
    """

    book = models.CharField(max_length=4, choices=Book.choices)
    number = models.BigIntegerField()
    previous = models.CharField(max_length=64)
    root = models.CharField(max_length=64)
    count = models.IntegerField()
    hash = models.CharField(max_length=64, unique=True)
    sealed_at = models.DateTimeField(default=timezone.now)
    reach_id = models.BigIntegerField()
    reach_xid = models.BigIntegerField()
    horizon_xid = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["book", "number"], name="seal_number"),
            models.CheckConstraint(name="seal_numbers", condition=Q(number__gt=0, count__gt=0)),
        ]

    def __str__(self) -> str:
        return f"seal {self.number} of {self.book}"


class SealedTransaction(models.Model):
    """A ledger transaction's place in its seal. `seed` is what its salts are made of: it is never shown."""

    transaction = models.OneToOneField(
        LedgerTransaction, on_delete=models.PROTECT, primary_key=True, related_name="+"
    )
    seal = models.ForeignKey(Seal, on_delete=models.PROTECT, related_name="+", db_index=False)
    position = models.IntegerField()
    seed = models.BinaryField(max_length=16)
    leaf = models.BinaryField(max_length=32)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["seal", "position"], name="sealed_position")]

    def __str__(self) -> str:
        return f"transaction {self.transaction_id} at {self.position} of seal {self.seal_id}"


class Audit(models.Model):
    """One look at all of the books: when, how far the chains were then, and what did not add up."""

    started_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)
    heads: models.JSONField[Any, Any] = models.JSONField(default=dict)  # the newest seal's hash, by book
    problem_count = models.IntegerField(default=0)
    problems: models.JSONField[Any, Any] = models.JSONField(default=list)  # the first of them: check, detail

    class Meta:
        indexes = [models.Index(fields=["-started_at"], name="audit_newest")]

    def __str__(self) -> str:
        return f"audit of {self.started_at:%Y-%m-%d %H:%M}"
