"""A person's account: its name, the addresses it goes by, and forgetting who it was."""

from __future__ import annotations

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.utils import timezone

from marketplace.ids import encode
from marketplace.models import Invitation, User
from marketplace.people.workspaces import clean_name


def change_name(user: User, name: str) -> None:
    """Say how the person is called; nothing is fine. Raises InvalidName."""
    user.name = clean_name(name) if name.strip() else ""
    user.save(update_fields=["name"])


def addresses_of(user: User) -> set[str]:
    """The e-mail addresses by which the person signs in: their own, and none that they are only changing to."""
    proved = EmailAddress.objects.filter(user=user, verified=True).values_list("email", flat=True)
    return {user.email.lower(), *(address.lower() for address in proved)}


def is_verified(user: User) -> bool:
    """Whether the address that the person signs in by was proved to be theirs."""
    return EmailAddress.objects.filter(user=user, verified=True, email__iexact=user.email).exists()


def verify(user: User) -> None:
    """Note that the person's address is theirs: for those whom the installation itself makes."""
    EmailAddress.objects.update_or_create(
        user=user, email=user.email.lower(), defaults={"verified": True, "primary": True}
    )


def forget(user: User) -> None:
    """Make the account nobody's, in the caller's transaction: no name, address, password, second factor or session.

    The row stays, as runs and receipts name it. The address is free again.
    """
    email = user.email
    Invitation.objects.filter(email__iexact=email).delete()
    EmailAddress.objects.filter(user=user).delete()
    Authenticator.objects.filter(user=user).delete()
    for session in UserSession.objects.filter(user=user):
        session.end()
    user.email = f"deleted-{encode(user.public_id)}@deleted.invalid"
    user.name = ""
    user.is_active = user.is_staff = user.is_superuser = False
    user.closed_at = timezone.now()
    user.set_unusable_password()  # which ends the sessions that are left, too
    user.save()
