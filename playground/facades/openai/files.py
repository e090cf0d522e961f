"""`/openai/v1/files`: files of the workspace, for requests that name one instead of sending it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.core.files.uploadedfile import UploadedFile
from django.http import HttpResponseBase
from rest_framework.request import Request
from rest_framework.response import Response

from marketplace.ids import encode, parse
from marketplace.schema import FieldError
from playground import assets
from playground.api.problems import Problem, invalid
from playground.examiner import extension_of
from playground.facades.openai import bodies, lists
from playground.facades.openai.view import View
from playground.models import Asset
from playground.models.asset import AssetQuerySet

READ, WRITE = "assets:read", "assets:write"
PICTURE, OTHER = "vision", "user_data"
LEAST, MOST = 3600, 30 * 24 * 3600  # seconds, of `expires_after`
PURPOSES = (PICTURE, OTHER, "assistants")  # nothing is trained or run in batches from a file here


class Files(View):
    """`POST` keeps a file as large as a form may be; larger ones go to `/api/v1/assets`. `GET` lists uploads."""

    scopes = {"GET": READ, "POST": WRITE}

    def get(self, request: Request) -> Response:
        rows = _for(_uploads(self.caller().workspace.pk), request.query_params.get("purpose"))
        return Response(lists.page(request.query_params, rows, named=_named, show=_shown))

    def post(self, request: Request) -> Response:
        file = request.FILES.get("file")
        if not isinstance(file, UploadedFile):
            raise invalid([FieldError("file", "required", "is required, as a file of a form")])
        bodies.choice({"purpose": request.POST.get("purpose", OTHER)}, "purpose", PURPOSES, OTHER)
        lifetime = _lifetime(request.POST)
        return Response(_shown(self.keep(file, filename=file.name or "", lifetime=lifetime)))


class OneFile(View):
    """What the addresses of one file have in common."""

    def file(self, file_id: str) -> Asset:
        """The caller's upload by its id here. Raises Problem."""
        public_id = _named(file_id)
        rows = _uploads(self.caller().workspace.pk)
        found = rows.filter(public_id=public_id).first() if public_id is not None else None
        if found is None:
            raise Problem("not_found", f"No such File object: {file_id[:64]}", members={"param": "id"})
        return found


class File(OneFile):
    """One file: what it is, and away with it."""

    scopes = {"GET": READ, "DELETE": WRITE}

    def get(self, request: Request, file_id: str) -> Response:
        return Response(_shown(self.file(file_id)))

    def delete(self, request: Request, file_id: str) -> Response:
        row = self.file(file_id)
        assets.delete(row)
        return Response({"id": _id(row), "object": "file", "deleted": True})


class FileContent(OneFile):
    """`GET` reads a file."""

    scopes = {"GET": READ}

    def get(self, request: Request, file_id: str) -> HttpResponseBase:
        row = self.file(file_id)
        return self.contents(row.storage_name, row.media_type, _id(row))


def _uploads(workspace_id: int) -> AssetQuerySet:
    return Asset.objects.live().filter(workspace=workspace_id, kind=Asset.Kind.UPLOAD)


def _for(rows: AssetQuerySet, purpose: str | None) -> AssetQuerySet:
    """Those of a purpose, as it is shown."""
    if purpose is None:
        return rows
    if purpose == PICTURE:
        return rows.filter(media_type__startswith="image/")
    return rows.exclude(media_type__startswith="image/") if purpose == OTHER else rows.none()


def _lifetime(form: Mapping[str, str]) -> int | None:
    """The seconds of `expires_after`, of which uploads here are given some at most. Raises Problem."""
    anchor, seconds = form.get("expires_after[anchor]"), form.get("expires_after[seconds]")
    if anchor is None and seconds is None:
        return None
    if anchor != "created_at":
        allowed = ["created_at"]
        raise invalid([FieldError("expires_after[anchor]", "not_allowed", "must be created_at", allowed)])
    if seconds is None or not re.fullmatch(r"[0-9]{1,9}", seconds) or not LEAST <= int(seconds) <= MOST:
        message = f"must be a whole number from {LEAST} to {MOST}"
        range_ = {"minimum": LEAST, "maximum": MOST}
        raise invalid([FieldError("expires_after[seconds]", "type", message, range_)])
    return int(seconds)


def _named(file_id: str) -> UUID | None:
    return parse(file_id.removeprefix(bodies.FILE_PREFIX))


def _id(row: Asset) -> str:
    return bodies.FILE_PREFIX + encode(row.public_id)


def _shown(row: Asset) -> dict[str, Any]:
    return {
        "id": _id(row),
        "object": "file",
        "bytes": row.size,
        "created_at": int(row.created_at.timestamp()),
        "expires_at": int(row.expires_at.timestamp()),
        "filename": row.filename or f"{_id(row)}.{extension_of(row.media_type)}",
        "purpose": PICTURE if row.media_type.startswith("image/") else OTHER,
        "status": "processed",
    }
