"""Mails to those of a workspace whom something concerns: a letter each, in the transaction that causes it."""

from __future__ import annotations

from collections.abc import Collection

from marketplace import mail
from marketplace.models import Workspace
from marketplace.people.roles import Act, may


def tell(workspace: Workspace, act: Act, *, subject: str, body: str, also: Collection[int] = ()) -> None:
    """Mail the members whose role allows `act`, and those by these user ids; nobody who cannot sign in any more."""
    members = workspace.memberships.select_related("user").filter(user__is_active=True).order_by("pk")
    for member in members:
        if member.user_id in also or may(member.role, act):
            mail.post(member.user.email, subject=subject, body=body)
