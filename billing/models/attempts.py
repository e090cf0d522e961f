"""What the rows of credit coming in and of money going out have in common."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone

from marketplace.ids import encode, uuid7

CENT_MICROS = 10_000
BOOKS = ["test", "live"]
BOOK_CHOICES = [(book, book) for book in BOOKS]


class Attempt(models.Model):
    """Money that is asked for: the row is written before anybody else hears of it, and its id is the key of what is
    asked, so that asking again is the same request. `claimed_until`: some process is at it until then."""

    PREFIX: ClassVar[str]  # of its id, as people see it

    public_id = models.UUIDField(default=uuid7, unique=True, editable=False)
    amount_micros = models.BigIntegerField()
    by = models.ForeignKey(
        "marketplace.User", on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    claimed_until = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        abstract = True

    @property
    def uid(self) -> str:
        return encode(self.public_id, self.PREFIX)
