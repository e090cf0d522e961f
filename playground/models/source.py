"""What a run was made from."""

from __future__ import annotations

from django.db import models

from playground.models.asset import Asset
from playground.models.prediction import Prediction


class Source(models.Model):
    """One stored file in the input of a run, and the run that made that file, if one did.

    Media expire and are deleted; that the one run was made from the other stays known.
    """

    prediction = models.ForeignKey(Prediction, on_delete=models.CASCADE, related_name="sources")
    path = models.CharField(max_length=200, help_text="the field of the input, as errors name it")
    asset = models.ForeignKey(Asset, on_delete=models.SET_NULL, null=True, related_name="uses")
    made_by = models.ForeignKey(Prediction, on_delete=models.SET_NULL, null=True, related_name="offspring")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["prediction", "path"], name="source_path")]

    def __str__(self) -> str:
        return f"{self.path} of {self.prediction_id}"
