"""Make somebody staff."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from marketplace.models import User


class Command(BaseCommand):
    help = "Make the user with this e-mail address staff."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("email", metavar="EMAIL")

    def handle(self, *args: Any, **options: Any) -> None:
        email: str = options["email"].strip()
        user = User.objects.filter(email__iexact=email).first()
        if user is None:
            raise CommandError(f"nobody signs in as {email!r}; they must sign up first")
        if user.is_staff:
            self.stdout.write(f"{user.email} is staff already.")
            return
        user.is_staff = True
        user.save(update_fields=["is_staff"])
        self.stdout.write(f"{user.email} is staff now.")
