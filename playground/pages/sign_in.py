"""The sign-in form, at a pace at which nobody guesses a password or keeps the site busy with checking some.

A check costs most of a second of a core. Attempts are counted in Redis for all web processes together, before a
password is looked at; without Redis only the number of checks at a time is held down.
"""

from __future__ import annotations

import hashlib
import threading
import time
from typing import Any

import redis
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView
from django.core.exceptions import ValidationError

from marketplace.dispatch import redis_client

WINDOW_SECONDS = 60
ATTEMPTS_PER_ADDRESS = 20
ATTEMPTS_PER_EMAIL = 60  # above an address's, so that one stranger alone cannot lock somebody out
CHECKS_AT_ONCE = 3  # in this process; its other threads go on serving

_checks = threading.BoundedSemaphore(CHECKS_AT_ONCE)


class SignIn(AuthenticationForm):
    """Email and password. `is_held_up` tells an attempt that came too fast from one that was wrong."""

    is_held_up = False

    def clean(self) -> dict[str, Any]:
        address = self.request.META.get("REMOTE_ADDR", "") if self.request is not None else ""
        if not _is_allowed(address, self.cleaned_data.get("username") or ""):
            raise self._held_up()
        if not _checks.acquire(blocking=False):
            raise self._held_up()
        try:
            return super().clean()
        finally:
            _checks.release()

    def _held_up(self) -> ValidationError:
        self.is_held_up = True
        return ValidationError("Too many attempts. Wait a minute, then try again.", code="throttled")


sign_in = LoginView.as_view(template_name="accounts/login.html", authentication_form=SignIn)


def _is_allowed(address: str, email: str) -> bool:
    """Count one attempt of both; whether neither has had too many within the minute."""
    window = int(time.time()) // WINDOW_SECONDS
    person = hashlib.sha256(email.strip().lower().encode()).hexdigest()[:32]
    try:
        pipe = redis_client().pipeline(transaction=False)
        for name in (f"sign-in:address:{address}:{window}", f"sign-in:email:{person}:{window}"):
            pipe.incr(name)
            pipe.expire(name, 2 * WINDOW_SECONDS)
        by_address, _, by_email, _ = pipe.execute()
    except redis.RedisError:
        return True
    return int(by_address) <= ATTEMPTS_PER_ADDRESS and int(by_email) <= ATTEMPTS_PER_EMAIL
