"""What a member may do in a workspace: one table, asked by pages, API and socket alike."""

from __future__ import annotations

from enum import StrEnum

from marketplace.models import Membership

Role = Membership.Role


class Act(StrEnum):
    """What can be allowed in a workspace, and refused."""

    SEE = "see"  # runs with their receipts and media, and usage
    RUN = "run"  # run, cancel, upload, share and delete runs
    KEYS = "keys"
    WEBHOOKS = "webhooks"
    PUBLISH = "publish"  # put models on the shelf, describe, price and pause them
    PUBLISHER = "publisher"  # open the workspace's publisher, rename and close it
    BILLING = "billing"  # credit and spend limits
    MEMBERS = "members"  # invite, remove, change roles
    SETTINGS = "settings"  # name, retention
    CLOSE = "close"  # delete the workspace, make others owner


_DEVELOPER = frozenset({Act.SEE, Act.RUN, Act.KEYS, Act.WEBHOOKS, Act.PUBLISH})
ALLOWED: dict[Role, frozenset[Act]] = {
    Role.OWNER: frozenset(Act),
    Role.ADMIN: frozenset(Act) - {Act.CLOSE},
    Role.DEVELOPER: _DEVELOPER,
    Role.BILLING: frozenset({Act.SEE, Act.BILLING}),
}


def may(role: str, act: Act) -> bool:
    """Whether a member with `role` may do `act`."""
    return act in ALLOWED[Role(role)]


def who_may(act: Act) -> list[Role]:
    """The roles that may do `act`, most powerful first: for the page that refuses."""
    return [role for role in Role if act in ALLOWED[role]]
