"""What an operator types at commands about money. All of it raises CommandError for what it is not."""

from __future__ import annotations

from datetime import UTC, datetime, time
from decimal import Decimal, InvalidOperation

from django.core.management.base import CommandError

MICROS = 1_000_000
MOST_DOLLARS = 10**9  # far above what anybody types; an exponent can say more than a computer can count


def number(text: str) -> Decimal:
    """72.5, $20, 80%."""
    try:
        found = Decimal(text.lstrip("$").removesuffix("%"))
    except InvalidOperation:
        found = Decimal("NaN")
    if not found.is_finite():
        raise CommandError(f"{text!r} is no number.")
    return found


def micros(text: str) -> int:
    """Dollars, of six decimals at most, in micro-dollars."""
    dollars = number(text)
    if abs(dollars) > MOST_DOLLARS or dollars * MICROS != int(dollars * MICROS):
        raise CommandError(f"{text!r} is no amount of dollars.")
    return int(dollars * MICROS)


def moment(text: str, at: time = time()) -> datetime:
    """A day of UTC, at that time of it."""
    try:
        return datetime.combine(datetime.strptime(text, "%Y-%m-%d"), at, UTC)  # noqa: DTZ007 - a day of UTC
    except ValueError:
        raise CommandError(f"{text!r} is no day like 2027-01-31.") from None
