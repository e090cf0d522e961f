"""The OpenAPI document of one app, as fal's tools read it, with the hints for forms: `x-fal-…`, `ui` and `examples`.

It says what the endpoint's own schemas say, in another dialect. The last two hints have no room in a schema of OpenAPI
3.0, which fal's own documents name, and no validator or generator takes those; 3.1 lets a schema say more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.conf import settings
from django.urls import reverse

from marketplace import catalog
from marketplace.schema import ADAPTER_TYPE
from marketplace.schema.clean import ordered
from playground.facades.fal import limits

Json = dict[str, Any]

VERSION = "3.1.0"
_KINDS = ("image", "video", "audio")
_PLAIN = (
    *(
        "type",
        "title",
        "description",
        "default",
        "examples",
        "enum",
        "format",
        "pattern",
        "deprecated",
    ),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    *("minLength", "maxLength", "minItems", "maxItems"),
)
_FILE: Json = {
    "type": "object",
    "title": "File",
    "required": ["url"],
    "x-fal-order-properties": [
        "url",
        "content_type",
        "file_name",
        "file_size",
        "width",
        "height",
        "duration",
    ],
    "properties": {
        "url": {"type": "string", "format": "uri", "description": "Where the file can be read."},
        "content_type": {"type": "string", "description": "The media type of the file."},
        "file_name": {"type": "string"},
        "file_size": {"type": "integer", "description": "Bytes."},
        "width": {"type": "integer", "description": "Pixels, of a picture or a film."},
        "height": {"type": "integer", "description": "Pixels, of a picture or a film."},
        "duration": {"type": "number", "description": "Seconds, of what lasts."},
    },
}
_STATUS: Json = {
    "type": "object",
    "title": "QueueStatus",
    "required": ["status", "request_id"],
    "properties": {
        "status": {"type": "string", "enum": ["IN_QUEUE", "IN_PROGRESS", "COMPLETED"]},
        "request_id": {"type": "string", "format": "uuid"},
        "response_url": {"type": "string", "format": "uri"},
        "status_url": {"type": "string", "format": "uri"},
        "cancel_url": {"type": "string", "format": "uri"},
        "queue_position": {"type": "integer", "description": "How many are ahead, while it waits."},
        "logs": {
            "type": ["array", "null"],
            "items": {"type": "object", "additionalProperties": True},
        },
        "metrics": {"type": "object", "additionalProperties": True},
        "error": {"type": "string", "description": "Why it did not succeed."},
        "error_type": {"type": "string"},
    },
}


def document(called: catalog.Callable, *, queue_url: str, run_url: str) -> Json:
    """The document of an app, whose addresses are below `queue_url`, and those that answer at once below `run_url`."""
    app, listing, endpoint = called.model_id, called.listing, called.endpoint
    name = "".join(part.capitalize() for part in listing.name.split("-"))
    taken, made = f"{name}Input", f"{name}Output"
    paths = _paths(app, taken, made, run_url)
    return {
        "openapi": VERSION,
        "info": {
            "title": f"Queue OpenAPI for {app}",
            "version": called.version.sha256[:12],
            "description": listing.tagline,
            "x-fal-metadata": metadata(called),
        },
        "servers": [{"url": queue_url}],
        "security": [{"apiKeyAuth": []}],
        "components": {
            "securitySchemes": {
                "apiKeyAuth": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "`Key` and an API key, as `Key vt_…`.",
                }
            },
            "schemas": {
                "QueueStatus": _STATUS,
                "File": _FILE,
                taken: {**shown(endpoint.input_schema), "title": taken},
                made: _output(endpoint.output_schema, made),
            },
        },
        "paths": paths,
        "x-fal-order-paths": list(paths),
    }


def metadata(called: catalog.Callable) -> Json:
    """What the document says of the app beside its schemas."""
    listing = called.listing
    at = [listing.publisher.name, listing.name]
    return {
        "endpointId": called.model_id,
        "category": listing.task,
        "playgroundUrl": settings.PUBLIC_URL + reverse("model", args=at),
        "documentationUrl": settings.PUBLIC_URL + reverse("model-api", args=at),
    }


def shown(one: Mapping[str, Any]) -> Json:
    """One of our schemas in OpenAPI 3.1, with fal's hints for a form."""
    found: Json = {name: one[name] for name in _PLAIN if name in one}
    if "const" in one:
        found["enum"] = [one["const"]]
    if one.get("nullable") and "type" in one:
        found["type"] = [one["type"], "null"]
        if "enum" in found:
            found["enum"] = [*found["enum"], None]
    if one.get("x-media") is not None:
        found |= _file_field(one["x-media"])
    if "items" in one:
        found["items"] = shown(one["items"])
    if "properties" in one:
        required = list(one.get("required", ()))
        fields = ordered(one)
        found["properties"] = {name: _field(field, is_required=name in required) for name, field in fields}
        found["x-fal-order-properties"] = [name for name, _ in fields]
        if required:
            found["required"] = required
    if isinstance(one.get("additionalProperties"), bool):
        found["additionalProperties"] = one["additionalProperties"]
    return found


