"""Every page by the name that the URL map uses."""

from __future__ import annotations

from playground.pages.account import account_delete, invitation, profile
from playground.pages.acts import prediction_acts, prediction_example, prediction_zip
from playground.pages.components import components
from playground.pages.gallery import gallery
from playground.pages.history import (
    history,
    history_cancel,
    history_delete,
    history_download,
    history_export,
    history_rows,
    history_undo,
)
from playground.pages.history_all import history_all
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
from playground.pages.model_tabs import model_examples, model_readme, model_versions
from playground.pages.playground import estimate, model, model_form, model_runs, run
from playground.pages.runs import again, balance, cancel, delete, prediction, prediction_card, receipt
from playground.pages.sessions import session_end, sessions
from playground.pages.sharing import revoke, share, shared, shared_media
from playground.pages.site import healthz
from playground.pages.webhooks import (
    delivery,
    redeliver,
    request_deliveries,
    request_delivery,
    request_redeliver,
    request_secret,
    webhook,
    webhook_act,
    webhooks,
)
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
    "components",
    "delete",
    "delivery",
    "estimate",
    "gallery",
    "healthz",
    "history",
    "history_all",
    "history_cancel",
    "history_delete",
    "history_download",
    "history_export",
    "history_rows",
    "history_undo",
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
    "model_examples",
    "model_form",
    "model_readme",
    "model_runs",
    "model_versions",
    "prediction",
    "prediction_acts",
    "prediction_card",
    "prediction_example",
    "prediction_zip",
    "profile",
    "receipt",
    "redeliver",
    "request_deliveries",
    "request_delivery",
    "request_redeliver",
    "request_secret",
    "revoke",
    "run",
    "session_end",
    "sessions",
    "share",
    "shared",
    "shared_media",
    "switch",
    "webhook",
    "webhook_act",
    "webhooks",
    "workspace_delete",
    "workspace_new",
    "workspace_settings",
    "workspaces",
]
