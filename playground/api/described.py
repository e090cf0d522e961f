"""Operations of the OpenAPI document: what a view's code says of itself, and the few words that it cannot say.

Hides drf-spectacular. A view that says nothing is described by its docstring, scopes and permissions; `described` adds
the body, the answers and the problems of each method. Standard problems, headers and parameters are added here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from drf_spectacular.openapi import AutoSchema
from rest_framework.serializers import Serializer

from playground.api.authentication import IsAnybody, SessionAuthentication
from playground.api.codes import CODES

Json = dict[str, Any]
JSON, PROBLEM_JSON = "application/json", "application/problem+json"
ALWAYS = ("malformed_request", "throttled", "internal_error", "unavailable")
WITH_KEY = ("invalid_key", "forbidden", "origin_not_allowed")
WITH_BODY = ("request_timeout", "body_too_large")
WITH_FILE = ("length_required",)
WITH_JSON = ("unsupported_media_type", "invalid_input")
WRITING = {"POST", "PUT", "PATCH"}
WITH_PAGES = ("invalid_cursor", "invalid_input")
ONCE = ("idempotency_conflict", "idempotency_in_flight")
PATH_PARAMETERS: dict[str, tuple[str, str]] = {
    "publisher": ("the first half of a model's id", "vitrine"),
    "name": ("the second half of a model's id", "daylight"),
    "prediction_id": ("a prediction: `p_…`, its 26 characters alone, or the UUID", ""),
    "webhook_id": ("a webhook: `wh_…`", ""),
    "delivery_id": ("a delivery: `d_…`", ""),
    "key_id": ("a key: `k_…`", ""),
    "limit_id": ("a spend limit: `l_…`", ""),
    "asset_id": ("an asset: `a_…`", ""),
    "upload_id": ("an upload: `u_…`", ""),
    "topup_id": ("a top-up: `tu_…`", ""),
    "payout_id": ("a payout: `po_…`", ""),
    "number": ("which part, from 1", ""),
    "month": ("a month of UTC: `2026-11`", "2026-11"),
}
PATH_SCHEMAS: dict[str, Json] = {"number": {"type": "integer", "minimum": 1}}
COUNTED_HEADERS = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")


@dataclass(frozen=True, slots=True)
class Answer:
    """One good answer: the name of its schema (None: no body), headers beyond the common ones, an example."""

    schema: str | None = None
    description: str = ""
    headers: tuple[str, ...] = ()
    example: Any = None
    media_type: str = JSON


@dataclass(frozen=True, slots=True)
class Operation:
    """What the code of one method does not say.

    `once`: it honours an Idempotency-Key; `pages`: its answer is a page of a list; `parameters` are further ones as
    OpenAPI writes them; `body_is_optional`: an empty body will do; `files`: media types of bodies that are or hold a
    file, with their schemas, besides JSON where there is a `body` too.
    """

    summary: str = ""
    detail: str = ""
    body: type[Serializer[Any]] | None = None
    body_is_optional: bool = False
    body_example: Any = None
    files: Mapping[str, Json] = field(default_factory=dict)
    answers: Mapping[int, Answer] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    parameters: tuple[Json, ...] = ()
    once: bool = False
    pages: bool = False
    tag: str = ""


def query(name: str, description: str, schema: Json | None = None) -> Json:
    """A parameter of the query."""
    return {"name": name, "in": "query", "description": description, "schema": schema or {"type": "string"}}


def choice(name: str, description: str, values: Iterable[str]) -> Json:
    """A parameter of the query that is one of these, or empty, which asks for nothing."""
    return query(name, description, {"type": "string", "enum": [*values, ""]})


def header(name: str, description: str, schema: Json | None = None) -> Json:
    """A parameter in the headers."""
    return {"name": name, "in": "header", "description": description, "schema": schema or {"type": "string"}}


class Described(AutoSchema):
    """Builds one operation."""

    def get_operation(
        self, path: str, path_regex: str, path_prefix: str, method: str, registry: Any
    ) -> Json | None:
        self.registry, self.path, self.path_regex = registry, path, path_regex
        self.path_prefix, self.method = path_prefix, method.upper()
        told: Operation = getattr(self.view, "described", {}).get(self.method, Operation())
        said = self._docstring()
        scope = getattr(self.view, "scopes", {}).get(self.method)
        names = re.findall(r"{(\w+)}", path)
        operation: Json = {
            "operationId": self._operation_id(),
            "tags": [
                told.tag or path.removeprefix("/api/v1/").partition("/")[0].partition(".")[0].capitalize()
            ],
            "summary": told.summary or said,
            "description": self._description(told, scope),
            "parameters": [*self._parameters(told, names)],
            "responses": self._responses(told, names, scope),
            "security": self._security(scope),
        }
        if scope is not None:
            operation["x-scope"] = scope
        if self._takes_body(told):
            operation["requestBody"] = self._body(told)
        return operation

    def _docstring(self) -> str:
        first = (type(self.view).__doc__ or "").strip().partition("\n")[0]
        return first.rpartition("`: ")[2].rstrip(".").capitalize() if first else self.path

    def _operation_id(self) -> str:
        kind = type(self.view).__name__
        verb = {"GET": "get", "POST": "create", "PATCH": "change", "PUT": "put", "DELETE": "delete"}[
            self.method
        ]
        return f"{verb}_{re.sub(r'(?<!^)(?=[A-Z])', '_', kind).lower()}"

    def _description(self, told: Operation, scope: str | None) -> str:
        parts = [told.detail]
        if scope is not None:
            parts.append(f"Needs a key with the scope `{scope}`" + (", or none." if self._is_open else "."))
        return "\n\n".join(part for part in parts if part)

    @property
    def _is_open(self) -> bool:
        """Whether visitors may, too."""
        return self._is_public or IsAnybody in self.view.permission_classes

    @property
    def _is_public(self) -> bool:
        """Whether nobody is asked who they are."""
        return not self.view.authentication_classes

    def _parameters(self, told: Operation, names: Iterable[str]) -> Iterable[Json]:
        for name in names:
            description, example = PATH_PARAMETERS.get(name, (name.replace("_", " "), ""))
            yield {
                "name": name,
                "in": "path",
                "required": True,
                "description": description,
                "schema": PATH_SCHEMAS.get(name, {"type": "string", "minLength": 1}),
                **({"example": example} if example else {}),
            }
        yield from told.parameters
        if told.pages:
            yield {"$ref": "#/components/parameters/cursor"}
            yield {"$ref": "#/components/parameters/limit"}
        if told.once:
            yield {"$ref": "#/components/parameters/Idempotency-Key"}

    def _security(self, scope: str | None) -> list[Json]:
        if self._is_public:
            return [{}]
        wanted = [scope] if scope else []
        found: list[Json] = [{"bearer": wanted}, {"apiKey": wanted}]
        if SessionAuthentication in self.view.authentication_classes:
            found.append({"session": []})
        return [*found, {}] if self._is_open else found

    def _takes_body(self, told: Operation) -> bool:
        return told.body is not None or self.method in WRITING

    def _body(self, told: Operation) -> Json:
        content: Json = {kind: {"schema": schema} for kind, schema in told.files.items()}
        if told.body is not None or not content:
            schema: Json = {"type": "object", "additionalProperties": False}
            if told.body is not None:
                named = self.resolve_serializer(told.body, "request")
                schema = named.ref if named.schema else schema
            content[JSON] = {"schema": schema}
            if told.body_example is not None:
                content[JSON]["example"] = told.body_example
        needs = bool(told.files) or (told.body is not None and not told.body_is_optional)
        return {"required": needs, "content": content}

    def _responses(self, told: Operation, names: list[str], scope: str | None) -> Json:
        found: Json = {}
        for status, answer in told.answers.items():
            found[str(status)] = self._answer(answer)
        if not told.answers:
            found["2XX"] = self._answer(Answer(description="Done."))
        by_status: dict[int, list[str]] = {}
        for code in dict.fromkeys(self._problems(told, names, scope)):
            by_status.setdefault(CODES[code].status, []).append(code)
        for status, codes in sorted(by_status.items()):
            found[str(status)] = {"$ref": f"#/components/responses/{'_or_'.join(codes)}"}
        return found

    def _problems(self, told: Operation, names: list[str], scope: str | None) -> Iterable[str]:
        yield from ALWAYS
        if not self._is_public:
            if not self._is_open:
                yield "not_authenticated"
            yield from WITH_KEY
            if scope is not None:
                yield "missing_scope"
        if names:
            yield "not_found"
        if self._takes_body(told):
            yield from WITH_BODY
            if told.files:
                yield from WITH_FILE
            yield from WITH_JSON if not told.files else WITH_JSON[1:] if told.body is not None else ()
        if told.pages:
            yield from WITH_PAGES
        if told.once:
            yield from ONCE
        yield from told.problems

    def _answer(self, answer: Answer) -> Json:
        names = (*answer.headers, "X-Request-Id", *COUNTED_HEADERS)
        found: Json = {
            "description": answer.description or "Done.",
            "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in names},
        }
        if answer.schema is not None:
            plain: Json = {"type": "string"} if answer.media_type.startswith("text/") else {}
            schema = {"$ref": f"#/components/schemas/{answer.schema}"} if answer.schema else plain
            found["content"] = {answer.media_type: {"schema": schema}}
            if answer.example is not None:
                found["content"][answer.media_type]["example"] = answer.example
        return found
