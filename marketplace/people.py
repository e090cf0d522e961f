"""Workspaces and the people in them: making them, and finding the one a person works in."""

from __future__ import annotations

import re

from django.db import transaction

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


def workspace_of(user: User, chosen: str | None = None) -> Workspace | None:
    """The workspace `user` works in: the chosen slug if they are a member of it, else their first."""
    mine = Workspace.objects.filter(memberships__user=user).order_by("memberships__created_at")
    if chosen:
        found = mine.filter(slug=chosen).first()
        if found is not None:
            return found
    return mine.first()
