"""What a page says about the payment processor: whether there is one, whether money is real, where its pages are."""

from __future__ import annotations

from django.conf import settings

from billing.gateway.client import is_configured, is_test

__all__ = ["is_configured", "is_test", "origins", "refund_days", "with_tax"]

ORIGINS = ("https://checkout.stripe.com", "https://billing.stripe.com", "https://connect.stripe.com")


def origins() -> tuple[str, ...]:
    """The sites that our forms may lead to; none where the sandbox stands in, which is this site."""
    return () if settings.STRIPE_SANDBOX or not is_configured() else ORIGINS


def with_tax() -> bool:
    """Whether tax is worked out and added on the payment page."""
    return bool(settings.STRIPE_TAX)


def refund_days() -> int:
    """Days in which unspent credit can be taken back by its buyer."""
    return int(settings.REFUND_DAYS)
