"""Files of inputs: uploads of the workspace under the addresses and in the shape that Replicate gives them.

The file itself is received by the edge, see `playground.api.errands`; what an input says of one is in `asked`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import io
import re
import time
from collections.abc import Mapping
from typing import Any

from django.http import HttpResponseRedirect
from rest_framework.request import Request
from rest_framework.response import Response

from marketplace.ids import encode, parse
from marketplace.models import Workspace
from marketplace.schema import FieldError
from playground import assets, examiner, webhooks
from playground.api.errands import Receive, errand_of
from playground.api.paging import page
from playground.api.parsing import StrictJSONParser
from playground.api.problems import Problem, invalid
from playground.api.view import caller
from playground.assets import labels, uploads
from playground.facades.replicate import asked, show
from playground.facades.replicate.view import ReplicateView
from playground.models import Asset

PAGE = 100
CONTENT = "content"  # the part of a form that is the file
MOST_NAMES = 100  # of metadata
MOST_DEPTH = 8
_NAMED = re.compile(r"metadata((?:\[[^\[\]]{1,100}\])+)")
Json = dict[str, Any]


class Files(ReplicateView):
    """`POST /v1/files` takes a file in; `GET` lists what the workspace uploaded."""

    scopes = {"GET": "assets:read", "POST": "assets:write"}

    def get(self, request: Request) -> Response:
        base = self.base
        rows = Asset.objects.of(caller(request).workspace).live().filter(kind=Asset.Kind.UPLOAD)
        return Response(page(request, rows, order=["-id"], show=lambda row: file_json(row, base), limit=PAGE))

    def post(self, request: Request) -> Response:
        who, errand = caller(request), errand_of(request)
        if errand.work is None:
            if errand.content_type != "multipart/form-data":
                detail = f"Send the file as multipart/form-data, in a part named {CONTENT}."
                raise Problem("unsupported_media_type", detail)
            place = uploads.announce(who.workspace, by=who.user, size=errand.length)
            errand.work = Receive(place, name=CONTENT)
            return Response(status=202)
        assert errand.upload is not None
        assert errand.arrival is not None
        assert errand.found is not None
        metadata = metadata_of(errand.fields)
        if filename := _text(errand.fields, "filename"):
            errand.upload.filename = uploads.clean_filename(filename)
        if declared := _text(errand.fields, "type"):
            errand.upload.media_type = examiner.plain(declared)[:100]
        asset, _ = uploads.finish(errand.upload, errand.arrival, errand.found)
        labels.label(asset, metadata, filename=errand.upload.filename)
        return Response(file_json(asset, self.base), status=201)


class File(ReplicateView):
    """`GET`, `DELETE /v1/files/<id>`."""

    scopes = {"GET": "assets:read", "DELETE": "assets:write"}

    def get(self, request: Request, file_id: str) -> Response:
        return Response(file_json(_own(caller(request).workspace, file_id), self.base))

    def delete(self, request: Request, file_id: str) -> Response:
        assets.delete(_own(caller(request).workspace, file_id))
        return Response(status=204)


class Download(ReplicateView):
    """`GET /v1/files/<id>/download?expiry=&owner=&signature=`: the file itself, for whoever has an address that its
    owner signed with the secret of its webhooks."""

    authentication_classes = ()
    permission_classes = ()
    scopes = {"GET": None}

    def get(self, request: Request, file_id: str) -> HttpResponseRedirect:
        expiry, owner, signature = (asked.text_of(request, name) for name in ("expiry", "owner", "signature"))
        workspace = Workspace.objects.filter(slug=owner, closed_at=None).first()
        is_time = expiry.isascii() and expiry.isdigit() and len(expiry) < 12
        if (
            workspace is None
            or not is_time
            or not _is_signed(workspace, f"{owner} {file_id} {expiry}", signature)
        ):
            raise Problem(
                "forbidden", "The signature of this address does not fit its file, owner and expiry."
            )
        if int(expiry) < time.time():
            raise Problem("forbidden", "The time of this address is over.")
        return HttpResponseRedirect(self.base + assets.address(_own(workspace, file_id)))


def file_json(asset: Asset, base: str) -> Json:
    """One file. Its id is the asset's, bare."""
    bare = encode(asset.public_id)
    return {
        "id": bare,
        "name": asset.filename or f"{bare}.{examiner.extension_of(asset.media_type)}",
        "content_type": asset.media_type,
        "size": asset.size,
        "etag": asset.sha256,
        "checksums": {"sha256": asset.sha256},
        "metadata": labels.label_of(asset),
        "created_at": show.moment(asset.created_at.isoformat()),
        "expires_at": show.moment(asset.expires_at.isoformat()),
        "urls": {"get": show.file_address(bare, base)},
    }


def metadata_of(fields: Mapping[str, bytes]) -> Json:
    """What is said of a file: as JSON in one part, or a field for each name, `metadata[shelf]`. Raises Problem."""
    found: Json = {}
    if whole := fields.get("metadata", b"").strip():
        parsed = StrictJSONParser().parse(io.BytesIO(whole))
        if not isinstance(parsed, dict):
            raise invalid([FieldError("metadata", "type", "must be a JSON object", "object")])
        found = parsed
    for field in fields:
        named = _NAMED.fullmatch(field)
        if named is not None:
            _put(found, named[1][1:-1].replace("\0", "\ufffd").split("]["), _text(fields, field))
    if len(found) > MOST_NAMES:
        raise invalid([FieldError("metadata", "too_many", f"has at most {MOST_NAMES} names", MOST_NAMES)])
    return found


def _put(into: Json, path: list[str], value: str) -> None:
    if len(path) > MOST_DEPTH:
        raise invalid([FieldError("metadata", "type", f"is nested deeper than {MOST_DEPTH}", "object")])
    for name in path[:-1]:
        into = into.setdefault(name, {})
        if not isinstance(into, dict):
            raise invalid([FieldError("metadata", "repeated", f"says {name[:40]} twice", None)])
    into[path[-1]] = value


def _text(fields: Mapping[str, bytes], name: str) -> str:
    """A field as text; a null character, which the database cannot hold, is none."""
    return fields.get(name, b"").decode("utf-8", "replace").replace("\0", "\ufffd")


def _own(workspace: Workspace, file_id: str) -> Asset:
    number = parse(file_id, "a")
    rows = Asset.objects.of(workspace).live().filter(kind=Asset.Kind.UPLOAD)
    found = rows.filter(public_id=number).first() if number is not None else None
    if found is None:
        raise Problem("not_found", "There is no such file in this workspace, or it has expired.")
    return found


def _is_signed(workspace: Workspace, signed: str, signature: str) -> bool:
    secret = webhooks.request_secret(workspace).secret
    key = base64.b64decode(secret.partition("_")[2])
    proof = hmac.new(key, signed.encode("utf-8", "replace"), hashlib.sha256).digest()
    try:
        return hmac.compare_digest(base64.b64decode(signature.replace(" ", "+")), proof)
    except (binascii.Error, ValueError):
        return False
