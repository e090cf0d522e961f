"""Files on their way in, as fal's clients send them: with a token at once or in parts, or to an address they are given.

What brings a file is answered in two halves, see `playground.api.errands`; all rules are those of `playground.assets`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone
from rest_framework import serializers
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response

from marketplace import keys
from playground import assets
from playground.api.authentication import KeyAuthentication
from playground.api.errands import Join, Receive, errand_of
from playground.api.parsing import Text, read
from playground.api.problems import Problem
from playground.api.view import caller
from playground.assets import growing, uploads
from playground.assets.address import open_place, upload_place
from playground.facades.fal import tokens
from playground.facades.fal.addresses import face_url
from playground.facades.fal.lifecycle import Lifecycle, lifecycle_of
from playground.facades.fal.view import FalView
from playground.facades.view import IGNORED
from playground.models import Asset, Upload
from playground.predictions import Caller

WRITE = {"POST": "assets:write"}
NAME_HEADER = "X-Fal-File-Name"


class UploadAuthentication(BaseAuthentication):
    """`Authorization: Bearer <token>` with a token for uploads; a key does as well."""

    def authenticate(self, request: Request) -> tuple[None, Caller] | None:
        scheme, _, text = request.headers.get("Authorization", "").strip().partition(" ")
        if scheme.lower() != "bearer" or text.strip().startswith("vt_"):
            return KeyAuthentication().authenticate(request)
        try:
            token = tokens.opened(
                tokens.Purpose.UPLOAD, text.strip(), origin=request.headers.get("Origin", "")
            )
        except keys.OriginRefused:
            raise
        except keys.InvalidKey as error:
            raise AuthenticationFailed(str(error)) from None
        return None, token.caller

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="vitrine"'


class Announced(serializers.Serializer[Any]):
    """The body of a request for an address to put a file to."""

    file_name = Text(required=False, default="", max_length=1000)
    content_type = Text(required=False, default="", max_length=200)


class UploadToken(FalView):
    """`POST rest/storage/auth/token`: a token for uploads."""

    scopes = WRITE

    def post(self, request: Request) -> Response:
        key = caller(request).key
        assert key is not None  # no session comes here
        text, until = tokens.issue(tokens.Purpose.UPLOAD, key, seconds=tokens.CDN_SECONDS)
        return Response(
            {
                "token": text,
                "token_type": "Bearer",
                "base_url": face_url(request, "cdn"),
                "expires_at": until.isoformat(),
            }
        )


class Initiate(FalView):
    """`POST rest/storage/upload/initiate`, and `initiate-multipart`: where to put a file, and where it will then be."""

    scopes = WRITE

    def post(self, request: Request) -> Response:
        wanted, life, who = read(Announced, request.data), lifecycle_of(request), caller(request)
        upload = growing.begin(
            who.workspace,
            by=who.user,
            media_type=wanted["content_type"],
            filename=wanted["file_name"],
            lifetime=life.seconds,
        )
        place = f"{face_url(request, 'rest')}/storage/put/{upload_place(upload)}"
        return _told({"upload_url": place, "file_url": growing.address(upload)}, life)


class Place(FalView):
    """`PUT rest/storage/put/<token>`: the file, from whoever has the address."""

    # Clients send a key along or none: the address is all that counts.
    authentication_classes = ()
    permission_classes: tuple[type[BasePermission], ...] = ()
    scopes = {"PUT": None}

    def put(self, request: Request, token: str) -> Response:
        errand, upload = errand_of(request), growing.find(open_place(token))
        if errand.work is None:
            upload.media_type = upload.media_type or uploads.declared_type(errand.content_type)[:100]
            taken = growing.take_room(upload, errand.length)
            errand.work = Receive(upload, waits=True, taken=taken)
            return Response(status=202)
        return _kept(request)


class PlacePart(FalView):
    """`PUT rest/storage/put/<token>/<n>`: a part of the file."""

    authentication_classes = ()
    permission_classes: tuple[type[BasePermission], ...] = ()
    scopes = {"PUT": None}

    def put(self, request: Request, token: str, number: int) -> Response:
        return _part(request, growing.find(open_place(token)), number)


class PlaceComplete(FalView):
    """`POST rest/storage/put/<token>/complete`: the file is whole."""

    authentication_classes = ()
    permission_classes: tuple[type[BasePermission], ...] = ()
    scopes = {"POST": None}

    def post(self, request: Request, token: str) -> Response:
        return _complete(request, growing.find(open_place(token)))


class Files(FalView):
    """`POST cdn/files/upload`: the file is the body."""

    authentication_classes = (UploadAuthentication,)
    scopes = WRITE

    def post(self, request: Request) -> Response:
        errand, life, who = errand_of(request), lifecycle_of(request), caller(request)
        if errand.work is None:
            upload = uploads.announce(
                who.workspace,
                by=who.user,
                size=errand.length,
                media_type=errand.content_type,
                filename=request.headers.get(NAME_HEADER, ""),
                lifetime=life.seconds,
            )
            errand.work = Receive(upload, waits=True)
            return Response(status=202)
        assert errand.upload is not None
        assert errand.arrival is not None
        assert errand.found is not None
        asset, _ = uploads.finish(errand.upload, errand.arrival, errand.found)
        seconds = uploads.lifetime_of(errand.upload) / timedelta(seconds=1)
        path = assets.address(asset, lifetime_seconds=int(seconds))
        until = timezone.now() + timedelta(seconds=seconds)
        told = {"access_url": settings.PUBLIC_URL + path, "expires_at": min(until, asset.expires_at)}
        return _told({**told, **_about(asset)}, life)


class FilesInParts(FalView):
    """`POST cdn/files/upload/multipart`: a file that comes in parts."""

    authentication_classes = (UploadAuthentication,)
    scopes = WRITE

    def post(self, request: Request) -> Response:
        life, who = lifecycle_of(request), caller(request)
        upload = growing.begin(
            who.workspace,
            by=who.user,
            media_type=request.headers.get("Content-Type", ""),
            filename=request.headers.get(NAME_HEADER, ""),
            lifetime=life.seconds,
        )
        return _told({"access_url": growing.address(upload), "uploadId": upload.uid}, life)


class FilePart(FalView):
    """`PUT <access_url>/multipart/<uploadId>/<n>`: a part, in any order."""

    authentication_classes = (UploadAuthentication,)
    scopes = {"PUT": "assets:write"}

    def put(self, request: Request, token: str, name: str, upload_id: str, number: int) -> Response:
        return _part(request, _own(request, token, upload_id), number)


class FileComplete(FalView):
    """`POST <access_url>/multipart/<uploadId>/complete`."""

    authentication_classes = (UploadAuthentication,)
    scopes = WRITE

    def post(self, request: Request, token: str, name: str, upload_id: str) -> Response:
        return _complete(request, _own(request, token, upload_id))


def _own(request: Request, token: str, upload_id: str) -> Upload:
    """The caller's upload, at its own address."""
    upload = growing.find(upload_id, workspace=caller(request).workspace)
    allowed = assets.open_address(token)
    if allowed is None or not allowed.is_upload or allowed.asset != upload.public_id:
        raise uploads.NotFound("There is no such upload at this address.")
    return upload


