"""The sandbox's app, and the check that it never plays beside real money."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, register


class SandboxConfig(AppConfig):
    name = "billing.sandbox"
    label = "sandbox"
    default_auto_field = "django.db.models.BigAutoField"


@register
def no_play_beside_real_money(**_: Any) -> list[CheckMessage]:
    """The settings refuse it already; this sees settings that were changed after they were read."""
    is_real = settings.STRIPE_IS_LIVE or settings.LEDGER_BOOK == "live"
    if settings.STRIPE_SANDBOX and is_real:
        return [Error("The sandbox sells play money beside the live book.", id="sandbox.E001")]
    return []
