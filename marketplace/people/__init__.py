"""Workspaces, the people in them, and what each may do there."""

from __future__ import annotations

from marketplace.people.roles import Act, may, who_may
from marketplace.people.workspaces import (
    InvalidName,
    count_roles,
    make_workspace,
    membership_of,
    workspace_of,
)

__all__ = [
    "Act",
    "InvalidName",
    "count_roles",
    "make_workspace",
    "may",
    "membership_of",
    "who_may",
    "workspace_of",
]
