"""Assets and uploads in `/api/v1`. What brings a file is answered in two halves, see `errands`."""

from __future__ import annotations

from uuid import UUID

from django.conf import settings
from django.urls import reverse
from rest_framework.request import Request
from rest_framework.response import Response

from marketplace.ids import parse
from marketplace.schema import FieldError
from playground import assets, predictions
from playground.api import examples
from playground.api.described import Answer, Operation, choice, header
from playground.api.errands import Fetch, Join, Receive, errand_of
from playground.api.paging import page
from playground.api.parsing import AssetFromUrl, Nothing, UploadRequest, idempotency_key, read
from playground.api.problems import Problem, invalid
from playground.api.view import ApiView, caller
from playground.assets import uploads
from playground.models import Asset as AssetRow
from playground.models import Upload as UploadRow

READ, WRITE = "assets:read", "assets:write"
FILE = {"type": "string", "format": "binary"}
FORM = {"type": "object", "properties": {"file": FILE}, "required": ["file"]}
RECEIVING = ("upload_stalled", "too_many_uploads", "storage_full")
KEEPING = ("unusable_file", "quota_reached")


class Assets(ApiView):
    """`POST /api/v1/assets` takes a file in; `GET` lists what the workspace has."""

    scopes = {"GET": READ, "POST": WRITE}
    described = {
        "GET": Operation(
            summary="List assets",
            detail="Uploads and what runs made, newest first.",
            answers={200: Answer("AssetPage", "A page of assets.")},
            parameters=(choice("kind", "only these", AssetRow.Kind.values),),
            pages=True,
        ),
        "POST": Operation(
            summary="Upload a file",
            detail="The body is the file itself, by its own `Content-Type` or none; or a form with one `file`; or JSON "
            "with a `url` from which we fetch it. What it is is read from its bytes: PNG, JPEG, WebP, GIF, WAV, MP3, "
            "MP4, WebM, GLB or safetensors. Each upload is an asset of its own; bytes that the workspace has already "
            "take no more room, so it does no harm to send them again.",
            body=AssetFromUrl,
            body_example=examples.ASSET_REQUEST,
            files={"application/octet-stream": FILE, "multipart/form-data": FORM},
            answers={201: Answer("Asset", "The asset.", ("Location",), examples.ASSET)},
            parameters=(
                header("X-Filename", "what it is called, percent-encoded, where the body is the file itself"),
            ),
            problems=(*KEEPING, "url_not_fetched", *RECEIVING),
        ),
    }

    def get(self, request: Request) -> Response:
        kind = request.query_params.get("kind", "")
        if kind and kind not in AssetRow.Kind.values:
            allowed = list(AssetRow.Kind.values)
            raise invalid([FieldError("kind", "not_allowed", "is no kind of asset", allowed)])
        rows = AssetRow.objects.of(caller(request).workspace).live().select_related("prediction")
        rows = rows.filter(kind=kind) if kind else rows
        return Response(page(request, rows, order=["-id"], show=assets.as_json))

    def post(self, request: Request) -> Response:
        who, errand = caller(request), errand_of(request)
        if errand.work is None:
            if errand.content_type == "application/json":
                wanted = read(AssetFromUrl, request.data)
                errand.work = Fetch(wanted["url"], wanted["filename"], who)
            else:
                is_form = errand.content_type == "multipart/form-data"
                errand.work = Receive(
                    uploads.announce(
                        who.workspace,
                        by=who.user,
                        size=errand.length,
                        media_type="" if is_form else errand.content_type,
                        filename=errand.filename,
                    )
                )
            return Response(status=202)
        return _finished(request)


class Asset(ApiView):
    """`GET /api/v1/assets/<id>`, and `DELETE`."""

    scopes = {"GET": READ, "DELETE": WRITE}
    described = {
        "GET": Operation(summary="Get an asset", answers={200: Answer("Asset", "The asset.")}),
        "DELETE": Operation(
            summary="Delete an asset",
            detail="At once and for good, with its file.",
            answers={204: Answer(None, "It is gone.")},
            problems=("asset_in_use",),
        ),
    }

    def get(self, request: Request, asset_id: str) -> Response:
        return Response(assets.as_json(_own(request, asset_id)))

    def delete(self, request: Request, asset_id: str) -> Response:
        assets.delete(_own(request, asset_id))
        return Response(status=204)


