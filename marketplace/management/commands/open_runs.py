"""`manage.py open_runs WORKSPACE [NUMBER]`: how many runs a workspace may have open at once."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from marketplace.models import Workspace

LARGEST = 1_000_000


class Command(BaseCommand):
    help = (
        "Say how many runs WORKSPACE may have open at once, queued or running: a number, 0 for any, or `default` for "
        "what the installation says. Without it, print what holds."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("workspace", metavar="WORKSPACE", help="its slug")
        parser.add_argument("number", metavar="NUMBER", nargs="?", help="a whole number, or default")

    def handle(self, *args: Any, **options: Any) -> None:
        row = Workspace.objects.open().filter(slug=options["workspace"]).first()
        if row is None:
            raise CommandError(f"There is no workspace {options['workspace']!r}.")
        if options["number"] is not None:
            row.max_open_runs = _number(options["number"])
            row.save(update_fields=["max_open_runs"])
        most = settings.MAX_OPEN_RUNS if row.max_open_runs is None else row.max_open_runs
        source = "as the installation says" if row.max_open_runs is None else "of its own"
        self.stdout.write(f"{row.slug}: {f'{most:,}' if most else 'any number'} ({source})")


def _number(text: str) -> int | None:
    """A number of runs; None for the installation's. Raises CommandError."""
    if text == "default":
        return None
    if not (text.isascii() and text.isdigit()) or int(text[:9]) > LARGEST or len(text) > len(str(LARGEST)):
        raise CommandError(f"NUMBER must be a whole number up to {LARGEST:,}, or default, not {text!r}")
    return int(text)
