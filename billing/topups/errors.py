"""What can be said to somebody whose payment cannot go on."""

from __future__ import annotations


class Refused(Exception):
    """The top-up, refund or coupon cannot be; the message says why and what can."""


class Unavailable(Exception):
    """The payment processor does not answer, or is not set up. Nothing is lost: what was begun is finished or closed
    by itself."""

    def __init__(self) -> None:
        super().__init__(
            "The payment page cannot be reached at present. Nothing was charged; try again in a minute."
        )
