"""fal's addresses below `/fal`. Its own host names lead to the same, each to its face: see `hosts`."""

from __future__ import annotations

from django.urls import URLPattern, path, re_path

from playground.facades.fal import keyset, nowhere, queue, rest_routes, run

# What signs webhooks, at rest.fal.ai; storage and tokens, the platform API and the proxy have a page of their own.
REST: list[URLPattern] = [
    path("fal/rest/.well-known/jwks.json", keyset.KeySet.as_view(), name="fal-jwks"),
]
_ONE = r"^fal/queue/(?P<app>.+?)/requests/(?P<request_id>[^/]+)"
# The queue, and runs that are waited for: what is at queue.fal.run and fal.run. An id of an app may have any path. The
# package `fal`, with which apps call each other, writes a slash behind.
QUEUE = [
    re_path(_ONE + r"/status/stream/?$", queue.StatusStream.as_view(), name="fal-status-stream"),
    re_path(_ONE + r"/status/?$", queue.Asked.as_view(), name="fal-status"),
    re_path(_ONE + r"/cancel/?$", queue.Cancel.as_view(), name="fal-cancel"),
    re_path(_ONE + r"(?:/response)?/?$", queue.Asked.as_view(), name="fal-result"),
    re_path(r"^fal/queue/(?P<app>.+)$", queue.Submit.as_view(), name="fal-submit"),
]
RUN = [
    re_path(r"^fal/run/(?P<app>.+)/stream/?$", run.Stream.as_view(), name="fal-stream"),
    re_path(r"^fal/run/(?P<app>.+)$", run.Run.as_view(), name="fal-run"),
]

NOWHERE = [re_path(r"^fal/(?P<path>.*)$", nowhere.Nowhere.as_view(), name="fal-nowhere")]

urlpatterns = [*REST, *rest_routes.urlpatterns, *QUEUE, *RUN, *NOWHERE]
