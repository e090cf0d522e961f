"""`/v1/storage`: who may read a file, and addresses that end sooner.

An address of a file is a capability: whoever has it reads the file, and there is no other way to it. So there are no
lists of who may, and every address is a signed one.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from playground import assets
from playground.api.parsing import Whole, read
from playground.api.problems import Problem
from playground.api.view import caller
from playground.facades.fal.platform.asked import PlatformView, wrong
from playground.facades.fal.platform.not_here import not_here
from playground.models import Asset
from playground.predictions.files import own_file

OPEN = {"default": "allow", "rules": []}
SIGNED_MOST = 7 * 24 * 3600  # seconds


class Signing(serializers.Serializer[Any]):
    """The body of a request for a signed address."""

    expiration_seconds = Whole(min_value=1, max_value=SIGNED_MOST)


class Sign(PlatformView):
    """`POST /v1/storage/files/sign?url=`: another address of a file, which ends after so many seconds or soon after."""

    scopes = {"POST": "assets:read"}

    def post(self, request: Request) -> Response:
        asset, wanted = _file(request), read(Signing, request.data)
        path = assets.address(asset, lifetime_seconds=wanted["expiration_seconds"])
        return Response({"signed_url": settings.PUBLIC_URL + path})


class Access(PlatformView):
    """`/v1/storage/files/acl?url=`: open to whoever has the address, which is all that it can be set to."""

    scopes = {"GET": "assets:read", "PUT": "assets:write"}

    def get(self, request: Request) -> Response:
        _file(request)
        return Response(OPEN)

    def put(self, request: Request) -> Response:
        _file(request)
        given = request.data if isinstance(request.data, dict) else {}
        if given.get("default") != "allow":
            raise wrong(
                "default", "can only be allow: whoever has the address of a file can read it", ["allow"]
            )
        if given.get("rules"):
            raise wrong("rules", "can only be empty: whoever has the address of a file can read it", [])
        return Response(OPEN)


class Settings(PlatformView):
    """`/v1/storage/settings`: how long uploads are kept, which is the same for everybody here."""

    scopes = {"GET": "assets:read", "PUT": "assets:write"}

    def get(self, request: Request) -> Response:
        seconds = settings.UPLOAD_DAYS * 24 * 3600
        return Response({"expiration_duration_seconds": seconds, "initial_acl": OPEN})

    def put(self, request: Request) -> Response:
        sentence = (
            "How long uploads are kept is the same for everybody; X-Fal-Object-Lifecycle shortens it for one."
        )
        return not_here(request, sentence)


def _file(request: Request) -> Asset:
    """The workspace's file at the address that is asked about. Raises Problem."""
    url = request.query_params.get("url", "")
    if not url:
        raise wrong("url", "is needed", code="required")
    found = own_file(caller(request).workspace, url.replace("\0", "\ufffd"))
    if found is None:
        raise Problem("not_found", "This workspace has no file at that address, or its time is over.")
    return found
