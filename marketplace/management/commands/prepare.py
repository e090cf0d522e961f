"""Make database and static files ready for this version: `migrate`, `collectstatic`, `seed`."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command, get_commands
from django.core.management.base import BaseCommand

from marketplace.host.places import Places


class Command(BaseCommand):
    help = "Make database and static files ready for this version; again is quick and changes nothing."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate", interactive=False, verbosity=0)
        _collect_static(Path(settings.STATIC_ROOT))
        if "seed" in get_commands():
            _seed(Places.configured())


def _collect_static(root: Path) -> None:
    """Collect and compress the static files, unless they are the ones that were collected last."""
    mark = hashlib.sha256()
    for finder in get_finders():
        for name, storage in finder.list([]):
            found = Path(storage.path(name)).stat()
            mark.update(f"{name}\0{found.st_size}\0{found.st_mtime_ns}\n".encode())
    note = root / ".collected"
    if note.exists() and note.read_text(encoding="ascii") == mark.hexdigest():
        return
    call_command("collectstatic", interactive=False, verbosity=0)
    note.write_text(mark.hexdigest(), encoding="ascii")


def _seed(places: Places) -> None:
    """Seed, and keep how to get in for the supervisor to print, where only this user reads it."""
    out = io.StringIO()
    call_command("seed", "--print", stdout=out)
    with open(places.demo, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(out.getvalue())
