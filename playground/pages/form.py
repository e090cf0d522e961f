"""The form of a model: the same values as controls or as JSON, read from whichever was sent.

Names with a hyphen are ours and none of the model's: fields are identifiers. What is secret is read and never written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.http import HttpRequest, QueryDict

from marketplace import catalog, schema
from marketplace.schema import FieldError
from playground import predictions
from playground.models import Asset, Prediction
from playground.pages import model, once
from playground.pages.context import workspace_of
from playground.pages.words import MAX_UNKNOWN_SHOWN, Vocabulary, vocabulary

VIEW, JSON, ACT, VERSION, WAS = "form-view", "form-json", "form-act", "form-version", "form-was"
MOST = "form-most"  # the most that the run may cost
SINCE = "form-since"  # since when the prices held that were shown
MOST_LENGTH = 20


@dataclass(frozen=True, slots=True)
class Given:
    """What a form holds. `text` is its JSON as it was typed, `trouble` why that cannot be read."""

    values: dict[str, Any] = field(default_factory=dict)
    is_json: bool = False
    text: str = ""
    trouble: schema.InvalidJson | None = None
    focus: str = ""  # the path of the control that is to be focused


@dataclass(frozen=True, slots=True)
class Shortfall:
    """Why a run cannot be paid for: what it needs, what is there, and what is missing. In micro-dollars.

    `address` is where credit is bought, by somebody who may; it leads back to the form.
    """

    needed: int
    available: int
    held: int
    address: str = ""

    @property
    def missing(self) -> int:
        return self.needed - self.available


def read(request: HttpRequest, described: schema.Schema, *, keep_empty: bool = False) -> Given:
    """The posted form."""
    return _read(request.POST, described, keep_empty=keep_empty)


def _read(sent: QueryDict, described: schema.Schema, *, keep_empty: bool = False) -> Given:
    posted = {name: text for name in sent if (text := sent.get(name)) is not None}
    if posted.get(VIEW) != "json":
        return Given(schema.from_form(described, posted, keep_empty=keep_empty))
    text = posted.get(JSON, "")
    secrets = {
        one.name: posted[one.name]
        for one in schema.fields(described)
        if one.control == "secret" and posted.get(one.name)
    }
    try:
        values = schema.read_json(text or "{}")
    except schema.InvalidJson as error:
        return Given(secrets, is_json=True, text=text, trouble=error)
    if schema.secrets_in(described, values):
        text = schema.write_json(described, values)
    return Given({**values, **secrets}, is_json=True, text=text)


def from_address(request: HttpRequest, described: schema.Schema) -> Given:
    """The values that the address gives to fields; those it does not name keep their defaults."""
    if request.GET.get(VIEW) == "json":
        found = _read(request.GET, described)
        return Given(found.values, is_json=True, text=found.text, trouble=found.trouble)
    given = {name: text[: model.MAX_CARRIED] for name in request.GET if (text := request.GET.get(name))}
    named = {name.partition(".")[0] for name in given}
    values = schema.from_form(described, given)
    values = {name: value for name, value in values.items() if name in named}
    return Given({**values, **_used(request, described)})


def of_run(row: Prediction, described: schema.Schema, *, with_seed: bool, with_files: bool = True) -> Given:
    """The input of a run, for the form; what is secret was never kept, and another's files are no use to anybody."""
    left_out = {"secret"} | ({"seed"} if not with_seed else set()) | (set() if with_files else {"file"})
    fields = {one.name: one.control for one in schema.fields(described)}
    values = schema.redact(described, row.input)
    return Given({name: value for name, value in values.items() if fields.get(name) not in left_out})


def _used(request: HttpRequest, described: schema.Schema) -> dict[str, Any]:
    """`?use=` puts a file of the workspace into the first field that takes its kind."""
    asset = own_asset(request, request.GET.get("use", ""))
    if asset is None:
        return {}
    for one in schema.fields(described):
        if one.control == "file" and schema.takes(
            tuple(filter(None, one.media.split(","))), asset.media_type
        ):
            return {one.name: asset.uid}
    return {}


def own_asset(request: HttpRequest, uid: str) -> Asset | None:
    """A file of the workspace that is still there."""
    workspace = workspace_of(request)
    if not uid or workspace is None:
        return None
    return predictions.own_file(workspace, uid[:64])


