"""Make an API key for a workspace, and the workspace with its credit where it is missing."""

from __future__ import annotations

from argparse import ArgumentParser
from decimal import Decimal, InvalidOperation
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection, transaction

from billing import ledger
from marketplace import keys, people
from marketplace.ids import uuid7
from marketplace.models import Workspace

MICROS = 1_000_000
MAX_CREDIT_USD = 1_000_000


class Command(BaseCommand):
    help = "Make an API key for WORKSPACE and print it alone on the last line. A missing workspace is made."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "workspace", metavar="WORKSPACE", help="its slug: lower-case letters, digits, hyphens"
        )
        parser.add_argument(
            "--credit", metavar="USD", help="credit to grant, for example 12.50; a new workspace has no other"
        )

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:
        slug: str = options["workspace"]
        micros = _micros(options["credit"])
        with connection.cursor() as cursor:  # the same new name, typed twice at once
            cursor.execute("SELECT pg_advisory_xact_lock(hashtext('vitrine workspace ' || %s))", [slug])
        workspace = Workspace.objects.filter(slug=slug).first()
        if workspace is None:
            try:
                workspace = people.make_workspace(slug)
            except people.InvalidName as error:
                raise CommandError(str(error)) from None
            self.stderr.write(f"Made the workspace {slug}.")
        ledger.open_workspace(workspace.pk)
        if micros:
            ledger.credit(
                workspace.pk, micros, key=f"promo:create_key:{uuid7()}", note="manage.py create_key"
            )
            self.stderr.write(f"Granted {micros:,} micro-dollars.")
        _, text = keys.make(workspace, name="manage.py create_key")
        self.stdout.write(text)


def _micros(text: str | None) -> int:
    """An amount in USD as micro-dollars. Raises CommandError."""
    if text is None:
        return 0
    problem = CommandError(
        f"--credit must be an amount in USD from 0 to {MAX_CREDIT_USD:,} with at most 6 decimals, not {text!r}"
    )
    try:
        amount = Decimal(text.strip())
    except InvalidOperation:
        raise problem from None
    if not amount.is_finite() or not 0 <= amount <= MAX_CREDIT_USD or amount * MICROS % 1:
        raise problem
    return int(amount * MICROS)
