"""The site's whole map on one page. What waits or streams is answered before Django, see `playground.edge`."""

from __future__ import annotations

from django.contrib.auth import views as auth
from django.urls import path

from playground import docs
from playground.api import views as api
from playground.api import webhooks as api_webhooks
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
    path("dashboard/webhooks", pages.webhooks, name="webhooks"),
    path("dashboard/webhooks/request-secret/<slug:act>", pages.request_secret, name="request-secret"),
    path("dashboard/webhooks/<str:webhook_id>", pages.webhook, name="webhook"),
    path("dashboard/webhooks/<str:webhook_id>/<slug:act>", pages.webhook_act, name="webhook-act"),
    path("dashboard/webhooks/<str:webhook_id>/log/<str:delivery_id>", pages.delivery, name="delivery"),
    path(
        "dashboard/webhooks/<str:webhook_id>/log/<str:delivery_id>/again", pages.redeliver, name="redeliver"
    ),
    path("accounts/login", pages.sign_in, name="login"),
    path("accounts/logout", auth.LogoutView.as_view(), name="logout"),
    path("docs", docs.docs, name="docs"),
    path("llms.txt", docs.llms, name="llms"),
    path("llms-full.txt", docs.llms_full, name="llms-full"),
    path("healthz", pages.healthz, name="healthz"),
    # The API
    path("api/v1/models", api.Models.as_view(), name="api-models"),
    path("api/v1/models/<slug:publisher>/<slug:name>", api.Model.as_view(), name="api-model"),
    path(
        "api/v1/models/<slug:publisher>/<slug:name>/schema",
        api.ModelSchema.as_view(),
        name="api-model-schema",
    ),
    path("api/v1/quotes", api.Quotes.as_view(), name="api-quotes"),
    path("api/v1/predictions", api.Predictions.as_view(), name="api-predictions"),
    path("api/v1/predictions/<str:prediction_id>", api.Prediction.as_view(), name="api-prediction"),
    path("api/v1/predictions/<str:prediction_id>/events", api.Events.as_view(), name="api-prediction-events"),
    path("api/v1/predictions/<str:prediction_id>/cancel", api.Cancel.as_view(), name="api-prediction-cancel"),
    path("api/v1/balance", api.Balance.as_view(), name="api-balance"),
    path("api/v1/workspace", api.Workspace.as_view(), name="api-workspace"),
    path("api/v1/openapi.json", api.OpenApi.as_view(), name="openapi"),
    path("api/v1/webhooks", api_webhooks.Webhooks.as_view(), name="api-webhooks"),
    path("api/v1/webhooks/request-secret", api_webhooks.RequestSecret.as_view(), name="api-request-secret"),
    path("api/v1/webhooks/<str:webhook_id>", api_webhooks.Webhook.as_view(), name="api-webhook"),
    path("api/v1/webhooks/<str:webhook_id>/rotate", api_webhooks.Rotate.as_view(), name="api-webhook-rotate"),
    path("api/v1/webhooks/<str:webhook_id>/test", api_webhooks.Test.as_view(), name="api-webhook-test"),
    path(
        "api/v1/webhooks/<str:webhook_id>/deliveries",
        api_webhooks.Deliveries.as_view(),
        name="api-deliveries",
    ),
    path(
        "api/v1/webhooks/<str:webhook_id>/deliveries/<str:delivery_id>/redeliver",
        api_webhooks.Redeliver.as_view(),
        name="api-redeliver",
    ),
]
