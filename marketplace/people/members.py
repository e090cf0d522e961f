"""The members of a workspace: changing roles, removing, leaving. A workspace with people always has an owner.

Every change locks the workspace first and looks again at who acts, so that of two changes at once the second sees the
first: two owners cannot demote each other, and nobody acts by a role that they have just lost.
"""

from __future__ import annotations

from uuid import UUID

from django.db import transaction

from marketplace.models import Membership, User, Workspace
from marketplace.people.roles import Act, Role, may


class Refused(Exception):
    """The change is not allowed; the message says why and what to do, for the person who asked."""


class NoSuchMember(LookupError):
    """Nobody of the workspace is meant."""


LAST_OWNER = (
    "A workspace needs an owner, and this is the last one. Make somebody else owner first, "
    "or delete the workspace."
)


def locked(workspace_id: int) -> Workspace:
    """The workspace, locked for the present transaction. Raises NoSuchMember when it was closed.

    Runs that are being accepted are waited for, and new ones wait; what is being settled does not.
    """
    found = Workspace.objects.select_for_update(no_key=True).filter(pk=workspace_id, closed_at=None).first()
    if found is None:
        raise NoSuchMember("There is no such workspace.")
    return found


def acting(workspace: Workspace, user: User, act: Act) -> Membership:
    """The place of who acts, as it is now. Raises Refused unless its role allows `act`."""
    own = Membership.objects.filter(workspace=workspace, user=user).first()
    if own is None or not may(own.role, act):
        raise Refused("Your role in this workspace does not allow that any more.")
    return own


def change_role(workspace: Workspace, member: UUID, role: str, *, by: User) -> Membership:
    """Give the member `role`. Only owners make owners and unmake them. Raises Refused, NoSuchMember."""
    wanted = Role(role)
    with transaction.atomic():
        locked(workspace.pk)
        own = acting(workspace, by, Act.MEMBERS)
        place = _place(workspace, member)
        if place.role == wanted:
            return place
        _owners_business(own, place.role, wanted)
        if place.role == Role.OWNER:
            _another_owner(workspace, place)
        place.role = wanted
        place.save(update_fields=["role"])
    return place


def remove(workspace: Workspace, member: UUID, *, by: User) -> Membership:
    """Take the member out of the workspace. Raises Refused, NoSuchMember."""
    with transaction.atomic():
        locked(workspace.pk)
        own = acting(workspace, by, Act.MEMBERS)
        place = _place(workspace, member)
        _owners_business(own, place.role)
        if place.role == Role.OWNER:
            _another_owner(workspace, place)
        place.delete()
    return place


def leave(workspace: Workspace, user: User) -> None:
    """Go. Raises Refused for the last owner, NoSuchMember for who is no member."""
    with transaction.atomic():
        locked(workspace.pk)
        place = _place(workspace, user.public_id)
        if place.role == Role.OWNER:
            _another_owner(workspace, place)
        place.delete()


def _place(workspace: Workspace, member: UUID) -> Membership:
    found = (
        Membership.objects.select_related("user").filter(workspace=workspace, user__public_id=member).first()
    )
    if found is None:
        raise NoSuchMember("There is no such member in this workspace.")
    return found


def _owners_business(own: Membership, *roles: str) -> None:
    if Role.OWNER in roles and not may(own.role, Act.CLOSE):
        raise Refused("Only an owner makes somebody owner, or takes that away.")


def _another_owner(workspace: Workspace, place: Membership) -> None:
    others = Membership.objects.filter(workspace=workspace, role=Role.OWNER).exclude(pk=place.pk)
    if not others.exists():
        raise Refused(LAST_OWNER)
