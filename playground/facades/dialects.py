"""The protocols that are there: each directory beside this file is one."""

from __future__ import annotations

import functools
import pkgutil
from importlib import import_module
from typing import cast
from urllib.parse import quote

from django.urls import URLPattern

from playground import facades
from playground.facades.dialect import ORIGINAL_PATH, Dialect, Scope, host_of


@functools.cache
def dialects() -> tuple[Dialect, ...]:
    """All of them, in order of their names."""
    return tuple(cast("Dialect", import_module(f"{name}.dialect").DIALECT) for name in _directories())


def routes() -> list[URLPattern]:
    """What they add to the site's map."""
    return [one for name in _directories() for one in import_module(f"{name}.routes").urlpatterns]


def named(name: str) -> Dialect:
    """The protocol of this name. Raises LookupError."""
    return next(one for one in dialects() if one.name == name)


def place(path: str, host: str) -> tuple[Dialect | None, str]:
    """Which protocol a request is for, if any, and its address on the site's map. `host` without a port."""
    for dialect in dialects():
        placed = dialect.place(path, host.lower())
        if placed is not None:
            return dialect, placed
    return None, path


def placed(scope: Scope) -> Dialect | None:
    """The protocol that a request is for. Sets the path in `scope` to the one on the site's map."""
    for one in dialects():
        one.lead(scope)
    original = scope["path"]
    dialect, path = place(original, host_of(scope))
    if path != original:
        scope["path"], scope[ORIGINAL_PATH] = path, original
        scope["raw_path"] = quote(path).encode()
    return dialect


def _directories() -> list[str]:
    return sorted(
        f"{facades.__name__}.{one.name}" for one in pkgutil.iter_modules(facades.__path__) if one.ispkg
    )
