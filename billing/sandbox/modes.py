"""How the sandbox behaves until somebody changes it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from billing.sandbox.models import Modes


@dataclass(frozen=True)
class Behaviour:
    """The modes, with what they are without anybody's doing."""

    webhooks: str = "sent"  # or `withheld`: they wait until somebody sends them
    webhook_delay_seconds: int = 0
    webhook_copies: int = 1
    webhook_disorder_seconds: int = (
        0  # each goes some time in that span later, so that they overtake each other
    )
    settle_seconds: int = 0  # until a payment can be paid out of the balance
    payout_seconds: int = 0  # until a payout is at the bank
    automatic_payout_seconds: int = (
        60  # a recipient's money goes to the bank of itself after so long; 0: never
    )
    refunds: str = "succeed"  # or `fail`, after they had succeeded, or stay `pending`


CHOICES = {"webhooks": ("sent", "withheld"), "refunds": ("succeed", "fail", "pending")}
MOST = {
    "webhook_delay_seconds": 86_400,
    "webhook_copies": 10,
    "webhook_disorder_seconds": 3600,
    "settle_seconds": 86_400 * 14,
    "payout_seconds": 86_400 * 14,
    "automatic_payout_seconds": 86_400 * 14,
}


class InvalidMode(Exception):
    """There is no such mode, or it has no such value."""


def behaviour() -> Behaviour:
    """As it is now."""
    kept = Modes.objects.filter(pk=1).values_list("settings", flat=True).first() or {}
    known = {one.name for one in fields(Behaviour)}
    return Behaviour(**{name: value for name, value in kept.items() if name in known})


def change(**given: Any) -> Behaviour:
    """Change some of it. Raises InvalidMode."""
    for name, value in given.items():
        if name in CHOICES:
            if value not in CHOICES[name]:
                raise InvalidMode(f"{name} is one of {', '.join(CHOICES[name])}")
        elif name not in MOST:
            raise InvalidMode(f"there is no mode {name!r}")
        elif isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST[name]:
            raise InvalidMode(f"{name} is a number from 0 to {MOST[name]}")
    new = replace(behaviour(), **given)
    Modes.objects.update_or_create(pk=1, defaults={"settings": asdict(new)})
    return new


def reset() -> Behaviour:
    """As it is without anybody's doing."""
    Modes.objects.all().delete()
    return Behaviour()
