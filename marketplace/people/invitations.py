"""Invitations: somebody is asked into a workspace by a link that is mailed to them and kept as a hash.

Whoever has the link can read that mailbox; still only an account with that address may accept it, so that a
forwarded mail lets nobody else in.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction
from django.db.models import QuerySet, Sum
from django.utils import timezone

from marketplace import mail
from marketplace.models import Invitation, Membership, User, Workspace
from marketplace.people.members import Refused, acting, locked
from marketplace.people.roles import Act, Role, may

LIFETIME = timedelta(days=7)
RESEND_AFTER = timedelta(minutes=1)
MOST_SENT_A_DAY = 50  # mails of one workspace, and of one person from all of theirs: anybody can make some
MOST_PENDING = 50


class NoSuchInvitation(LookupError):
    """The link is unknown, was used, withdrawn, or has expired."""


class ForSomebodyElse(Exception):
    """The invitation is for another address than those of the account."""


Link = Callable[[str], str]  # the address of the page that a token opens


def invite(workspace: Workspace, email: str, role: str, *, by: User, link: Link) -> Invitation:
    """Ask the person with this address into the workspace, by mail. Asking again sends a new link.

    Raises Refused: for who may not, for members, for what is no address, and beyond the limits.
    """
    wanted, email = Role(role), email.strip().lower()
    try:
        validate_email(email)
    except ValidationError:
        raise Refused("That is not an email address.") from None
    with transaction.atomic():
        locked(workspace.pk)
        own = acting(workspace, by, Act.MEMBERS)
        if wanted == Role.OWNER and not may(own.role, Act.CLOSE):
            raise Refused("Only an owner makes somebody owner.")
        if Membership.objects.filter(workspace=workspace, user__email__iexact=email).exists():
            raise Refused(f"{email} is a member already.")
        known = pending(workspace).filter(email=email).first()
        if known is not None:
            known.role = wanted
            return _send(known, by=by, link=link)
        if pending(workspace).count() >= MOST_PENDING:
            raise Refused(f"{MOST_PENDING} invitations are open. Withdraw some first.")
        row = Invitation(workspace=workspace, email=email, role=wanted, sends=0)
        return _send(row, by=by, link=link)


def resend(workspace: Workspace, invitation: UUID, *, by: User, link: Link) -> Invitation:
    """Send a new link, good for another week; the old one stops working. Raises Refused, NoSuchInvitation."""
    with transaction.atomic():
        locked(workspace.pk)
        own = acting(workspace, by, Act.MEMBERS)
        row = _pending_one(workspace, invitation)
        if row.role == Role.OWNER and not may(own.role, Act.CLOSE):
            raise Refused("Only an owner makes somebody owner.")
        return _send(row, by=by, link=link)


def revoke(workspace: Workspace, invitation: UUID, *, by: User) -> Invitation:
    """Withdraw it: its link stops working. Raises Refused, NoSuchInvitation."""
    with transaction.atomic():
        locked(workspace.pk)
        acting(workspace, by, Act.MEMBERS)
        row = _pending_one(workspace, invitation)
        row.revoked_at = timezone.now()
        row.save(update_fields=["revoked_at"])
    return row


def revoke_all(workspace: Workspace) -> int:
    """Withdraw all that are open, in the caller's transaction. Returns how many."""
    return pending(workspace).update(revoked_at=timezone.now())


def pending(workspace: Workspace) -> QuerySet[Invitation]:
    """What was neither accepted nor withdrawn; some may have expired."""
    return Invitation.objects.filter(workspace=workspace, accepted_at=None, revoked_at=None)


def find(token: str) -> Invitation:
    """The open invitation that the link's token names, workspace and inviter selected. Raises NoSuchInvitation."""
    row = (
        Invitation.objects.select_related("workspace", "invited_by")
        .filter(token_sha256=_digest(token), accepted_at=None, revoked_at=None, workspace__closed_at=None)
        .first()
    )
    if row is None or row.is_expired:
        raise NoSuchInvitation("This invitation was used, withdrawn, or has expired.")
    return row


def is_for(invitation: Invitation, addresses: set[str]) -> bool:
    """Whether one of a person's addresses is the invited one."""
    return invitation.email in {address.lower() for address in addresses}


def accept(token: str, user: User, *, addresses: set[str]) -> Membership:
    """Make `user` a member, once. Who is one already keeps their role.

    `addresses` are the person's own. Raises NoSuchInvitation, ForSomebodyElse.
    """
    found = find(token)
    with transaction.atomic():
        locked(found.workspace_id)
        # The person before the invitation: the order in which an account is deleted with what it was asked into.
        person = User.objects.select_for_update(no_key=True).filter(pk=user.pk, closed_at=None).first()
        row = (
            Invitation.objects.select_for_update()
            .filter(pk=found.pk, token_sha256=_digest(token), accepted_at=None, revoked_at=None)
            .first()
        )
        if row is None or person is None:
            raise NoSuchInvitation("This invitation was used, withdrawn, or has expired.")
        if not is_for(row, addresses):
            raise ForSomebodyElse
        row.accepted_at = timezone.now()
        row.save(update_fields=["accepted_at"])
        membership, _ = Membership.objects.get_or_create(
            workspace_id=row.workspace_id, user=person, defaults={"role": row.role}
        )
    return membership


def place_by(token: str, user: User, *, addresses: set[str]) -> Membership | None:
    """The place that the link has given to `user` before, while they still have it: of two clicks the second finds it.
    None for everybody else."""
    row = Invitation.objects.filter(token_sha256=_digest(token), accepted_at__isnull=False).first()
    if row is None or not is_for(row, addresses):
        return None
    places = Membership.objects.select_related("workspace").filter(user=user, workspace__closed_at=None)
    return places.filter(workspace_id=row.workspace_id).first()


def _pending_one(workspace: Workspace, invitation: UUID) -> Invitation:
    found = pending(workspace).select_related("workspace").filter(public_id=invitation).first()
    if found is None:
        raise NoSuchInvitation("There is no such invitation.")
    return found


def _send(row: Invitation, *, by: User, link: Link) -> Invitation:
    """Give the row a new token and mail it, within the limits. The caller holds the workspace's lock."""
    now = timezone.now()
    if row.pk and now - row.sent_at < RESEND_AFTER:
        raise Refused("It was sent less than a minute ago. Wait a moment, then send it again.")
    today = Invitation.objects.filter(sent_at__gt=now - timedelta(days=1))
    for who, sent in (
        ("A workspace", today.filter(workspace=row.workspace)),
        ("A person", today.filter(invited_by=by)),
    ):
        if (sent.aggregate(sent=Sum("sends"))["sent"] or 0) >= MOST_SENT_A_DAY:
            raise Refused(f"{who} sends at most {MOST_SENT_A_DAY} invitations a day. Try again tomorrow.")
    token = secrets.token_urlsafe(32)
    row.token_sha256, row.sent_at, row.expires_at = _digest(token), now, now + LIFETIME
    row.invited_by, row.sends = by, row.sends + 1
    row.save()
    mail.post(
        row.email,
        subject=f"{by.get_short_name()} invites you to {row.workspace.name} on Vitrine",
        body=(
            f"{by.get_short_name()} ({by.email}) invites you to the workspace “{row.workspace.name}” "
            f"on Vitrine, as {Role(row.role).label.lower()}.\n\n"
            f"Accept it here:\n\n{link(token)}\n\n"
            f"The link works for {LIFETIME.days} days, for {row.email} only. "
            "If you do not expect it, ignore this mail: nothing happens.\n"
        ),
    )
    return row


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
