"""In which words the address that a request named is told of the run's end: in ours, or in its protocol's.

Each facade teaches its tongue when `playground.facades.dialects` first looks for it; which one a run has been asked for
in stands in its `asked`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from playground.models import Delivery, Prediction


class Tongue(Protocol):
    """The words of one protocol."""

    def body(self, row: Prediction, event: str) -> str:
        """What is sent of a closed run that was selected `with_model`: JSON."""

    def headers(self, delivery: Delivery, *, now: datetime) -> dict[str, str]:
        """What goes with it and proves that it is from us; made anew for each attempt."""


_known: dict[str, Tongue] = {}


def teach(dialect: str, tongue: Tongue) -> None:
    """From now on runs asked for in `dialect` are told of in `tongue`."""
    _known[dialect] = tongue


def of_run(row: Prediction) -> Tongue | None:
    """The tongue of the protocol that asked for the run; None for our own words."""
    return _known.get((row.asked or {}).get("dialect", ""))


def of(delivery: Delivery) -> Tongue | None:
    """The tongue that a delivery was written in. A workspace's own webhooks are told in our words, whoever asked."""
    if delivery.webhook_id is not None or delivery.prediction_id is None or not _known:
        return None
    row = Prediction.objects.only("asked").filter(pk=delivery.prediction_id).first()
    return of_run(row) if row is not None else None
