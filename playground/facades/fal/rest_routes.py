"""fal's addresses beside runs and the queue: storage, tokens, files, the platform API and the proxy."""

from __future__ import annotations

from django.urls import URLPattern, path

from playground.facades.fal import proxy_views, storage, token_views
from playground.facades.fal.platform import account, models, not_here, requests, search, usage
from playground.facades.fal.platform import storage as files

# Storage and tokens: what is at rest.fal.ai.
REST: list[URLPattern] = [
    path("fal/rest/storage/auth/token", storage.UploadToken.as_view(), name="fal-upload-token"),
    path("fal/rest/storage/upload/initiate", storage.Initiate.as_view(), name="fal-initiate"),
    path("fal/rest/storage/upload/initiate-multipart", storage.Initiate.as_view(), name="fal-initiate-parts"),
    path("fal/rest/storage/put/<str:token>", storage.Place.as_view(), name="fal-place"),
    path("fal/rest/storage/put/<str:token>/<int:number>", storage.PlacePart.as_view(), name="fal-place-part"),
    path("fal/rest/storage/put/<str:token>/complete", storage.PlaceComplete.as_view(), name="fal-place-done"),
    # With and without its last slash: nothing here is ever sent elsewhere.
    path("fal/rest/tokens/", token_views.Tokens.as_view(), name="fal-tokens"),
    path("fal/rest/tokens", token_views.Tokens.as_view(), name="fal-tokens-bare"),
    path("fal/rest/tokens/realtime", token_views.RealtimeTokens.as_view(), name="fal-tokens-realtime"),
]
# Files: what is at v3.fal.media. The clients put parts below the address that the file will have.
CDN: list[URLPattern] = [
    path("fal/cdn/files/upload", storage.Files.as_view(), name="fal-files"),
    path("fal/cdn/files/upload/multipart", storage.FilesInParts.as_view(), name="fal-files-parts"),
    path(
        "media/<str:token>/<str:name>/multipart/<str:upload_id>/<int:number>",
        storage.FilePart.as_view(),
        name="fal-file-part",
    ),
    path(
        "media/<str:token>/<str:name>/multipart/<str:upload_id>/complete",
        storage.FileComplete.as_view(),
        name="fal-file-done",
    ),
]
# What is at api.fal.ai; and the document of an app, which fal.ai has below its pages.
PLATFORM: list[URLPattern] = [
    path("fal/api/openapi/queue/openapi.json", models.Document.as_view(), name="fal-openapi"),
    path("fal/v1/models", models.Models.as_view(), name="fal-models"),
    path("fal/v1/models/pricing", models.Prices.as_view(), name="fal-prices"),
    path("fal/v1/models/pricing/estimate", models.Estimate.as_view(), name="fal-estimate"),
    path("fal/v1/models/usage", usage.Usage.as_view(), name="fal-usage"),
    path("fal/v1/models/analytics", usage.Analytics.as_view(), name="fal-analytics"),
    path("fal/v1/models/billing-events", usage.BillingEvents.as_view(), name="fal-billing-events"),
    path("fal/v1/models/requests/by-endpoint", requests.ByEndpoint.as_view(), name="fal-requests"),
    path("fal/v1/models/requests/search", search.Search.as_view(), name="fal-search"),
    path(
        "fal/v1/models/requests/<str:request_id>/payloads", requests.Payloads.as_view(), name="fal-payloads"
    ),
    path("fal/v1/keys", account.Keys.as_view(), name="fal-keys"),
    path("fal/v1/keys/<str:key_id>", account.Key.as_view(), name="fal-key"),
    path("fal/v1/account/billing", account.Billing.as_view(), name="fal-billing"),
    path("fal/v1/meta", account.Meta.as_view(), name="fal-meta"),
    path("fal/v1/storage/files/sign", files.Sign.as_view(), name="fal-sign"),
    path("fal/v1/storage/files/acl", files.Access.as_view(), name="fal-access"),
    path("fal/v1/storage/settings", files.Settings.as_view(), name="fal-storage-settings"),
    path("fal/v1/<path:path>", not_here.NotHere.as_view(), name="fal-not-here"),
]
# The contract of @fal-ai/server-proxy: what has a target is answered there.
PROXY: list[URLPattern] = [
    path("api/fal/proxy", proxy_views.Misdirected.as_view(), name="fal-proxy"),
    path("fal/proxy", proxy_views.Misdirected.as_view(), name="fal-proxy-bare"),
]

urlpatterns = [*REST, *CDN, *PLATFORM, *PROXY]
