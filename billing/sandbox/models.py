"""The sandbox's rows: Stripe's objects as they are answered, what was asked under which key, and what is to be sent."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import Q
from django.utils import timezone


class Thing(models.Model):
    """One object of Stripe's: `data` is what the API answers, `hidden` what only the sandbox knows."""

    id = models.BigAutoField(primary_key=True)  # the order in which they were made; lists go by it
    name = models.CharField(max_length=80, unique=True)  # Stripe's id
    kind = models.CharField(max_length=64)
    account = models.CharField(
        max_length=64, blank=True
    )  # the connected account whose it is; empty: the platform's
    data: models.JSONField[Any, Any] = models.JSONField()
    hidden: models.JSONField[Any, Any] = models.JSONField(default=dict)
    created_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["kind", "account", "-id"], name="sandbox_thing_list")]

    def __str__(self) -> str:
        return self.name


class Asked(models.Model):
    """An answer under its idempotency key."""

    key = models.CharField(max_length=255)
    account = models.CharField(max_length=64, blank=True)
    digest = models.CharField(max_length=64)  # of verb, path and parameters
    status = models.IntegerField()
    answer: models.JSONField[Any, Any] = models.JSONField()
    asked_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["key", "account"], name="sandbox_asked_once")]

    def __str__(self) -> str:
        return f"asked under {self.key}"


class Notice(models.Model):
    """One event on its way to one address; `withheld` ones go only when they are told to."""

    class State(models.TextChoices):
        WAITING = "waiting"
        WITHHELD = "withheld"
        DELIVERED = "delivered"
        GIVEN_UP = "given_up"

    event = models.ForeignKey(Thing, on_delete=models.CASCADE, related_name="notices")
    url = models.CharField(max_length=500)
    state = models.CharField(max_length=9, choices=State.choices, default=State.WAITING)
    due_at = models.DateTimeField()
    tries = models.IntegerField(default=0)
    last_status = models.IntegerField(null=True, blank=True)  # of the answer; null where there was none

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="sandbox_notice_state",
                condition=Q(state__in=["waiting", "withheld", "delivered", "given_up"]),
            )
        ]
        indexes = [models.Index(fields=["due_at"], name="sandbox_notice_due", condition=Q(state="waiting"))]

    def __str__(self) -> str:
        return f"notice {self.pk} of event {self.event_id}"


class Modes(models.Model):
    """How the sandbox behaves, in one row."""

    settings: models.JSONField[Any, Any] = models.JSONField(default=dict)
    changed_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.CheckConstraint(name="sandbox_modes_one", condition=Q(id=1))]

    def __str__(self) -> str:
        return "the sandbox's modes"


class Fault(models.Model):
    """What goes wrong with the next requests of a kind."""

    class Kind(models.TextChoices):
        DROP = "drop", "done, and the answer lost"
        LATE_ERROR = "late_error", "done, and an error 500 answered"
        ERROR = "error", "an error 500, and nothing done"
        BUSY = "busy", "too many requests (429), and nothing done"
        HANG = "hang", "done, and no answer for a while"

    verb = models.CharField(max_length=6)  # get, post, delete, or * for any
    path = models.CharField(max_length=200)  # as the library writes it, or * for any
    kind = models.CharField(max_length=10, choices=Kind.choices)
    seconds = models.FloatField(default=0)  # of a hang
    left = models.IntegerField(default=1)  # requests that it is still for
    made_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="sandbox_fault_kind",
                condition=Q(kind__in=["drop", "late_error", "error", "busy", "hang"]),
            ),
            models.CheckConstraint(name="sandbox_fault_left", condition=Q(left__gt=0)),
        ]

    def __str__(self) -> str:
        return f"{self.kind} for {self.verb} {self.path}"
