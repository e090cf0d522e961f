"""Put back what `backup` wrote."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from marketplace.host import embedded
from marketplace.host.backup import Database, restore_backup
from marketplace.host.places import Places
from marketplace.host.supervisor import sole


class Command(BaseCommand):
    help = "Put back what `backup` wrote. Vitrine must be stopped; with other servers, stop its processes everywhere."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument(
            "--force", action="store_true", help="replace what the database and the media folder hold"
        )

    def handle(self, *args: Any, file: Path, force: bool, **options: Any) -> None:
        places = Places.configured()
        places.prepare()
        with contextlib.ExitStack() as stack:
            stack.enter_context(sole(places))
            if not os.environ.get("DATABASE_URL", "").strip():
                stack.enter_context(embedded.running(places, with_redis=False))
            count = restore_backup(
                file,
                database=Database.of(settings.DATABASES["default"]),
                places=places,
                media=None if settings.MEDIA_BUCKET else Path(settings.MEDIA_ROOT),
                force=force,
            )
            # Queued messages speak of rows that are gone; what is due is found again in the database.
            shutil.rmtree(places.redis, ignore_errors=True)
        self.stdout.write(
            f"restored {count} files from {file}; `manage.py dev` brings them up to this version"
        )
        if os.environ.get("REDIS_URL", "").strip():
            self.stdout.write(
                "Now empty the database of REDIS_URL: its messages speak of rows that are gone."
            )
