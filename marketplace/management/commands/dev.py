"""Run everything on this machine: embedded servers, web, control and engine."""

from __future__ import annotations

import os
from typing import Any

from django.core.management.base import BaseCommand

from marketplace.host import run
from marketplace.host.places import Places


class Command(BaseCommand):
    help = "Run everything on this machine until Ctrl-C: embedded servers, web, control and engine."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        run.run(Places.configured(), os.environ)
