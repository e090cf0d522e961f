"""How Python, JavaScript and a shell spell a value, so that what stands in a program is what was meant, whatever it is.

Spellings are ASCII: what is copied through a terminal with another encoding is still the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from keyword import iskeyword
from typing import Any


class Code(str):
    """An expression of the language, which stands as it is."""

    __slots__ = ()


def shell(text: str) -> str:
    """`text` as one word of a POSIX shell, also of an interactive one."""
    return "'" + text.replace("'", "'\\''") + "'"


def python(value: Any, depth: int = 0) -> str:
    """A JSON value as Python source, one member a line, in a place that is `depth` levels deep."""
    if isinstance(value, Code):
        return value
    if isinstance(value, str):
        return python_text(value)
    if isinstance(value, Mapping) and value:
        return _members(value, python, depth, "    ")
    if isinstance(value, list) and value:
        return "[" + ", ".join(python(one, depth) for one in value) + "]"
    return repr(dict(value) if isinstance(value, Mapping) else value)


def python_text(text: str) -> str:
    """`text` in quotes."""
    # Python reads JSON's spelling of text, except for its pairs of surrogates.
    return ascii(str(text)) if any(ord(c) > 0xFFFF for c in text) else json.dumps(text)


def python_call(function: str, arguments: Mapping[str, Any]) -> str:
    """A call with named arguments, one a line; names that Python has no place for come in a dictionary."""
    plain = {name: one for name, one in arguments.items() if _is_plain(name)}
    rest = {name: one for name, one in arguments.items() if name not in plain}
    lines = [f"    {name}={python(one, 1)},\n" for name, one in plain.items()]
    if rest:
        lines.append(f"    **{python(rest, 1)},\n")
    return f"{function}(\n{''.join(lines)})"


def _is_plain(name: str) -> bool:
    return name.isascii() and name.isidentifier() and not iskeyword(name)


def javascript(value: Any, depth: int = 0) -> str:
    """As `python`, for JavaScript."""
    if isinstance(value, Code):
        return value
    if isinstance(value, Mapping) and value:
        return _members(value, javascript, depth, "  ")
    if isinstance(value, list) and value:
        return "[" + ", ".join(javascript(one, depth) for one in value) + "]"
    return json.dumps(value)


def _members(value: Mapping[str, Any], spell: Callable[[Any, int], str], depth: int, indent: str) -> str:
    inner, outer = indent * (depth + 1), indent * depth
    lines = [f"{inner}{spell(name, 0)}: {spell(one, depth + 1)},\n" for name, one in value.items()]
    return "{\n" + "".join(lines) + outer + "}"
