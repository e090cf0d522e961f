"""Parameters against the library's own types, more strictly than a type checker: its enumerations are open, ours not.

Forms know only text, so what is a number or a truth is read by the type; JSON must have the right kind already.
"""

from __future__ import annotations

import collections.abc
import re
import sys
import types
import typing
from collections.abc import Hashable
from datetime import datetime
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any, cast

import typing_extensions
from stripe._request_options import RequestOptions
from stripe._stripe_object import UntypedStripeObject

from billing.sandbox.refusals import Json, Refused

MAX_TEXT = 5000
METADATA_KEYS, METADATA_NAME, METADATA_TEXT = 50, 40, 500
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_OPTIONS = frozenset(RequestOptions.__annotations__)  # of the request; they never travel in a body
# What the library imports for type checkers alone.
_UNSEEN = {"StripeContext": Any, "UntypedStripeObject": UntypedStripeObject, "Decimal": Decimal}
_UNIONS: tuple[Any, ...] = (typing.Union, types.UnionType)


class _Wrong(Exception):
    """The value is of another type."""


def check(wanted: type[Any] | None, given: Json, *, is_text: bool) -> Json:
    """The parameters of one call, each of its type. Raises Refused: unknown, missing, or of a wrong type or value."""
    if wanted is None:
        if given:
            name = next(iter(given))
            raise Refused(f"Received unknown parameter: {name}", code="parameter_unknown", param=name)
        return {}
    return _members(wanted, given, "", is_text=is_text)


@cache
def _fields(wanted: Any) -> dict[str, tuple[Any, bool]]:
    """The members of a TypedDict: type, and whether it must be there."""
    space = {**vars(typing), **_UNSEEN, **vars(sys.modules[wanted.__module__])}
    hints = typing_extensions.get_type_hints(wanted, space, None, include_extras=True)
    is_call = vars(RequestOptions)["__annotations__"].keys() <= hints.keys()
    own = {name: hint for name, hint in hints.items() if not (is_call and name in _OPTIONS)}
    return {name: _required(hint) for name, hint in own.items()}


def _required(hint: Any) -> tuple[Any, bool]:
    origin = typing_extensions.get_origin(hint)
    if origin in {typing.NotRequired, typing_extensions.NotRequired}:
        return typing_extensions.get_args(hint)[0], False
    if origin in {typing.Required, typing_extensions.Required}:
        return typing_extensions.get_args(hint)[0], True
    return hint, True


def _members(wanted: type[Any], given: Any, where: str, *, is_text: bool) -> Json:
    if not isinstance(given, dict):
        raise _Wrong
    fields = _fields(cast("Hashable", wanted))
    for name in given:
        if name not in fields:
            raise Refused(
                f"Received unknown parameter: {_at(where, name)}",
                code="parameter_unknown",
                param=_at(where, name),
            )
    for name, (_, is_required) in fields.items():
        if is_required and name not in given:
            raise Refused(
                f"Missing required param: {_at(where, name)}.",
                code="parameter_missing",
                param=_at(where, name),
            )
    return {
        name: _value(fields[name][0], value, _at(where, name), is_text=is_text)
        for name, value in given.items()
    }


def _at(where: str, name: str) -> str:
    return f"{where}[{name}]" if where else name


def _value(wanted: Any, given: Any, where: str, *, is_text: bool) -> Any:
    try:
        found = _as(wanted, given, where, is_text=is_text)
    except _Wrong:
        message = f"Invalid {where}: must be {_named(wanted)}, not {str(given)[:100]!r}."
        raise Refused(message, code="parameter_invalid", param=where) from None
    if where.endswith(("metadata", "metadata]")):
        _check_metadata(found, where)
    return found


