"""Workspaces and the people in them: making them, and finding the one a person works in."""

from __future__ import annotations

import re

from django.db import transaction
from django.db.models import Count

from marketplace.models import Membership, User, Workspace

SLUG = re.compile(r"[a-z0-9][a-z0-9-]{1,38}")


class InvalidName(ValueError):
    """The name cannot be used; the message says what can."""


def make_workspace(slug: str, *, name: str = "", owner: User | None = None) -> Workspace:
    """Make a workspace, with its owner as first member. Raises InvalidName for a slug that no address can carry."""
    if not SLUG.fullmatch(slug):
        raise InvalidName(
            f"{slug!r} is not a workspace name: 2 to 39 lower-case letters, digits and hyphens, "
            "starting with a letter or digit"
        )
    with transaction.atomic():
        workspace = Workspace.objects.create(slug=slug, name=name or slug)
        if owner is not None:
            Membership.objects.create(workspace=workspace, user=owner, role=Membership.Role.OWNER)
    return workspace


def membership_of(user: User, chosen: str | None = None) -> Membership | None:
    """The place of `user` in the workspace they work in, which is selected with it.

    That is the workspace with the slug `chosen` if they are a member of it, else their first.
    """
    mine = user.memberships.select_related("workspace").order_by("created_at", "id")
    if chosen:
        found = mine.filter(workspace__slug=chosen).first()
        if found is not None:
            return found
    return mine.first()


def count_roles(workspace: Workspace) -> dict[str, int]:
    """How many people have each role in the workspace; roles that nobody has are left out."""
    found = workspace.memberships.order_by().values_list("role").annotate(count=Count("pk"))
    counts = dict(found)
    return {role: counts[role] for role in Membership.Role.values if role in counts}


def workspace_of(user: User, chosen: str | None = None) -> Workspace | None:
    """The workspace that `user` works in, see `membership_of`."""
    membership = membership_of(user, chosen)
    return membership.workspace if membership is not None else None