def _part(request: Request, upload: Upload, number: int) -> Response:
    errand = errand_of(request)
    if upload.asset is not None:
        raise uploads.NotFound("The upload is complete.")
    if errand.work is None:
        taken = growing.take_room(upload, errand.length, part=number)
        errand.work = Receive(upload, number, waits=True, taken=taken)
        return Response(status=202)
    assert isinstance(errand.work, Receive)
    assert errand.arrival is not None
    etag = f'"{growing.add_part(upload, number, errand.arrival, taken=errand.work.taken)}"'
    return Response({"partNumber": number, "etag": etag}, headers={"ETag": etag})


def _complete(request: Request, upload: Upload) -> Response:
    errand = errand_of(request)
    if errand.arrival is not None:
        return _kept(request)
    if upload.asset is not None:
        return _shown(upload, upload.asset)
    if errand.work is not None:
        raise uploads.NotFound("The upload is complete, and its file was deleted.")
    errand.work = Join(upload, growing.parts_of(upload, _wanted(request.data)))
    return Response(status=202)


def _wanted(body: Any) -> dict[int, str]:
    """The parts that the body names, in whatever order, by number: the sha256 of each."""
    parts = body.get("parts") if isinstance(body, dict) else None
    wanted: dict[int, str] = {}
    for part in parts if isinstance(parts, list) else []:
        number, etag = (part.get("partNumber"), part.get("etag")) if isinstance(part, dict) else (None, None)
        if isinstance(number, bool) or not isinstance(number, int) or not isinstance(etag, str):
            raise Problem("malformed_request", "Each part is an object with partNumber and etag.")
        if number in wanted:
            raise Problem("malformed_request", f"Part {number} is named twice.")
        wanted[number] = etag.removeprefix("W/").strip('"')
    return wanted


def _kept(request: Request) -> Response:
    errand = errand_of(request)
    assert errand.upload is not None
    assert errand.arrival is not None
    assert errand.found is not None
    asset, _ = uploads.finish(errand.upload, errand.arrival, errand.found)
    return _shown(errand.upload, asset)


def _shown(upload: Upload, asset: Asset) -> Response:
    return Response(
        {"file_url": growing.address(upload), "expires_at": _end(upload, asset), **_about(asset)},
        headers={"ETag": f'"{asset.sha256}"'},
    )


def _end(upload: Upload, asset: Asset) -> str:
    return min(asset.expires_at, timezone.now() + uploads.lifetime_of(upload)).isoformat()


def _about(asset: Asset) -> dict[str, Any]:
    return {"content_type": asset.media_type, "file_name": asset.filename, "file_size": asset.size}


def _told(body: dict[str, Any], life: Lifecycle) -> Response:
    headers = {IGNORED: ", ".join(life.ignored)} if life.ignored else {}
    return Response(body, headers=headers)