def turned(request: HttpRequest, described: schema.Schema, act: str) -> tuple[Given, str]:
    """The form after one of its own acts: another view, its defaults, what it was before, one row more or less.

    With it, a word for what can be undone.
    """
    now = read(request, described, keep_empty=True)
    if act == "reset":
        return Given(is_json=now.is_json, text="{}"), _was(described, now)
    if act == "undo":
        was = _before(request)
        return Given(was, is_json=now.is_json, text=schema.write_json(described, was)), ""
    if now.trouble is not None:
        return now, ""
    if act in {"json", "form"}:
        compact = read(request, described).values
        return Given(compact, is_json=act == "json", text=schema.write_json(described, compact)), ""
    values, focus = schema.rearranged(described, now.values, act)
    return Given(values, is_json=now.is_json, text=now.text, focus=focus), ""


def _was(described: schema.Schema, now: Given) -> str:
    return schema.write_json(described, now.values) if now.values else ""


def _before(request: HttpRequest) -> dict[str, Any]:
    try:
        return schema.read_json(request.POST.get(WAS, "") or "{}")
    except schema.InvalidJson:
        return {}


def context(
    request: HttpRequest,
    called: catalog.Callable,
    given: Given,
    *,
    errors: Sequence[FieldError] = (),
    notice: str = "",
    shortfall: Shortfall | None = None,
    was: str = "",
) -> dict[str, Any]:
    """What the form shows: its controls filled, the price, and what is wrong."""
    described = called.endpoint.input_schema
    fields = schema.fields(described, given.values, list(errors))
    known = {one.name for one in fields}
    strange = [
        error
        for error in errors
        if given.is_json or schema.dotted(error.field).partition(".")[0] not in known
    ]
    complete = {**schema.example(described), **given.values}
    quote, problem = model.quote(request, called, complete) if given.trouble is None else (None, "")
    advanced = [one for one in fields if one.is_advanced]
    return {
        "given": given,
        "fields": [one for one in fields if not one.is_advanced],
        "secrets": [one for one in fields if one.control == "secret"],
        "advanced": advanced,
        "advanced_is_open": any(one.is_wrong or _holds(one.name, given.focus) for one in advanced),
        "text": given.text if given.text or not given.is_json else schema.write_json(described, given.values),
        "strange": strange,
        "wrong": [error.field for error in errors],
        "notice": notice,
        "shortfall": shortfall,
        "was": was,
        "quote": quote,
        "prices_since": since(called),
        "most": most_text(request),
        "once": once.shown(request),
        "problem": problem or (str(given.trouble) if given.trouble else ""),
        **unknown(called, complete),
    }


def since(called: catalog.Callable) -> str:
    """Since when the prices hold that are shown; a run that is asked for later is compared with them."""
    return called.prices[0].effective_from.isoformat() if called.prices else ""


def most_text(request: HttpRequest) -> str:
    """The cap of a run as it was typed, or is in the address."""
    sent = request.POST if request.method == "POST" else request.GET
    return sent.get(MOST, "")[:MOST_LENGTH].replace("\0", "").strip()


def _holds(name: str, path: str) -> bool:
    return path == name or path.startswith(f"{name}.")


def knows_words(called: catalog.Callable) -> bool:
    """Whether the form has a place for what the model never learned."""
    return vocabulary(called.version.manifest) is not None


def unknown(called: catalog.Callable, values: Mapping[str, Any]) -> dict[str, Any]:
    """The words of the prompt that the model never learned."""
    words: Vocabulary | None = vocabulary(called.version.manifest)
    found = words.unknown(str(values.get("prompt", ""))) if words and words.understood else []
    return {"unknown": found[:MAX_UNKNOWN_SHOWN], "unknown_more": max(0, len(found) - MAX_UNKNOWN_SHOWN)}


def public(described: schema.Schema, given: Given, sent: Mapping[str, str]) -> dict[str, str]:
    """What an address may say of a posted form: all of it but what is secret or long."""
    secret = {one.name for one in schema.fields(described) if one.control == "secret"}
    ours = {ACT, WAS, "csrfmiddlewaretoken", VERSION, SINCE}
    kept = {name: text for name, text in sent.items() if name not in secret | ours}
    if given.is_json:
        kept[JSON] = given.text if given.trouble is None else ""
    known = {one.name for one in schema.fields(described)} | {VIEW, JSON, MOST}
    return {
        name: text
        for name, text in kept.items()
        if text and len(text) <= model.MAX_CARRIED and (name.partition(".")[0] in known)
    }


def as_query(values: Mapping[str, Any]) -> dict[str, str]:
    """Values as an address spells them."""
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in values.items()
        if value is not None
    }
