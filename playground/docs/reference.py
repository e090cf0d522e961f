"""The OpenAPI document as people read it: groups of operations, tables of fields, all references resolved."""

from __future__ import annotations

import functools
import json
import re
import shlex
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from playground.api import openapi
from playground.api.codes import CODES

Json = dict[str, Any]
ORDER = (
    "Models",
    "Quotes",
    "Predictions",
    "Assets",
    "Media",
    "Balance",
    "Billing",
    "Limits",
    "Usage",
    "Workspace",
    "Keys",
    "Webhooks",
)
SHOWN_SCHEMAS = ("Problem", "Price", "Secret")
_CODE = re.compile(r"`([^`]+)`")


@dataclass(frozen=True, slots=True)
class Field:
    """One row of a table."""

    name: str
    type: str
    is_required: bool
    where: str
    description: SafeString
    example: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """One good answer."""

    status: str
    description: str
    schema: str
    is_list: bool


@dataclass(frozen=True, slots=True)
class Op:
    """One operation."""

    id: str
    method: str
    path: str
    summary: str
    detail: SafeString
    scope: str
    is_public: bool
    is_open: bool
    parameters: tuple[Field, ...]
    fields: tuple[Field, ...]
    replies: tuple[Reply, ...]
    problems: tuple[str, ...]
    request: str
    answer: str


@dataclass(frozen=True, slots=True)
class Group:
    """Operations on one kind of thing."""

    id: str
    title: str
    operations: tuple[Op, ...]


def words(text: str) -> SafeString:
    """A sentence of ours, its `code` marked as such."""
    return mark_safe(_CODE.sub(r"<code>\1</code>", escape(text)))  # noqa: S308 - escaped before


@functools.cache
def groups() -> tuple[Group, ...]:
    """The operations by what they are about, in the order in which one needs them."""
    found: dict[str, list[Op]] = {}
    for path, item in openapi.document()["paths"].items():
        for method, operation in item.items():
            found.setdefault(operation["tags"][0], []).append(_operation(path, method, operation))
    places = {title: place for place, title in enumerate(ORDER)}
    titles = sorted(found, key=lambda title: (places.get(title, len(ORDER)), title))
    return tuple(Group(f"ref-{title.lower()}", title, tuple(found[title])) for title in titles)


@functools.cache
def schemas() -> tuple[tuple[str, str, tuple[Field, ...]], ...]:
    """What answers are made of: name, description, fields. Pages of lists and single problems are left out."""
    every = openapi.document()["components"]["schemas"]
    return tuple(
        (name, one.get("description", ""), _fields(one))
        for name, one in every.items()
        if not re.match(r"Problem_|.*Page$|.*(Request|Change)$", name) and one.get("properties")
    )


@dataclass(frozen=True, slots=True)
class Permission:
    """What one method of one address asks of a key."""

    method: str
    path: str
    scope: str
    id: str


@functools.cache
def permissions() -> tuple[Permission, ...]:
    """The table of scopes by verb."""
    return tuple(
        Permission(op.method, op.path, op.scope or ("" if op.is_public else "any key"), op.id)
        for group in groups()
        for op in group.operations
    )


def _operation(path: str, method: str, operation: Json) -> Op:
    kinds = operation.get("requestBody", {}).get("content", {})
    body = kinds.get("application/json", {})
    replies, problems = _replies(operation["responses"])
    security = operation.get("security", [])
    shown = body.get("example")
    return Op(
        id=f"op-{operation['operationId'].replace('_', '-')}",
        method=method.upper(),
        path=path,
        summary=operation["summary"],
        detail=words(
            operation.get("description", "").partition("\n\nNeeds a key")[0].removeprefix("Needs a key with")
        ),
        scope=operation.get("x-scope", ""),
        is_public=security == [{}],
        is_open={} in security,
        parameters=tuple(_parameter(one) for one in operation.get("parameters", [])),
        fields=_fields(_resolved(body.get("schema", {}))),
        replies=replies,
        problems=problems,
        request=_curl(method, path, shown, kinds, is_public={} in security) if method != "get" else "",
        answer=_example(operation["responses"]),
    )


