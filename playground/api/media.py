"""Assets and uploads in `/api/v1`. What brings a file is answered in two halves, see `errands`."""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response

from marketplace.ids import parse
from marketplace.schema import FieldError
from playground import assets
from playground.api.authentication import caller_of
from playground.api.errands import Fetch, Join, Receive, errand_of
from playground.api.paging import page
from playground.api.parsing import AssetFromUrl, Nothing, UploadRequest, read
from playground.api.problems import Problem, invalid
from playground.api.view import ApiView
from playground.assets import uploads
from playground.models import Asset as AssetRow
from playground.models import Upload as UploadRow
from playground.predictions import Caller


class Assets(ApiView):
    """`POST /api/v1/assets` takes a file in; `GET` lists what the workspace has."""

    scopes = {"GET": "assets:read", "POST": "assets:write"}

    def get(self, request: Request) -> Response:
        kind = request.query_params.get("kind", "")
        if kind and kind not in AssetRow.Kind.values:
            allowed = list(AssetRow.Kind.values)
            raise invalid([FieldError("kind", "not_allowed", "is no kind of asset", allowed)])
        rows = AssetRow.objects.of(_caller(request).workspace).live().select_related("prediction")
        rows = rows.filter(kind=kind) if kind else rows
        return Response(page(request, rows, order=["-id"], show=assets.as_json))

    def post(self, request: Request) -> Response:
        caller, errand = _caller(request), errand_of(request)
        if errand.work is None:
            if errand.content_type == "application/json":
                wanted = read(AssetFromUrl, request.data)
                errand.work = Fetch(wanted["url"], wanted["filename"], caller)
            else:
                is_form = errand.content_type == "multipart/form-data"
                errand.work = Receive(
                    uploads.announce(
                        caller.workspace,
                        by=caller.user,
                        size=errand.length,
                        media_type="" if is_form else errand.content_type,
                        filename=errand.filename,
                    )
                )
            return Response(status=202)
        return _finished(request)


class Asset(ApiView):
    """`GET /api/v1/assets/<id>`, and `DELETE`."""

    scopes = {"GET": "assets:read", "DELETE": "assets:write"}

    def get(self, request: Request, asset_id: str) -> Response:
        return Response(assets.as_json(_own(request, asset_id)))

    def delete(self, request: Request, asset_id: str) -> Response:
        assets.delete(_own(request, asset_id))
        return Response(status=204)


class Uploads(ApiView):
    """`POST /api/v1/assets/uploads`: announce a file that comes in parts."""

    scopes = {"POST": "assets:write"}

    def post(self, request: Request) -> Response:
        caller, wanted = _caller(request), read(UploadRequest, request.data)
        if wanted["sha256"] and not uploads.is_sha256(wanted["sha256"]):
            raise invalid(
                [FieldError("sha256", "pattern", "must be 64 lower-case hex digits", "[0-9a-f]{64}")]
            )
        upload = uploads.announce(
            caller.workspace,
            by=caller.user,
            size=wanted["size"],
            media_type=wanted["content_type"],
            filename=wanted["filename"],
            sha256=wanted["sha256"],
            in_parts=True,
        )
        body = uploads.as_json(upload)
        return Response(body, status=201, headers={"Location": body["urls"]["get"]})


class Upload(ApiView):
    """`GET /api/v1/assets/uploads/<id>`: which parts are there; `DELETE` forgets them."""

    scopes = {"GET": "assets:read", "DELETE": "assets:write"}

    def get(self, request: Request, upload_id: str) -> Response:
        return Response(uploads.as_json(_upload(request, upload_id)))

    def delete(self, request: Request, upload_id: str) -> Response:
        uploads.abandon(_upload(request, upload_id))
        return Response(status=204)


class Part(ApiView):
    """`PUT /api/v1/assets/uploads/<id>/parts/<n>`: one part, in any order; a repeated one replaces."""

    scopes = {"PUT": "assets:write"}

    def put(self, request: Request, upload_id: str, number: int) -> Response:
        errand, upload = errand_of(request), _upload(request, upload_id)
        if upload.asset is not None:
            raise uploads.NotFound("The upload is complete.")
        wanted = uploads.part_size(upload, number)
        if errand.work is None:
            if errand.length != wanted:
                raise uploads.WrongPart(
                    f"Part {number} has {wanted:,} bytes, and {errand.length:,} were announced."
                )
            errand.work = Receive(upload, number)
            return Response(status=202)
        assert errand.arrival is not None
        uploads.add_part(upload, number, errand.arrival)
        return Response({"number": number, "size": wanted, "sha256": errand.arrival.sha256})


class Complete(ApiView):
    """`POST /api/v1/assets/uploads/<id>/complete`: make an asset of the parts. Asked again, it answers the same."""

    scopes = {"POST": "assets:write"}

    def post(self, request: Request, upload_id: str) -> Response:
        errand = errand_of(request)
        if errand.work is not None:
            return _finished(request)
        upload = _upload(request, upload_id)
        read(Nothing, request.data)
        if upload.asset is not None:
            return Response(assets.as_json(upload.asset))
        errand.work = Join(upload)
        return Response(status=202)


def _caller(request: Request) -> Caller:
    caller = caller_of(request)
    if caller is None:  # HasWorkspace lets nobody through without one
        raise Problem("not_authenticated", "Send an API key.")
    return caller


def _finished(request: Request) -> Response:
    errand = errand_of(request)
    assert errand.upload is not None
    assert errand.arrival is not None
    assert errand.found is not None
    asset, is_new = uploads.finish(errand.upload, errand.arrival, errand.found)
    body = assets.as_json(asset)
    location = request.build_absolute_uri(f"/api/v1/assets/{asset.uid}")
    return Response(body, status=201 if is_new else 200, headers={"Location": location})


def _own(request: Request, asset_id: str) -> AssetRow:
    public_id = parse(asset_id, "a")
    rows = AssetRow.objects.of(_caller(request).workspace).live().select_related("prediction")
    row = rows.filter(public_id=public_id).first() if public_id else None
    if row is None:
        raise Problem("not_found", "There is no such asset in this workspace, or it has expired.")
    return row


def _upload(request: Request, upload_id: str) -> UploadRow:
    return uploads.find_upload(_caller(request).workspace, upload_id)
