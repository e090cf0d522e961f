"""Models on the shelf: listed, searched, read, with versions, READMEs and examples; what an owner may say of one."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace

from django.db.models import F
from django.http import HttpResponse
from rest_framework.request import Request
from rest_framework.response import Response

from marketplace import catalog
from marketplace.models import Listing, Version
from marketplace.schema import FieldError
from playground import predictions
from playground.api.authentication import IsAnybody
from playground.api.paging import page_at_once
from playground.api.problems import Problem, invalid
from playground.api.view import caller, workspace
from playground.facades.replicate import asked, shelf
from playground.facades.replicate.errors import Absent
from playground.facades.replicate.view import ReplicateView

PAGE = 25
MAX_QUERY = 400  # characters of a search
_ORDERS = {"model_created_at": "created_at", "latest_version_created_at": "version_at"}


class Models(ReplicateView):
    """`GET /v1/models` lists the shelf, `QUERY` searches it, `POST` makes a model."""

    permission_classes = (IsAnybody,)
    scopes = {"GET": "models:read", "QUERY": "models:read", "POST": "publishers:write"}

    def get(self, request: Request) -> Response:
        by = asked.text_of(request, "sort_by") or "latest_version_created_at"
        way = asked.text_of(request, "sort_direction") or "desc"
        if by not in _ORDERS:
            raise invalid([FieldError("sort_by", "not_allowed", "is no order of this list", list(_ORDERS))])
        if way not in {"asc", "desc"}:
            raise invalid(
                [FieldError("sort_direction", "not_allowed", "must be asc or desc", ["asc", "desc"])]
            )
        sign = "-" if way == "desc" else ""
        return self._page(request, (f"{sign}{_ORDERS[by]}", f"{sign}id"))

    def query(self, request: Request) -> Response:
        return self._page(request, catalog.SORTS["featured"], search=_searched(request))

    def post(self, request: Request) -> Response:
        caller(request)
        raise Absent(
            "Models are put on the shelf from a manifest: see the page Publish. There is none without a version here."
        )

    def _page(self, request: Request, order: tuple[str, ...], *, search: str = "") -> Response:
        rows = catalog.listings(search=search, workspace=workspace(request))
        rows = rows.annotate(version_at=F("default_version__created_at"))
        base = self.base
        found = page_at_once(
            request,
            rows.prefetch_related(*shelf.WITH_VERSION),
            order=order,
            show=lambda listings: shelf.models(listings, base),
            limit=PAGE,
        )
        return Response(found)


class Model(ReplicateView):
    """`GET /v1/models/<owner>/<name>`, `PATCH` what its owner says of it, `DELETE`."""

    permission_classes = (IsAnybody,)
    scopes = {"GET": "models:read", "PATCH": "publishers:write", "DELETE": "publishers:write"}

    def get(self, request: Request, owner: str, name: str) -> Response:
        return Response(shelf.model(_listing(request, owner, name), self.base))

    def patch(self, request: Request, owner: str, name: str) -> Response:
        row = catalog.own_listing(caller(request).workspace, owner, name)
        data = request.data
        if not isinstance(data, dict):
            raise invalid([FieldError("body", "type", "must be a JSON object", "object")])
        allowed = ["description", "readme"]
        errors = [
            FieldError(str(field)[:64], "unknown", "is not kept of a model here", allowed)
            for field in data
            if field not in allowed
        ]
        errors += [
            FieldError(field, "type", "must be text", "string")
            for field in allowed
            if field in data and not isinstance(data[field], str)
        ]
        if errors:
            raise invalid(errors)
        said = catalog.Said(
            tagline=data.get("description", row.tagline),
            readme=data.get("readme", row.readme),
            cover=row.cover,
            visibility=row.visibility,
        )
        try:
            catalog.describe(row, said)
        except catalog.InvalidListing as error:
            names = {"tagline": "description"}
            raise invalid(
                replace(one, field=names.get(one.field, one.field)) for one in error.errors
            ) from None
        return self.get(request, owner, name)

    def delete(self, request: Request, owner: str, name: str) -> Response:
        catalog.own_listing(caller(request).workspace, owner, name)
        raise Problem(
            "forbidden",
            "A model that has versions cannot be deleted: runs and receipts name them. Make it private, or pause it.",
        )


class Readme(ReplicateView):
    """`GET /v1/models/<owner>/<name>/readme`: as it was written, in Markdown."""

    permission_classes = (IsAnybody,)
    scopes = {"GET": "models:read"}

    def get(self, request: Request, owner: str, name: str) -> HttpResponse:
        text = _listing(request, owner, name).readme
        return HttpResponse(text, content_type="text/plain; charset=utf-8")


class Examples(ReplicateView):
    """`GET /v1/models/<owner>/<name>/examples`: the runs that its publisher shows."""

    permission_classes = (IsAnybody,)
    scopes = {"GET": "models:read"}

    def get(self, request: Request, owner: str, name: str) -> Response:
        base = self.base
        rows = predictions.examples(_listing(request, owner, name))
        return Response(whole([shelf.example(row, base) for row in rows]))


class Versions(ReplicateView):
    """`GET /v1/models/<owner>/<name>/versions`, newest first."""

    permission_classes = (IsAnybody,)
    scopes = {"GET": "models:read"}

    def get(self, request: Request, owner: str, name: str) -> Response:
        rows = _versions(_listing(request, owner, name))
        base = self.base
        return Response(whole([shelf.version(row, base) for row in rows]))


class OneVersion(ReplicateView):
    """`GET /v1/models/<owner>/<name>/versions/<id>`, `DELETE`."""

    permission_classes = (IsAnybody,)
    scopes = {"GET": "models:read", "DELETE": "publishers:write"}

    def get(self, request: Request, owner: str, name: str, version: str) -> Response:
        return Response(shelf.version(find_version(request, owner, name, version), self.base))

    def delete(self, request: Request, owner: str, name: str, version: str) -> Response:
        catalog.own_listing(caller(request).workspace, owner, name)
        find_version(request, owner, name, version)
        raise Problem(
            "forbidden", "Versions are kept: runs and receipts name them, and nobody else's work may break."
        )


def find_version(request: Request, owner: str, name: str, version: str) -> Version:
    """The version of a model that the caller sees, by its whole id. Raises catalog.NotFound."""
    rows = _versions(_listing(request, owner, name))
    found = next((row for row in rows if row.sha256 == version), None)
    if found is None:
        raise catalog.NotFound(f"The model {owner}/{name} has no version {version[:64]!r}.")
    return found


def whole(results: list[shelf.Json]) -> shelf.Json:
    """A list that is one page."""
    return {"previous": None, "next": None, "results": results}


def _listing(request: Request, owner: str, name: str) -> Listing:
    return catalog.listing(f"{owner}/{name}", workspace=workspace(request))


def _versions(listing: Listing) -> list[Version]:
    return list(listing.versions.order_by("-id").prefetch_related("endpoints"))


def _searched(request: Request) -> str:
    """The words of a QUERY: plain text, or a JSON string, whatever the request calls it."""
    text = request._request.body.decode("utf-8", "replace").replace("\0", "\ufffd").strip()
    if text.startswith('"'):
        with contextlib.suppress(ValueError):
            text = str(json.loads(text))
    if len(text) > MAX_QUERY:
        raise invalid([FieldError("query", "too_long", f"has at most {MAX_QUERY} characters", MAX_QUERY)])
    # Half of a surrogate pair, as JSON can spell it, is nothing that the database can be asked for.
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
