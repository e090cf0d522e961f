"""Let somebody in who has lost their phone and their recovery codes."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from allauth.mfa.models import Authenticator
from django.core.management.base import BaseCommand, CommandError

from marketplace.models import User


class Command(BaseCommand):
    help = "Switch the second factor of this user off. Make sure first that it is they who ask."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("email", metavar="EMAIL")

    def handle(self, *args: Any, **options: Any) -> None:
        email: str = options["email"].strip()
        user = User.objects.filter(email__iexact=email).first()
        if user is None:
            raise CommandError(f"nobody signs in as {email!r}")
        removed, _ = Authenticator.objects.filter(user=user).delete()
        said = "is off" if removed else "was not on"
        self.stdout.write(f"The second factor of {user.email} {said}.")
