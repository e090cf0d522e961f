"""Replicate's addresses, all under `/v1`."""

from __future__ import annotations

from django.urls import path

from playground.facades.replicate import absent, around, files, models, runs

_MODEL = "v1/models/<slug:owner>/<slug:name>"
_DEPLOYMENT = "v1/deployments/<slug:owner>/<slug:name>"

urlpatterns = [
    path("v1/predictions", runs.Predictions.as_view(), name="replicate-predictions"),
    path("v1/predictions/<str:prediction_id>", runs.Prediction.as_view(), name="replicate-prediction"),
    path("v1/predictions/<str:prediction_id>/cancel", runs.Cancel.as_view(), name="replicate-cancel"),
    path("v1/models", models.Models.as_view(), name="replicate-models"),
    path(_MODEL, models.Model.as_view(), name="replicate-model"),
    path(f"{_MODEL}/predictions", runs.ModelPredictions.as_view(), name="replicate-model-predictions"),
    path(f"{_MODEL}/readme", models.Readme.as_view(), name="replicate-readme"),
    path(f"{_MODEL}/examples", models.Examples.as_view(), name="replicate-examples"),
    path(f"{_MODEL}/versions", models.Versions.as_view(), name="replicate-versions"),
    path(f"{_MODEL}/versions/<str:version>", models.OneVersion.as_view(), name="replicate-version"),
    path(f"{_MODEL}/versions/<str:version>/trainings", absent.Train.as_view(), name="replicate-train"),
    path("v1/deployments", absent.Deployments.as_view(), name="replicate-deployments"),
    path(_DEPLOYMENT, absent.Deployment.as_view(), name="replicate-deployment"),
    path(
        f"{_DEPLOYMENT}/predictions",
        absent.DeploymentPredictions.as_view(),
        name="replicate-deployment-predictions",
    ),
    path("v1/trainings", absent.Trainings.as_view(), name="replicate-trainings"),
    path("v1/trainings/<str:training_id>", absent.Training.as_view(), name="replicate-training"),
    path(
        "v1/trainings/<str:training_id>/cancel",
        absent.CancelTraining.as_view(),
        name="replicate-training-cancel",
    ),
    path("v1/files", files.Files.as_view(), name="replicate-files"),
    path("v1/files/streams/<str:token>", runs.Stream.as_view(), name="replicate-stream"),
    path("v1/files/<str:file_id>", files.File.as_view(), name="replicate-file"),
    path("v1/files/<str:file_id>/download", files.Download.as_view(), name="replicate-download"),
    path("v1/collections", around.Collections.as_view(), name="replicate-collections"),
    path("v1/collections/<str:slug>", around.Collection.as_view(), name="replicate-collection"),
    path("v1/hardware", around.Hardware.as_view(), name="replicate-hardware"),
    path("v1/account", around.Account.as_view(), name="replicate-account"),
    path("v1/search", around.Search.as_view(), name="replicate-search"),
    path("v1/webhooks/default/secret", around.WebhookSecret.as_view(), name="replicate-webhook-secret"),
]