def _as(wanted: Any, given: Any, where: str, *, is_text: bool) -> Any:
    """The value as `wanted`. Raises _Wrong if it is none, Refused for what is wrong further inside."""
    origin, inner = typing_extensions.get_origin(wanted), typing_extensions.get_args(wanted)
    if wanted is Any:
        return given
    if origin in _UNIONS:
        return _one_of(inner, given, where, is_text=is_text)
    if origin is typing.Literal:
        for one in inner:
            if given == (str(one) if is_text else one):
                return one
        raise _Wrong
    if origin in {list, collections.abc.Sequence}:
        if not isinstance(given, list):
            raise _Wrong
        return [_value(inner[0], one, f"{where}[{at}]", is_text=is_text) for at, one in enumerate(given)]
    if origin in {dict, UntypedStripeObject, collections.abc.Mapping}:
        if not isinstance(given, dict):
            raise _Wrong
        return {key: _value(inner[-1], one, f"{where}[{key}]", is_text=is_text) for key, one in given.items()}
    if typing_extensions.is_typeddict(wanted):
        return _members(wanted, given, where, is_text=is_text)
    return _plain(wanted, given, is_text=is_text)


def _one_of(choices: tuple[Any, ...], given: Any, where: str, *, is_text: bool) -> Any:
    """As the first that fits. Beside an enumeration, `str` only says that it may grow: it takes nothing more."""
    literals = [one for one in choices if _is_enumeration(one)]
    is_enumeration = any(typing_extensions.get_args(one) != ("",) for one in literals)
    rest = [one for one in choices if one not in literals and not (one is str and is_enumeration)]
    # Text last: in a form everything is some.
    rest.sort(key=lambda one: one is str)
    refused: Refused | None = None
    for one in [*literals, *rest]:
        if one is types.NoneType:
            if given is None:
                return None
            continue
        try:
            return _as(one, given, where, is_text=is_text)
        except _Wrong:
            continue
        except Refused as error:
            refused = refused or error
    if refused is not None:
        raise refused
    raise _Wrong


def _plain(wanted: Any, given: Any, *, is_text: bool) -> Any:
    if wanted is str:
        if not isinstance(given, str) or len(given) > MAX_TEXT or "\x00" in given:
            raise _Wrong
        return given
    if wanted is bool:
        if is_text and given in {"true", "false"}:
            return given == "true"
        if not is_text and isinstance(given, bool):
            return given
        raise _Wrong
    if wanted is int or wanted is datetime:
        if is_text and isinstance(given, str) and _INTEGER.fullmatch(given):
            return int(given)
        if not is_text and isinstance(given, int) and not isinstance(given, bool):
            return given
        raise _Wrong
    if wanted in {float, Decimal}:
        try:
            number = Decimal(given) if isinstance(given, str) else Decimal(str(given))
        except (InvalidOperation, TypeError, ValueError):
            raise _Wrong from None
        if not number.is_finite() or isinstance(given, bool):
            raise _Wrong
        return str(number)
    raise NotImplementedError(f"the library has a type that the sandbox cannot check: {wanted!r}")


def _check_metadata(found: Any, where: str) -> None:
    if not isinstance(found, dict):
        return
    too_much = len(found) > METADATA_KEYS
    for name, text in found.items():
        too_much = too_much or len(name) > METADATA_NAME or len(str(text)) > METADATA_TEXT
    if too_much:
        raise Refused(
            f"{where} may have {METADATA_KEYS} names of {METADATA_NAME} characters, with texts of {METADATA_TEXT}.",
            param=where,
        )


def _named(wanted: Any) -> str:
    """A type, said to people."""
    origin: Any = typing_extensions.get_origin(wanted)
    inner = typing_extensions.get_args(wanted)
    if origin is typing.Literal:
        return "one of " + ", ".join(repr(one) for one in inner)
    if origin in _UNIONS:
        return " or ".join(_named(one) for one in [one for one in inner if _is_enumeration(one)] or inner)
    names = {str: "a text", int: "an integer", bool: "true or false", float: "a number", Decimal: "a number"}
    return names.get(wanted, "a list" if origin is list else "a group of values")


def _is_enumeration(wanted: Any) -> bool:
    origin: Any = typing_extensions.get_origin(wanted)
    return bool(origin is typing.Literal)
