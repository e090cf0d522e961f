"""The history as a person reads it: the runs in the list, and the forms of its acts."""

from __future__ import annotations

import datetime as dt
import re

from django.utils import timezone

from playground.models import Prediction

LIST = "/dashboard/history"


def shown(answer) -> list[str]:
    """The ids of the runs in the list, as they stand there."""
    assert answer.status_code == 200
    return re.findall(r'<tr id="row-(p_[0-9a-z]{26})"', answer.content.decode())


def ask(world, **values):
    return shown(world.ada.get(LIST, {key.rstrip("_"): value for key, value in values.items()}))


def age(row: Prediction, days: float) -> None:
    Prediction.objects.filter(pk=row.pk).update(created_at=timezone.now() - dt.timedelta(days=days))


def streamed(answer) -> bytes:
    assert answer.status_code == 200, answer.content
    return b"".join(answer.streaming_content)


def form_of(world, **values) -> dict[str, str]:
    """What the page of everything that matches sends with an act."""
    body = world.ada.get(f"{LIST}/all", values).content.decode()
    return dict(re.findall(r'name="(everything|newest|told|back)" value="([^"]*)"', body))
