"""The site's whole map on one page. What waits or streams is answered before Django, see `playground.edge`."""

from __future__ import annotations

from django.contrib.auth import views as auth
from django.urls import path

from playground.api import media as api_media
from playground.api import views as api
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
    path("api/v1/assets", api_media.Assets.as_view(), name="api-assets"),
    path("api/v1/assets/uploads", api_media.Uploads.as_view(), name="api-uploads"),
    path("api/v1/assets/uploads/<str:upload_id>", api_media.Upload.as_view(), name="api-upload"),
    path(
        "api/v1/assets/uploads/<str:upload_id>/parts/<int:number>",
        api_media.Part.as_view(),
        name="api-upload-part",
    ),
    path(
        "api/v1/assets/uploads/<str:upload_id>/complete",
        api_media.Complete.as_view(),
        name="api-upload-complete",
    ),
    path("api/v1/assets/<str:asset_id>", api_media.Asset.as_view(), name="api-asset"),
]
