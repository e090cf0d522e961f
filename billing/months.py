"""Months of UTC, which statements, invoices and payouts are made for."""

from __future__ import annotations

from datetime import date, timedelta


def following(month: date) -> date:
    """The first day of the month after the one that a day is in."""
    return (month.replace(day=1) + timedelta(days=32)).replace(day=1)
