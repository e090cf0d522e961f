"""What can be said to somebody whose payout cannot be."""

from __future__ import annotations


class Refused(Exception):
    """The payout, or the account for it, cannot be; the message says why and what can."""


class Unavailable(Exception):
    """Stripe does not answer, or is not set up. Nothing is lost."""

    def __init__(self) -> None:
        super().__init__("Stripe cannot be reached at present. Nothing was changed; try again in a minute.")
