"""How Python, JavaScript and a shell spell a value, so that what stands in a program is what was meant, whatever it is.

Spellings are ASCII: what is copied through a terminal with another encoding is still the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from keyword import iskeyword
from typing import Any

_PLAIN = re.compile(r"(?!__proto__$)[A-Za-z_$][A-Za-z0-9_$]*")  # a name of JavaScript that needs no quotes


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
        return _members(value, python, python_text, depth, "    ")
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
        return _members(value, javascript, _javascript_name, depth, "  ")
    if isinstance(value, list) and value:
        return "[" + ", ".join(javascript(one, depth) for one in value) + "]"
    return json.dumps(value)


def javascript_member(name: str) -> str:
    """How a member of this name is reached."""
    return f".{name}" if _PLAIN.fullmatch(name) else f"[{json.dumps(name)}]"


def _javascript_name(name: str) -> str:
    if _PLAIN.fullmatch(name):
        return name
    # In a literal this name alone would not be a member.
    return '["__proto__"]' if name == "__proto__" else json.dumps(name)


def _members(
    value: Mapping[str, Any],
    spell: Callable[[Any, int], str],
    spell_name: Callable[[str], str],
    depth: int,
    indent: str,
) -> str:
    inner, outer = indent * (depth + 1), indent * depth
    lines = [f"{inner}{spell_name(name)}: {spell(one, depth + 1)},\n" for name, one in value.items()]
    return "{\n" + "".join(lines) + outer + "}"
