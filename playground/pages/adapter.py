"""What django-allauth asks of the house: who may sign up, how mail leaves, how hard a password may be guessed at."""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import quote

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.models import EmailAddress, EmailConfirmation
from allauth.core import context
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.core.ratelimit import respond_429
from allauth.mfa.adapter import DefaultMFAAdapter
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ImproperlyConfigured, PermissionDenied, ValidationError
from django.forms import BaseForm
from django.http import HttpRequest
from django.urls import reverse

from marketplace import mail, people
from marketplace.models import User
from playground import arrivals
from playground.pages.sign_in import SignUp, checking, count_attempt
from playground.pages.tags import dollars

INVITATION = "invitation"  # in the session: the token of the invitation that somebody came with
LONGEST_EMAIL = 254
NOWHERE = "0.0.0.0"  # noqa: S104 - an address to write down where there is none, as of a socket file


class Accounts(DefaultAccountAdapter):
    """The adapter that the settings name."""

    error_messages = DefaultAccountAdapter.error_messages | {
        "email_password_mismatch": "Email and password do not match. The password is case-sensitive.",
        "email_taken": "There is an account with this address already.",
        "enter_current_password": "This is not your password.",
        "incorrect_password": "This is not your password.",
        "incorrect_code": "This code is not right, or no longer.",
        "duplicate_email": "This is your address already.",
    }

    def get_client_ip(self, request: HttpRequest) -> str:
        try:
            return str(super().get_client_ip(request))
        except (
            PermissionDenied,
            ImproperlyConfigured,
        ):  # a socket file, or a header that no proxy of ours wrote
            return request.META.get("REMOTE_ADDR") or NOWHERE

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return bool(settings.SIGNUP_OPEN) or _invited(request) is not None

    def is_email_verified(self, request: HttpRequest, email: str) -> bool:
        """Whoever came with the link of an invitation reads the mailbox that it was sent to."""
        return _invited(request) == email.lower() or bool(super().is_email_verified(request, email))

    def clean_email(self, email: str) -> str:
        if len(email) > LONGEST_EMAIL:
            raise ValidationError(f"An address has at most {LONGEST_EMAIL} characters.", code="max_length")
        return email

    def save_user(
        self, request: HttpRequest, user: AbstractBaseUser, form: BaseForm, commit: Any = None
    ) -> User:
        data = form.cleaned_data
        return User.objects.create_user(
            data["email"], name=data.get("name", ""), hashed=cast("SignUp", form).hashed
        )

    def set_password(self, user: AbstractBaseUser, password: str) -> None:
        try:
            with checking():
                super().set_password(user, password)
        except ValidationError:
            raise ImmediateHttpResponse(respond_429(context.request)) from None

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        count_attempt(self.get_client_ip(request), credentials.get("email", ""))

    def authenticate(self, request: HttpRequest, **credentials: Any) -> AbstractBaseUser | None:
        with checking():
            return super().authenticate(request, **credentials)

    def login(self, request: HttpRequest, user: AbstractBaseUser) -> None:
        super().login(request, user)
        made, granted = arrivals.welcome(cast("User", user))
        if made is None:
            return
        told = ["Welcome."]
        if granted:
            told.append(f"{dollars(granted)} of credit is yours to start with.")
        if not EmailAddress.objects.filter(user_id=user.pk, verified=True).exists():
            told.append(
                f"A link went to {cast('User', user).email}: open it, so that we know the address is yours."
            )
        if len(told) > 1:
            self.add_message(request, messages.SUCCESS, message=" ".join(told))

    def confirm_email(self, request: HttpRequest, email_address: EmailAddress) -> bool:
        others = User.objects.filter(email__iexact=email_address.email).exclude(pk=email_address.user_id)
        if others.exists():
            text = (
                f"Another account uses {email_address.email}. It is yours by asking for a new password there."
            )
            self.add_message(request, messages.ERROR, message=text)
            return False
        return bool(super().confirm_email(request, email_address))

    # Links in mails lead to the site's own address: the Host of a request is what any stranger writes there, and who
    # asks for somebody's new password must not choose the port that its link goes to.

    def get_reset_password_from_key_url(self, key: str) -> str:
        path = reverse("account_reset_password_from_key", kwargs={"uidb36": "UID", "key": "KEY"})
        return settings.PUBLIC_URL + path.replace("UID-KEY", quote(key))

    def get_email_confirmation_url(self, request: HttpRequest, emailconfirmation: EmailConfirmation) -> str:
        return settings.PUBLIC_URL + reverse("account_confirm_email", args=[emailconfirmation.key])

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        message = self.render_mail(
            template_prefix, email, {"email": email, "site": settings.PUBLIC_URL, **context}
        )
        mail.post(email, subject=str(message.subject), body=f"{message.body}\n")


class SecondFactors(DefaultMFAAdapter):
    """What the second factor says."""

    error_messages = DefaultMFAAdapter.error_messages | {
        "incorrect_code": "This code is not right, or no longer.",
        "unverified_email": "Confirm your email address first: it is the way back in.",
    }


def _invited(request: HttpRequest) -> str | None:
    """The address of the open invitation that this visitor came with."""
    token = request.session.get(INVITATION, "")
    if not token:
        return None
    try:
        return people.find_invitation(token).email
    except people.NoSuchInvitation:
        return None
