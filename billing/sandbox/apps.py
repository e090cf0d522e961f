from __future__ import annotations

from django.apps import AppConfig


class SandboxConfig(AppConfig):
    name = "billing.sandbox"
    label = "sandbox"
    default_auto_field = "django.db.models.BigAutoField"
