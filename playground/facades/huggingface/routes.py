"""The addresses of Hugging Face's inference endpoints, and of what its clients ask about a model."""

from __future__ import annotations

from django.urls import path

from playground.facades.huggingface import hub
from playground.facades.huggingface.views import Inference

_view = Inference.as_view()
urlpatterns = [
    path("hf/<slug:publisher>/<str:name>", _view, name="huggingface-inference"),
    # The clients call the address that they are given, as it is written.
    path("hf/<slug:publisher>/<str:name>/", _view, name="huggingface-inference-slash"),
    path("hf/<slug:publisher>/<str:name>/info", hub.Info.as_view(), name="huggingface-info"),
    path("hf/<slug:publisher>/<str:name>/health", hub.Health.as_view(), name="huggingface-health"),
    # The Hub and the router, to clients whose HF_ENDPOINT is `/hf`, or that are led here in their place.
    path("hf/api/models/<slug:publisher>/<str:name>", hub.Hub.as_view(), name="huggingface-hub"),
    path("hf/hf-inference/models/<slug:publisher>/<str:name>", _view, name="huggingface-router"),
]
