"""The addresses of the OpenAI API's media."""

from __future__ import annotations

from django.urls import path

from playground.facades.openai import absent, files, films, pictures, shelf, speech
from playground.facades.openai.view import Unknown

urlpatterns = [
    path("openai/v1/images/generations", pictures.Generations.as_view(), name="openai-generations"),
    path("openai/v1/images/edits", pictures.Edits.as_view(), name="openai-edits"),
    path("openai/v1/images/variations", pictures.Variations.as_view(), name="openai-variations"),
    path("openai/v1/videos", films.Videos.as_view(), name="openai-videos"),
    path("openai/v1/videos/edits", films.Edits.as_view(), name="openai-video-edits"),
    path("openai/v1/videos/extensions", films.Extensions.as_view(), name="openai-video-extensions"),
    path("openai/v1/videos/characters", absent.Characters.as_view(), name="openai-characters"),
    path(
        "openai/v1/videos/characters/<str:character_id>",
        absent.Characters.as_view(),
        name="openai-character",
    ),
    path("openai/v1/videos/<str:video_id>", films.Video.as_view(), name="openai-video"),
    path("openai/v1/videos/<str:video_id>/content", films.Content.as_view(), name="openai-video-content"),
    path("openai/v1/videos/<str:video_id>/remix", films.Remix.as_view(), name="openai-video-remix"),
    path("openai/v1/audio/speech", speech.Speech.as_view(), name="openai-speech"),
    path("openai/v1/audio/transcriptions", absent.Listening.as_view(), name="openai-transcriptions"),
    path("openai/v1/audio/translations", absent.Listening.as_view(), name="openai-translations"),
    path("openai/v1/audio/voices", absent.Voices.as_view(), name="openai-voices"),
    path("openai/v1/audio/voices/<str:voice_id>", absent.Voices.as_view(), name="openai-voice"),
    path("openai/v1/audio/voice_consents", absent.Voices.as_view(), name="openai-consents"),
    path("openai/v1/audio/voice_consents/<str:consent_id>", absent.Voices.as_view(), name="openai-consent"),
    path("openai/v1/uploads", absent.Uploads.as_view(), name="openai-uploads"),
    path("openai/v1/uploads/<path:rest>", absent.Uploads.as_view(), name="openai-upload"),
    path("openai/v1/content_provenance_checks", absent.Provenance.as_view(), name="openai-provenance"),
    path("openai/v1/files", files.Files.as_view(), name="openai-files"),
    path("openai/v1/files/<str:file_id>", files.File.as_view(), name="openai-file"),
    path("openai/v1/files/<str:file_id>/content", files.FileContent.as_view(), name="openai-file-content"),
    path("openai/v1/models", shelf.Models.as_view(), name="openai-models"),
    path("openai/v1/models/<path:model>", shelf.Model.as_view(), name="openai-model"),
    path("openai/v1/<path:rest>", Unknown.as_view(), name="openai-unknown"),
]
