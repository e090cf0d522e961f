"""`manage.py ledger verify`: the books checked against themselves."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing import ledger


class Command(BaseCommand):
    help = "Checks that every sum in the ledger agrees; exits with an error that lists what does not."
    requires_system_checks = ()  # the audit answers even where the rest of the site does not

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=["verify"])

    def handle(self, *args: Any, **options: Any) -> None:
        problems = ledger.verify()
        if problems:
            lines = "\n".join(f"  {problem.check}: {problem.detail}" for problem in problems[:100])
            raise CommandError(f"{len(problems)} problems in the ledger\n{lines}")
        self.stdout.write(self.style.SUCCESS("The ledger is clean."))
