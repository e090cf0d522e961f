"""`/v1/models/requests/search`: the workspace's runs, the newest first, all of them or those that have some words.

What fal finds by likeness to words is found here by the words themselves, all of which the prompt then has; likeness
to a picture or a film is not looked for.
"""

from __future__ import annotations

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from marketplace.ids import parse
from playground import predictions
from playground.api.problems import Problem
from playground.api.view import caller
from playground.facades.fal.platform.asked import (
    Json,
    PlatformView,
    app_of,
    limit_of,
    paged,
    texts,
    wrong,
)
from playground.facades.fal.platform.not_here import not_here
from playground.facades.fal.platform.requests import item
from playground.facades.view import IGNORED
from playground.models import Prediction
from playground.predictions import Filters, browse

LIKENESS = ("image_url", "video_url")
BY_PAGE, BY_KEY = "exclude_api_requests", "only_api_requests"
_TRUTHS = {"true": True, "1": True, "false": False, "0": False, "": False}


class Search(PlatformView):
    """`GET /v1/models/requests/search`."""

    scopes = {"GET": "predictions:read"}

    def get(self, request: Request) -> Response:
        given = request.query_params
        if any(given.get(name) for name in LIKENESS):
            return not_here(
                request,
                "Requests cannot be searched by likeness here, by the words of their prompts they can.",
            )
        models = [app_of(one) for one in texts(request, "endpoint_id") or texts(request, "endpoint")]
        is_page, is_key = _truth(request, BY_PAGE), _truth(request, BY_KEY)
        if is_page and is_key:
            raise wrong(BY_KEY, f"and {BY_PAGE} leave nothing")
        if words := given.get("query", "").strip():
            answer = _by_words(request, words, models, is_page=is_page, is_key=is_key)
        else:
            answer = _all(request, models, is_page=is_page, is_key=is_key)
        return Response(answer, headers={IGNORED: "min_similarity"} if given.get("min_similarity") else {})


def _all(request: Request, models: list[str], *, is_page: bool, is_key: bool) -> Json:
    workspace = caller(request).workspace
    rows = Prediction.objects.of(workspace).with_model()
    rows = rows.filter(model__in=models) if models else rows
    rows = rows.filter(via=Prediction.Via.PAGE) if is_page else rows
    rows = rows.exclude(via=Prediction.Via.PAGE) if is_key else rows

    def show(found: list[Prediction]) -> list[Json]:
        return [item(row, has_payloads=True) for row in found]

    with predictions.bounded():
        return paged(
            request,
            "results",
            rows,
            order=("-created_at", "-id"),
            show=show,
            anchors=predictions.anchors(workspace),
        )


def _by_words(request: Request, words: str, models: list[str], *, is_page: bool, is_key: bool) -> Json:
    if len(models) > 1:
        raise wrong("endpoint_id", "names one app at most where words are looked for", code="too_many")
    if is_key:
        raise wrong(BY_KEY, "cannot be asked for together with query", [False])
    filters = Filters(
        text=words.replace("\0", "\ufffd"),
        model=models[0] if models else "",
        via=Prediction.Via.PAGE if is_page else "",
    )
    cursor = request.query_params.get("cursor", "")
    before = parse(cursor, "p") if cursor else None
    if cursor and before is None:
        raise Problem("invalid_cursor", "This cursor is none that this list gave. Start again without it.")
    page = browse.page(caller(request).workspace, filters, size=limit_of(request), before=before, whole=True)
    following: Any = page.rows[-1].uid if page.has_older else None
    results = [item(row, has_payloads=True) for row in page.rows]
    return {"results": results, "next_cursor": following, "has_more": page.has_older}


def _truth(request: Request, name: str) -> bool:
    found = _TRUTHS.get(request.query_params.get(name, "").lower())
    if found is None:
        raise wrong(name, "must be true or false", [True, False], "type")
    return found
