"""The OpenAPI document of `/api/v1`, made from the views once per process, and what is not in any view."""

from __future__ import annotations

import functools
import json
import re
import threading
from typing import Any

from django.conf import settings
from drf_spectacular.generators import SchemaGenerator

from marketplace.keys import SCOPES
from playground.api.codes import CODES
from playground.api.described import PROBLEM_JSON
from playground.api.schemas import SCHEMAS

Json = dict[str, Any]
VERSION = "1.0.0"
PREFIX = "/api/v1/"
ABOUT = """\
Run generative models by one API and one bill: a quote before every run, charged only when it succeeds.

Every answer has an `X-Request-Id`; those that were counted say how many requests are left in the minute. Errors are
problem+json with a stable `code`. Before any operation a request can be refused with `uri_too_long` (414),
`headers_too_large` (431) or `body_too_large` (413); an address that does not exist is `not_found` (404), a method that
it does not take `method_not_allowed` (405) with `Allow`. Times are ISO 8601 in UTC, amounts integer micro-dollars.
Browsers of any origin may call: CORS is open, and cookies count on our own pages only."""
_HEADERS = {
    "X-Request-Id": "The name of this request: yours if you sent a sane one.",
    "RateLimit-Limit": "Requests that the caller may send in a minute. Absent where the server sets no limit.",
    "RateLimit-Remaining": "How many of them are left in the present minute.",
    "RateLimit-Reset": "Seconds until the next minute begins.",
    "Retry-After": "Seconds after which to try again.",
    "Location": "The address of what was made.",
    "Idempotent-Replayed": "`true` where an earlier request with this key made it.",
    "Preference-Applied": "The waiting that was granted.",
    "WWW-Authenticate": "How to send a key.",
    "Allow": "The methods that the address takes.",
    "ETag": "Names these very bytes.",
    "Content-Range": "Which part this is.",
    "Content-Disposition": "A name to save it under.",
}
_WHOLE_HEADERS = {"RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "Retry-After"}
_PARAMETERS: Json = {
    "cursor": {
        "name": "cursor",
        "in": "query",
        "description": "from `next` or `previous` of a page; nothing else",
        "schema": {"type": "string", "pattern": "^[np][0-9a-hjkmnp-tv-z]{26}$"},
    },
    "limit": {
        "name": "limit",
        "in": "query",
        "description": "how many on a page, 1 to 100",
        "schema": {"type": "integer", "minimum": 1, "maximum": 100, "default": 20},
    },
    "Idempotency-Key": {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "a name of your own for this request: sent again within a day it makes nothing new",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
        "example": "order-1042",
    },
}
_SECURITY: Json = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key, `vt_…`. `Key` and `Token` are understood in place of `Bearer`. Scopes: "
        + "; ".join(f"`{name}`: {meaning}" for name, meaning in SCOPES.items())
        + ".",
    },
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same key."},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": settings.SESSION_COOKIE_NAME,
        "description": "The signed-in person of our own pages; what writes needs the CSRF token too.",
    },
}
_MEDIA: Json = {
    "get": {
        "operationId": "get_media",
        "tags": ["Media"],
        "summary": "A file, by the address that an answer gave",
        "description": "The address is all that it takes, until it expires: no key. One range at a time.",
        "parameters": [
            {"name": "token", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}},
            {"name": "name", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}},
            {
                "name": "download",
                "in": "query",
                "description": "present: save it instead of showing it",
                "schema": {"type": "string"},
            },
            {"name": "Range", "in": "header", "schema": {"type": "string"}, "example": "bytes=0-1023"},
        ],
        "security": [{}],
        "responses": {
            "200": {"description": "The file.", "content": {"*/*": {}}},
            "206": {"description": "The part that was asked for.", "content": {"*/*": {}}},
            "302": {
                "description": "To the bucket that holds it, where there is one; with a key the file comes at once."
            },
            "304": {"description": "You have it already: the ETag you sent is its."},
            "404": {"$ref": "#/components/responses/not_found"},
            "416": {"description": "There is no such part."},
            "503": {"$ref": "#/components/responses/unavailable"},
        },
    }
}


_making = threading.Lock()


def document() -> Json:
    """The whole document. Nobody changes it."""
    # All threads share drf-spectacular's inspectors: of two documents made at once each lacks what the other one took,
    # and the one that was ready last would be kept.
    with _making:
        return _made()


@functools.cache
def _made() -> Json:
    made: Json = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    return made


@functools.cache
def as_bytes() -> bytes:
    """The document as it is sent."""
    return json.dumps(document(), ensure_ascii=False, separators=(",", ":")).encode()


def finish(result: Json, **_: Any) -> Json:
    """drf-spectacular's last step: all that no single view can say."""
    paths = {path: one for path, one in result["paths"].items() if path.startswith(PREFIX)}
    paths["/media/{token}/{name}"] = _MEDIA
    components = result.setdefault("components", {})
    described = components.setdefault("schemas", {})
    for name, one in described.items():
        if name not in SCHEMAS:
            one["additionalProperties"] = False  # an unknown field is an error
    components["schemas"] = {**SCHEMAS, **described}
    components["headers"] = {name: _header(name) for name in _HEADERS}
    components["parameters"] = _PARAMETERS
    components["responses"] = {name: _response(name) for name in sorted(_named_responses(paths))}
    components["securitySchemes"] = _SECURITY
    return {
        "openapi": result["openapi"],
        "info": {"title": "Vitrine", "version": VERSION, "description": ABOUT},
        "servers": [{"url": settings.PUBLIC_URL}],
        "paths": paths,
        "components": components,
        "externalDocs": {"url": f"{settings.PUBLIC_URL}/docs", "description": "Guides"},
    }


def _header(name: str) -> Json:
    kind = {"type": "integer"} if name in _WHOLE_HEADERS else {"type": "string"}
    return {"description": _HEADERS[name], "schema": kind}


def _named_responses(paths: Json) -> set[str]:
    return set(re.findall(r"#/components/responses/(\w+)", json.dumps(paths)))


def _response(name: str) -> Json:
    codes = name.split("_or_")
    kinds = [CODES[code] for code in codes]
    schemas = [{"$ref": f"#/components/schemas/Problem_{code}"} for code in codes]
    headers = ["X-Request-Id"]
    if kinds[0].status == 401:
        headers.append("WWW-Authenticate")
    if kinds[0].status in {429, 503} or "idempotency_in_flight" in codes:
        headers.append("Retry-After")
    return {
        "description": " ".join(f"`{kind.code}`: {kind.meaning}" for kind in kinds),
        "headers": {one: {"$ref": f"#/components/headers/{one}"} for one in headers},
        "content": {PROBLEM_JSON: {"schema": schemas[0] if len(schemas) == 1 else {"anyOf": schemas}}},
    }
