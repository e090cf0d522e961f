"""Every page by the name that the URL map uses."""

from __future__ import annotations

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
from playground.pages.playground import estimate, model, model_api, model_readme, model_runs, run
from playground.pages.runs import again, balance, cancel, delete, prediction, prediction_card, receipt
from playground.pages.sharing import revoke, share, shared, shared_media
from playground.pages.sign_in import sign_in
from playground.pages.site import healthz

__all__ = [
    "again",
    "balance",
    "cancel",
    "delete",
    "estimate",
    "gallery",
    "healthz",
    "history",
    "history_cancel",
    "history_delete",
    "history_download",
    "history_export",
    "history_rows",
    "history_undo",
    "model",
    "model_api",
    "model_readme",
    "model_runs",
    "prediction",
    "prediction_card",
    "receipt",
    "revoke",
    "run",
    "share",
    "shared",
    "shared_media",
    "sign_in",
]
