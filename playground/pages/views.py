"""Every page by the name that the URL map uses."""

from __future__ import annotations

from playground.pages.account import account_delete, invitation, profile
from playground.pages.gallery import gallery
from playground.pages.mailbox import letter, mailbox
from playground.pages.members import (
    invitation_resend,
    invitation_revoke,
    invite,
    leave,
    member_remove,
    member_role,
    members,
)
from playground.pages.playground import estimate, model, model_api, model_readme, model_runs, run
from playground.pages.runs import again, balance, cancel, history, prediction, prediction_card
from playground.pages.site import healthz
from playground.pages.workspaces import (
    switch,
    workspace_delete,
    workspace_new,
    workspace_settings,
    workspaces,
)

__all__ = [
    "account_delete",
    "again",
    "balance",
    "cancel",
    "estimate",
    "gallery",
    "healthz",
    "history",
    "invitation",
    "invitation_resend",
    "invitation_revoke",
    "invite",
    "leave",
    "letter",
    "mailbox",
    "member_remove",
    "member_role",
    "members",
    "model",
    "model_api",
    "model_readme",
    "model_runs",
    "prediction",
    "prediction_card",
    "profile",
    "run",
    "switch",
    "workspace_delete",
    "workspace_new",
    "workspace_settings",
    "workspaces",
]
