"""A run that its publisher shows to everybody."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from marketplace.models import Listing, User
from playground.models.prediction import Prediction


class Example(models.Model):
    """One pinned prediction of a listing. It goes with the prediction."""

    listing = models.ForeignKey(Listing, on_delete=models.CASCADE, related_name="pinned")
    prediction = models.OneToOneField(Prediction, on_delete=models.CASCADE, related_name="example")
    position = models.PositiveIntegerField(help_text="place among the listing's examples, from 0")
    pinned_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [models.Index(fields=["listing", "position"], name="example_order")]

    def __str__(self) -> str:
        return f"{self.prediction} of {self.listing_id}"
