"""Every operation that the pinned library can ask for, read from its own source: verb, path and type of parameters."""

from __future__ import annotations

import ast
import functools
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import stripe

_READING = threading.Lock()
_NAME = re.compile(r"\{([a-z_]+)\}")
_QUOTED = re.compile(r"[A-Za-z0-9_]+Params")


@dataclass(frozen=True)
class Operation:
    """One call of the API. `params` names the type of its parameters: module and class; None takes none."""

    verb: str
    path: str  # with {names} for what stands in it
    params: tuple[str, str] | None

    @functools.cached_property
    def pattern(self) -> re.Pattern[str]:
        return re.compile(_NAME.sub(r"(?P<\1>[^/]+)", self.path))

    def parameters(self) -> type[Any] | None:
        """The TypedDict of what it takes."""
        if self.params is None:
            return None
        module, name = self.params
        found: type[Any] = getattr(import_module(module), name)
        return found


def operations() -> Mapping[tuple[str, str], Operation]:
    """All of them, by verb and path as the library writes it."""
    # The first requests after a start come at once, and Python 3.11 does not parse in several threads: it raises.
    with _READING:
        return _operations()


@functools.cache
def _operations() -> Mapping[tuple[str, str], Operation]:
    root = Path(stripe.__file__).parent
    found = (one for path in sorted(root.rglob("*_service.py")) for one in _of(path.read_text()))
    return {(one.verb, one.path): one for one in found}


def find(verb: str, path: str) -> tuple[Operation, dict[str, str]] | None:
    """The operation that is asked for and what its path names; None if the library knows no such thing."""
    for one in _by_length().get((verb, path.count("/")), ()):
        match = one.pattern.fullmatch(path)
        if match is not None:
            return one, match.groupdict()
    return None


@functools.cache
def _by_length() -> Mapping[tuple[str, int], list[Operation]]:
    """Fixed paths before those with names: `/v1/invoices/upcoming` is no invoice."""
    found: dict[tuple[str, int], list[Operation]] = {}
    for one in sorted(operations().values(), key=lambda one: one.path.count("{")):
        found.setdefault((one.verb, one.path.count("/")), []).append(one)
    return found


def _of(source: str) -> Iterator[Operation]:
    """The operations of one service's source."""
    tree = ast.parse(source)
    modules = {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("stripe.params")
        for alias in node.names
    }
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        for call in ast.walk(function):
            if not (
                isinstance(call, ast.Call)
                and isinstance(call.func, ast.Attribute)
                and call.func.attr in {"_request", "_request_stream"}
            ):
                continue
            yield Operation(_text(call.args[0]), _path(call.args[1]), _params(function, modules))


def _text(node: ast.expr) -> str:
    return str(ast.literal_eval(node))


def _path(node: ast.expr) -> str:
    """A path as it stands, or as the template of a `"…".format(…)`."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return _text(node.func.value)
    return _text(node)


def _params(function: ast.FunctionDef, modules: Mapping[str, str]) -> tuple[str, str] | None:
    for argument in (*function.args.args, *function.args.kwonlyargs):
        if argument.arg == "params" and argument.annotation is not None:
            named = _QUOTED.search(ast.unparse(argument.annotation))
            if named is not None and named[0] in modules:
                return modules[named[0]], named[0]
    return None
