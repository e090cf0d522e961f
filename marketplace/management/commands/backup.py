"""Write database, media and secrets to one file; nothing has to stop for it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from marketplace.host import embedded, run
from marketplace.host.backup import Database, write_backup
from marketplace.host.places import Places
from marketplace.host.supervisor import sole


class Command(BaseCommand):
    help = (
        "Write database, media and secrets to one file. Keep it private: it opens every session and address."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)

    def handle(self, *args: Any, file: Path, **options: Any) -> None:
        places = Places.configured()
        places.prepare()
        with contextlib.ExitStack() as stack:
            if not os.environ.get("DATABASE_URL", "").strip() and not run.is_running(places):
                stack.enter_context(sole(places))
                stack.enter_context(embedded.running(places, with_redis=False))
            count = write_backup(
                file.absolute(),
                database=Database.of(settings.DATABASES["default"]),
                places=places,
                media=None if settings.MEDIA_BUCKET else Path(settings.MEDIA_ROOT),
            )
        self.stdout.write(f"{file}: {count} files, {file.stat().st_size / 1e6:.1f} MB")
