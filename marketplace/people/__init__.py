"""Workspaces, the people in them, what each may do there, and how they come and go."""

from __future__ import annotations

from marketplace.people.accounts import addresses_of, change_name, forget, is_verified, verify
from marketplace.people.invitations import (
    ForSomebodyElse,
    NoSuchInvitation,
    accept,
    invite,
    is_for,
    pending,
    place_by,
    resend,
    revoke,
    revoke_all,
)
from marketplace.people.invitations import find as find_invitation
from marketplace.people.members import NoSuchMember, Refused, acting, change_role, leave, locked, remove
from marketplace.people.roles import Act, may, who_may
from marketplace.people.telling import tell
from marketplace.people.workspaces import (
    InvalidName,
    TooMany,
    change_workspace,
    count_roles,
    found_workspace,
    make_workspace,
    membership_of,
    memberships_of,
    workspace_of,
)

__all__ = [
    "Act",
    "ForSomebodyElse",
    "InvalidName",
    "NoSuchInvitation",
    "NoSuchMember",
    "Refused",
    "TooMany",
    "accept",
    "acting",
    "addresses_of",
    "change_name",
    "change_role",
    "change_workspace",
    "count_roles",
    "find_invitation",
    "forget",
    "found_workspace",
    "invite",
    "is_for",
    "is_verified",
    "leave",
    "locked",
    "make_workspace",
    "may",
    "membership_of",
    "memberships_of",
    "pending",
    "place_by",
    "remove",
    "resend",
    "revoke",
    "revoke_all",
    "tell",
    "verify",
    "who_may",
    "workspace_of",
]
