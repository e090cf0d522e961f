"""The forms of the door, at a pace at which nobody guesses a password or a code, or keeps the site busy with hashing.

A password check costs most of a second of a core, so only a few run at a time in a process. Attempts are counted for
all processes together before a password is looked at; without Redis only the number of checks at a time is held down.
A second factor is six digits and cheap to check: without Redis none is accepted.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from allauth.account.adapter import get_adapter
from allauth.account.forms import LoginForm, SignupForm
from allauth.account.models import EmailAddress
from allauth.core import context
from allauth.mfa.base.forms import AuthenticateForm, BaseAuthenticateForm, ReauthenticateForm
from django import forms
from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.core.cache import cache
from django.core.exceptions import ValidationError

from marketplace.models import User
from marketplace.people.workspaces import NAME_LENGTH, InvalidName, clean_name
from playground import arrivals
from playground.pages import attempts

WINDOW_SECONDS = 60
ATTEMPTS_PER_ADDRESS = 20
ATTEMPTS_PER_EMAIL = 60  # above an address's, so that one stranger alone cannot lock somebody out
CHECKS_AT_ONCE = 3  # in this process; its other threads go on serving
CODE_WINDOW_SECONDS = 300
CODES_PER_PERSON = 5  # whoever is asked for a code has given the password
CODE_IS_KNOWN_SECONDS = 180  # longer than a code is accepted
DAY_SECONDS = 24 * 3600

_checks = threading.BoundedSemaphore(CHECKS_AT_ONCE)


@contextlib.contextmanager
def checking() -> Iterator[None]:
    """Hash inside, few at a time in this process. Raises ValidationError at once where there is no room."""
    if not _checks.acquire(blocking=False):
        raise too_many()
    try:
        yield
    finally:
        _checks.release()


def too_many() -> ValidationError:
    """The error of an attempt that came too fast."""
    return ValidationError("Too many attempts. Wait a minute, then try again.", code="throttled")


def count_attempt(address: str, email: str) -> None:
    """Count one attempt to sign in. Raises ValidationError beyond the limits; without Redis there are none."""
    limits = {
        # Of IPv6 a household has more addresses than there are passwords.
        f"address:{arrivals.network_of(address)}": ATTEMPTS_PER_ADDRESS,
        f"email:{attempts.trace(email)}": ATTEMPTS_PER_EMAIL,
    }
    with contextlib.suppress(attempts.CannotCount):
        if not attempts.are_allowed(limits, window_seconds=WINDOW_SECONDS):
            raise too_many()


class SignIn(LoginForm):
    """Email and password. `is_held_up` tells an attempt that came too fast from one that was wrong."""

    @property
    def is_held_up(self) -> bool:
        return self.has_error("__all__", "throttled")


class SignUp(SignupForm):
    """Email, password, and a name if one likes.

    `hashed` is the password as it is kept. It is made for an address that has an account too, so that how long an
    answer takes does not tell who has one.
    """

    hashed = ""
    name = forms.CharField(required=False, max_length=NAME_LENGTH)

    def clean_name(self) -> str:
        name: str = self.cleaned_data.get("name", "")
        try:
            return clean_name(name) if name.strip() else ""
        except InvalidName as error:
            raise ValidationError(str(error)) from None

    def validate_unique_email(self, value: str) -> str:
        """An address is taken by who proved it or signs in by it; that somebody else only claims it harms nobody."""
        proved = EmailAddress.objects.filter(email=value, verified=True).exists()
        self.account_already_exists = proved or User.objects.filter(email__iexact=value).exists()
        if self.account_already_exists and settings.ACCOUNT_EMAIL_VERIFICATION != "mandatory":
            # Whoever signs up is let in at once here, so there is no way of not telling.
            raise ValidationError(
                "There is an account with this address already. Sign in, or ask for a new password.",
                code="taken",
            )
        return value

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean()
        if not self.errors:
            self._count()
            with checking():
                self.hashed = make_password(cleaned["password1"])
        return cleaned

    def _count(self) -> None:
        most = int(settings.SIGNUPS_PER_DAY)
        network = arrivals.network_of(get_adapter().get_client_ip(context.request))
        limits = {f"sign-up:{network}": most}
        with contextlib.suppress(attempts.CannotCount):
            if most > 0 and not attempts.are_allowed(limits, window_seconds=DAY_SECONDS):
                text = "Many accounts were made from your network today. Try again tomorrow."
                raise ValidationError(text, code="throttled")


class _Code(BaseAuthenticateForm):
    """A code of the second factor: five tries in five minutes, and each code once."""

    def clean_code(self) -> str:
        limits = {f"code:{self.user.pk}": CODES_PER_PERSON}
        try:
            allowed = attempts.are_allowed(limits, window_seconds=CODE_WINDOW_SECONDS)
        except attempts.CannotCount:
            raise ValidationError("Codes cannot be checked at this moment. Try again soon.") from None
        if not allowed:
            raise ValidationError("Too many codes. Wait five minutes, then try again.", code="throttled")
        code: str = super().clean_code()
        digits = "".join(filter(str.isalnum, code.lower()))
        if not cache.add(f"second-factor:{self.user.pk}:{digits}", 1, timeout=CODE_IS_KNOWN_SECONDS):
            raise ValidationError("This code was used already. Wait for the next one.")
        return code


class SecondFactor(_Code, AuthenticateForm):
    """At the sign-in."""


class SecondFactorAgain(_Code, ReauthenticateForm):
    """Before something that needs a fresh proof."""