def _field(one: Mapping[str, Any], *, is_required: bool) -> Json:
    found = shown(one)
    if is_required:
        found["ui"] = {**found.get("ui", {}), "important": True}
    if one.get("x-control") == "textarea":
        found["ui"] = {**found.get("ui", {}), "field": "textarea"}
    return found


def _file_field(types: Iterable[str]) -> Json:
    """A field for a file: an address, a `data:` address, or the id of a file that is here already."""
    listed = list(types)
    kinds = {kind.partition("/")[0] for kind in listed if kind != ADAPTER_TYPE}
    kind = next(iter(kinds)) if len(kinds) == 1 and kinds <= set(_KINDS) else "file"
    return {"ui": {"field": kind}, "x-fal": {"media_types": listed} if listed else {}}


def _output(one: Mapping[str, Any], title: str) -> Json:
    """What a run gives: media as files, each list of theirs under its name, and what is said beside."""
    found = shown(one)
    properties = found.setdefault("properties", {})
    for name, field in list(properties.items()):
        if field.get("type") == "array" and "url" in field.get("items", {}).get("properties", {}):
            properties[name] = {**field, "items": {"$ref": "#/components/schemas/File"}}
        elif "url" in field.get("properties", {}):
            properties[name] = {"$ref": "#/components/schemas/File"}
    properties.setdefault("prompt", {"type": "string", "description": "The prompt, if there was one."})
    properties.setdefault("timings", {"type": "object", "additionalProperties": {"type": ["number", "null"]}})
    return {**found, "type": "object", "title": title, "x-fal-order-properties": list(properties)}


def _paths(app: str, taken: str, made: str, run_url: str) -> Json:
    request = {
        "name": "request_id",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "format": "uuid"},
    }
    logs = {
        "name": "logs",
        "in": "query",
        "schema": {"type": "integer", "enum": [0, 1]},
        "description": "Whether to tell the log.",
    }
    body = {"required": True, "content": _json(taken)}
    canceled = {"type": "object", "properties": {"status": {"type": "string"}}}
    at = f"/{app}/requests/{{request_id}}"
    return {
        f"/{app}": {
            "post": {
                "operationId": "submit",
                "requestBody": body,
                "responses": _answers("The request waits.", _json("QueueStatus")),
            }
        },
        f"{at}/status": {
            "get": {
                "operationId": "status",
                "parameters": [request, logs],
                "responses": _answers("The state of the request.", _json("QueueStatus")),
            }
        },
        f"{at}/cancel": {
            "put": {
                "operationId": "cancel",
                "parameters": [request],
                "responses": {
                    "202": {
                        "description": "It is cancelled.",
                        "content": {"application/json": {"schema": canceled}},
                    }
                },
            }
        },
        at: {
            "get": {
                "operationId": "result",
                "parameters": [request],
                "responses": _answers("What the run made.", _json(made)),
            }
        },
        f"/{app}/realtime": {
            "servers": [{"url": run_url}],
            "x-fal-protocol": {
                "type": "realtime",
                "realtimeMode": "unary",
                "contentType": "application/msgpack",
                "config": {
                    "buffering": limits.BUFFER_USUAL,
                    "sessionTimeout": limits.IDLE_SECONDS,
                    "maxBatchSize": 1,
                },
            },
            "post": {
                "operationId": "realtime",
                "summary": "Messages of a websocket: each asks for one run, and is answered with what it made.",
                "requestBody": body,
                "responses": _answers("What the run made.", _json(made)),
            },
        },
    }


def _json(name: str) -> Json:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}


def _answers(description: str, content: Json) -> Json:
    return {"200": {"description": description, "content": content}}