class Uploads(ApiView):
    """`POST /api/v1/assets/uploads`: announce a file that comes in parts."""

    scopes = {"POST": WRITE}
    described = {
        "POST": Operation(
            summary="Begin an upload in parts",
            detail="For files that are large or lines that break. Its `size` is taken from the workspace's room until "
            "the upload is complete, deleted, or a day old. Then put the parts, in any order and at once, and complete "
            "it.",
            body=UploadRequest,
            body_example=examples.UPLOAD_REQUEST,
            answers={
                201: Answer(
                    "Upload",
                    "The upload, without parts.",
                    ("Location", "Idempotent-Replayed"),
                    examples.UPLOAD,
                )
            },
            problems=(*KEEPING, "too_many_uploads"),
            once=True,
        )
    }

    def post(self, request: Request) -> Response:
        key, who = idempotency_key(request), caller(request)
        wanted = read(UploadRequest, request.data)
        if wanted["sha256"] and not uploads.is_sha256(wanted["sha256"]):
            raise invalid(
                [FieldError("sha256", "pattern", "must be 64 lower-case hex digits", "[0-9a-f]{64}")]
            )

        def announce() -> UUID:
            return uploads.announce(
                who.workspace,
                by=who.user,
                size=wanted["size"],
                media_type=wanted["content_type"],
                filename=wanted["filename"],
                sha256=wanted["sha256"],
                in_parts=True,
            ).public_id

        upload, is_replay = predictions.once(
            who.workspace,
            key,
            {"make": "upload", **wanted},
            announce,
            lambda made: uploads.find_upload(who.workspace, str(made)),
        )
        body = uploads.as_json(upload)
        headers = {"Location": body["urls"]["get"]} | ({"Idempotent-Replayed": "true"} if is_replay else {})
        return Response(body, status=201, headers=headers)


class Upload(ApiView):
    """`GET /api/v1/assets/uploads/<id>`: which parts are there; `DELETE` forgets them."""

    scopes = {"GET": READ, "DELETE": WRITE}
    described = {
        "GET": Operation(
            summary="Get an upload",
            detail="Which parts are there: after a break, put those that are missing.",
            answers={200: Answer("Upload", "The upload.")},
        ),
        "DELETE": Operation(
            summary="Abandon an upload",
            detail="With its parts. The asset of one that is complete stays.",
            answers={204: Answer(None, "It is forgotten.")},
        ),
    }

    def get(self, request: Request, upload_id: str) -> Response:
        return Response(uploads.as_json(_upload(request, upload_id)))

    def delete(self, request: Request, upload_id: str) -> Response:
        uploads.abandon(_upload(request, upload_id))
        return Response(status=204)


class UploadPart(ApiView):
    """`PUT /api/v1/assets/uploads/<id>/parts/<n>`: one part, in any order; a repeated one replaces."""

    scopes = {"PUT": WRITE}
    described = {
        "PUT": Operation(
            summary="Put a part",
            detail="The body is `part_size` bytes of the file, of the last part what is left. A part that is there "
            "already is replaced.",
            files={"application/octet-stream": FILE},
            answers={200: Answer("Part", "The part, as it came.")},
            problems=RECEIVING,
        )
    }

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


class CompleteUpload(ApiView):
    """`POST /api/v1/assets/uploads/<id>/complete`: make an asset of the parts. Asked again, it answers the same."""

    scopes = {"POST": WRITE}
    described = {
        "POST": Operation(
            summary="Complete an upload",
            detail="Makes an asset of the parts. Asked again, it answers the same.",
            body=Nothing,
            body_is_optional=True,
            answers={
                201: Answer("Asset", "The asset.", ("Location",)),
                200: Answer("Asset", "The asset that it is already.", ("Location",)),
            },
            problems=("unusable_file", "upload_incomplete", "too_many_uploads", "storage_full"),
        )
    }

    def post(self, request: Request, upload_id: str) -> Response:
        errand = errand_of(request)
        if errand.arrival is not None:
            return _finished(request)
        upload = _upload(request, upload_id)
        read(Nothing, request.data)
        if upload.asset is not None:
            return _shown(upload.asset, status=200)
        if errand.work is not None:
            raise uploads.NotFound("The upload is complete, and its asset was deleted.")
        errand.work = Join(upload)
        return Response(status=202)


def _finished(request: Request) -> Response:
    errand = errand_of(request)
    assert errand.upload is not None
    assert errand.arrival is not None
    assert errand.found is not None
    asset, is_new = uploads.finish(errand.upload, errand.arrival, errand.found)
    return _shown(asset, status=201 if is_new else 200)


def _shown(asset: AssetRow, *, status: int) -> Response:
    location = settings.PUBLIC_URL + reverse("api-asset", args=[asset.uid])
    return Response(assets.as_json(asset), status=status, headers={"Location": location})


def _own(request: Request, asset_id: str) -> AssetRow:
    public_id = parse(asset_id, "a")
    rows = AssetRow.objects.of(caller(request).workspace).live().select_related("prediction")
    row = rows.filter(public_id=public_id).first() if public_id else None
    if row is None:
        raise Problem("not_found", "There is no such asset in this workspace, or it has expired.")
    return row


def _upload(request: Request, upload_id: str) -> UploadRow:
    return uploads.find_upload(caller(request).workspace, upload_id)
