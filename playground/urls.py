"""The site's whole map on one page. What waits or streams is answered before Django, see `playground.edge`."""

from __future__ import annotations

from django.contrib.auth import views as auth
from django.urls import path

from playground.api import keys as api_keys
from playground.api import usage as api_usage
from playground.api import views as api
from playground.pages import keys as key_pages
from playground.pages import usage as usage_pages
from playground.pages import views as pages

handler400 = "playground.pages.errors.bad_request"
handler403 = "playground.pages.errors.forbidden"
handler404 = "playground.pages.errors.not_found"
handler500 = "playground.pages.errors.server_error"

urlpatterns = [
    # Pages
    path("", pages.gallery, name="gallery"),
    path("m/<slug:publisher>/<slug:name>", pages.model, name="model"),
    path("m/<slug:publisher>/<slug:name>/api", pages.model_api, name="model-api"),
    path("m/<slug:publisher>/<slug:name>/readme", pages.model_readme, name="model-readme"),
    path("m/<slug:publisher>/<slug:name>/estimate", pages.estimate, name="model-estimate"),
    path("m/<slug:publisher>/<slug:name>/run", pages.run, name="model-run"),
    path("m/<slug:publisher>/<slug:name>/runs", pages.model_runs, name="model-runs"),
    path("p/<str:prediction_id>", pages.prediction, name="prediction"),
    path("p/<str:prediction_id>/card", pages.prediction_card, name="prediction-card"),
    path("p/<str:prediction_id>/cancel", pages.cancel, name="prediction-cancel"),
    path("p/<str:prediction_id>/again", pages.again, name="prediction-again"),
    path("dashboard/balance", pages.balance, name="balance"),
    path("dashboard/history", pages.history, name="history"),
    path("dashboard/usage", usage_pages.usage, name="usage"),
    path("dashboard/usage.csv", usage_pages.usage_csv, name="usage-csv"),
    path("dashboard/usage/limits", usage_pages.limits, name="usage-limits"),
    path("dashboard/keys", key_pages.keys, name="keys"),
    path("dashboard/keys/new", key_pages.new, name="key-new"),
    path("dashboard/keys/<str:key_id>", key_pages.one, name="key"),
    path("dashboard/keys/<str:key_id>/rotate", key_pages.rotate, name="key-rotate"),
    path("dashboard/keys/<str:key_id>/revoke", key_pages.revoke, name="key-revoke"),
    path("accounts/login", pages.sign_in, name="login"),
    path("accounts/logout", auth.LogoutView.as_view(), name="logout"),
    path("healthz", pages.healthz, name="healthz"),
    # The API
    path("api/v1/models", api.Models.as_view(), name="api-models"),
    path("api/v1/models/<slug:publisher>/<slug:name>", api.Model.as_view(), name="api-model"),
    path("api/v1/quotes", api.Quotes.as_view(), name="api-quotes"),
    path("api/v1/predictions", api.Predictions.as_view(), name="api-predictions"),
    path("api/v1/predictions/<str:prediction_id>", api.Prediction.as_view(), name="api-prediction"),
    path("api/v1/predictions/<str:prediction_id>/cancel", api.Cancel.as_view(), name="api-prediction-cancel"),
    path("api/v1/balance", api.Balance.as_view(), name="api-balance"),
    path("api/v1/key", api_keys.CallingKey.as_view(), name="api-key"),
    path("api/v1/keys", api_keys.Keys.as_view(), name="api-keys"),
    path("api/v1/keys/<str:key_id>", api_keys.Key.as_view(), name="api-key-one"),
    path("api/v1/keys/<str:key_id>/rotate", api_keys.RotateKey.as_view(), name="api-key-rotate"),
    path("api/v1/usage", api_usage.Usage.as_view(), name="api-usage"),
    path("api/v1/usage.csv", api_usage.UsageCsv.as_view(), name="api-usage-csv"),
    path("api/v1/receipts", api_usage.Receipts.as_view(), name="api-receipts"),
    path("api/v1/receipts/<str:prediction_id>", api_usage.Receipt.as_view(), name="api-receipt"),
]
