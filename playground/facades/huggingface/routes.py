"""The addresses of Hugging Face's inference endpoints."""

from __future__ import annotations

from django.urls import path

from playground.facades.huggingface.views import Inference

_view = Inference.as_view()
urlpatterns = [
    path("hf/<slug:publisher>/<str:name>", _view, name="huggingface-inference"),
    # The clients call the address that they are given, as it is written.
    path("hf/<slug:publisher>/<str:name>/", _view, name="huggingface-inference-slash"),
]
