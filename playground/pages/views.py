"""Every page by the name that the URL map uses."""

from __future__ import annotations

from playground.pages.acts import prediction_acts, prediction_example, prediction_zip
from playground.pages.gallery import gallery
from playground.pages.model_tabs import model_api, model_examples, model_readme, model_versions
from playground.pages.playground import estimate, model, model_form, model_runs, run
from playground.pages.runs import again, balance, cancel, history, prediction, prediction_card
from playground.pages.sign_in import sign_in
from playground.pages.site import healthz

__all__ = [
    "again",
    "balance",
    "cancel",
    "estimate",
    "gallery",
    "healthz",
    "history",
    "model",
    "model_api",
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
    "run",
    "sign_in",
]
