"""Look at everything that Vitrine needs on this machine and say what is wrong and what to do."""

from __future__ import annotations

import os
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from marketplace.host import diagnosis
from marketplace.host.places import Places


class Command(BaseCommand):
    help = "Look at everything that Vitrine needs on this machine; status 1 when something is wrong."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        addresses = diagnosis.Addresses(
            database=settings.DATABASES["default"],
            redis_url=settings.REDIS_URL,
            broker_url=settings.CELERY_BROKER_URL,
        )
        is_well = True
        for finding in diagnosis.findings(Places.configured(), os.environ, addresses):
            self.stdout.write(str(finding))
            is_well = is_well and not finding.problem
        if not is_well:
            sys.exit(1)
