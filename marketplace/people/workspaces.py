"""Workspaces and the people in them: making them, and finding the one a person works in."""

from __future__ import annotations

import re
import secrets
import unicodedata

from django.db import IntegrityError, transaction
from django.db.models import Count, Exists, OuterRef
from django.utils.text import slugify

from marketplace.ids import ALPHABET
from marketplace.models import Membership, Publisher, User, Workspace

SLUG = re.compile(r"[a-z0-9][a-z0-9-]{1,38}")
SLUG_LENGTH = 39
NAME_LENGTH = 80
MOST_OWNED = 20  # workspaces that one person may own at a time
# First parts of addresses that are, or will be, the site's own; a test walks the URL map.
_RESERVED = """
accounts admin api assets dashboard docs fal healthz hf invitations library m media models openai
p publish robots s settings static staff stripe support v1 w workspaces ws www
"""
RESERVED = frozenset(_RESERVED.split())
# Letters and signs that are drawn as nothing: fillers of Hangul and the empty pattern of Braille.
_BLANK = "\u115f\u1160\u2800\u3164\uffa0"


class InvalidName(ValueError):
    """The name cannot be used; the message says what can."""


class TooMany(Exception):
    """The person owns as many workspaces as one may."""


def make_workspace(slug: str, *, name: str = "", owner: User | None = None) -> Workspace:
    """Make a workspace, with its owner as first member. Raises InvalidName for a slug that no address can carry."""
    if not SLUG.fullmatch(slug) or slug in RESERVED:
        raise InvalidName(
            f"{slug!r} is not a workspace name: 2 to 39 lower-case letters, digits and hyphens, "
            "starting with a letter or digit, and no word that the site itself uses"
        )
    with transaction.atomic():
        workspace = Workspace.objects.create(slug=slug, name=name or slug)
        if owner is not None:
            Membership.objects.create(workspace=workspace, user=owner, role=Membership.Role.OWNER)
    return workspace


def found_workspace(owner: User, *, name: str) -> Workspace:
    """Make a workspace of the owner's own, with a free slug that resembles its name. Raises InvalidName, TooMany."""
    name = clean_name(name)
    with transaction.atomic():
        # Locked, so that many at once are counted too, and nobody who leaves at this moment is left an owner.
        person = User.objects.select_for_update(no_key=True).filter(pk=owner.pk, closed_at=None).first()
        if person is None:
            raise InvalidName("This account was deleted.")
        if person.memberships.filter(role=Membership.Role.OWNER).count() >= MOST_OWNED:
            raise TooMany(f"You own {MOST_OWNED} workspaces, which is as many as one person may.")
        return _with_free_slug(name, person)


def _with_free_slug(name: str, owner: User) -> Workspace:
    stem = slugify(unicodedata.normalize("NFKD", name)).replace("_", "-").strip("-")[: SLUG_LENGTH - 7]
    stem = stem.strip("-")
    candidates = [stem] if SLUG.fullmatch(stem) and stem not in RESERVED else []
    stem = stem or "workspace"
    while True:
        slug = (
            candidates.pop()
            if candidates
            else f"{stem}-{''.join(secrets.choice(ALPHABET) for _ in range(6))}"
        )
        try:
            with transaction.atomic():
                return make_workspace(slug, name=name, owner=owner)
        except IntegrityError:  # taken, perhaps only now
            continue


def clean_name(name: str) -> str:
    """`name` as one line without what cannot be seen. Raises InvalidName when nothing or too much is left."""
    visible = "".join(" " if unicodedata.category(c)[0] == "C" or c in _BLANK else c for c in name)
    cleaned = " ".join(visible.split())
    if all(unicodedata.category(c)[0] == "M" for c in cleaned):  # marks on nothing, or nothing
        raise InvalidName("Give it a name.")
    if len(cleaned) > NAME_LENGTH:
        raise InvalidName(f"A name has at most {NAME_LENGTH} characters.")
    return cleaned


def change_workspace(workspace: Workspace, *, name: str, output_days: int | None) -> None:
    """Rename it and say how long its outputs are kept; those that exist keep their day. Raises InvalidName."""
    workspace.name, workspace.output_days = clean_name(name), output_days
    workspace.save(update_fields=["name", "output_days"])


def membership_of(user: User, chosen: str | None = None) -> Membership | None:
    """The place of `user` in the workspace they work in, which is selected with it.

    That is the workspace with the slug `chosen` if they are a member of it, else their first. Closed ones are gone.
    """
    mine = (
        user.memberships.filter(workspace__closed_at__isnull=True)
        .select_related("workspace")
        .order_by("created_at", "id")
    )
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


def memberships_of(user: User) -> list[Membership]:
    """Every place of `user`, oldest first, each with its workspace, how many people are in that, and whether it has the
    name of a publisher."""
    return list(
        user.memberships.filter(workspace__closed_at__isnull=True)
        .select_related("workspace")
        .annotate(
            people=Count("workspace__memberships"),
            publishes=Exists(Publisher.objects.filter(workspace=OuterRef("workspace"))),
        )
        .order_by("created_at", "id")
    )