def _resolved(schema: Json) -> Json:
    name = schema.get("$ref", "").rpartition("/")[2]
    return dict(openapi.document()["components"]["schemas"][name]) if name else schema


def _parameter(given: Json) -> Field:
    if "$ref" in given:
        given = openapi.document()["components"]["parameters"][given["$ref"].rpartition("/")[2]]
    schema = given.get("schema", {})
    told = {name: schema[name] for name in ("enum", "default") if name in schema}
    return Field(
        name=given["name"],
        type=_type(schema),
        is_required=given.get("required", False),
        where=given["in"],
        description=words(_meaning({**told, "description": given.get("description", "")})),
    )


def _fields(schema: Json) -> tuple[Field, ...]:
    required = set(schema.get("required", ()))
    return tuple(
        Field(name, _type(one), name in required, "", words(_meaning(one)))
        for name, one in schema.get("properties", {}).items()
    )


def _meaning(one: Json) -> str:
    parts = [one.get("description", "")]
    if "minimum" in one and "maximum" in one:
        parts.append(f"{one['minimum']:,} to {one['maximum']:,}")
    allowed = one.get("enum") or one.get("items", {}).get("enum")
    if allowed:
        parts.append("one of " + ", ".join(f"`{value}`" for value in allowed if value))
    if one.get("default") not in (None, "", {}, []):
        shown = one["default"] if isinstance(one["default"], str | int) else json.dumps(one["default"])
        parts.append(f"`{str(shown).lower() if isinstance(shown, bool) else shown}` without it")
    return "; ".join(filter(None, parts))


def _type(one: Json) -> str:
    if "$ref" in one:
        return str(one["$ref"].rpartition("/")[2])
    if "anyOf" in one:
        return " or ".join(_type(part) for part in one["anyOf"])
    if "const" in one:
        return json.dumps(one["const"])
    if "enum" in one:
        return "string"
    kind = one.get("type", "any")
    if kind == "array" or (isinstance(kind, list) and "array" in kind):
        inner = _type(one.get("items", {}))
        return f"array of {inner}" + (" or null" if isinstance(kind, list) else "")
    if one.get("format") == "date-time":
        kind = "time" if kind == "string" else ["time", "null"]
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def _replies(responses: Json) -> tuple[tuple[Reply, ...], tuple[str, ...]]:
    replies: list[Reply] = []
    problems: list[str] = []
    no_content: Json = {}
    for status, one in responses.items():
        if "$ref" in one:
            problems += one["$ref"].rpartition("/")[2].split("_or_")
            continue
        content = next(iter(one.get("content", {}).values()), no_content)
        name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
        replies.append(Reply(status, one["description"], name.removesuffix("Page"), name.endswith("Page")))
    return tuple(replies), tuple(sorted(problems, key=lambda code: (CODES[code].status, code)))


def _example(responses: Json) -> str:
    for one in responses.values():
        for content in one.get("content", {}).values():
            if "example" in content:
                return json.dumps(content["example"], indent=2, ensure_ascii=False)
    return ""


def _curl(method: str, path: str, body: Any, kinds: Json, *, is_public: bool) -> str:
    lines = [f"curl -sS -X {method.upper()} '{settings.PUBLIC_URL}{path}'"]
    if not is_public:
        lines.append('-H "Authorization: Bearer $VITRINE_API_KEY"')
    if "multipart/form-data" in kinds:
        lines.append("-F file=@vase.png")
    elif "application/octet-stream" in kinds:
        lines.append("--data-binary @part")
    elif body is not None:
        text = shlex.quote(json.dumps(body, ensure_ascii=False))
        lines += ["-H 'Content-Type: application/json'", f"-d {text}"]
    return " \\\n  ".join(lines)
