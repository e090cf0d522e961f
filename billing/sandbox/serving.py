"""What answers which operation: a table that the rooms of the sandbox write themselves into."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from billing.sandbox.refusals import Json, Refused

Handler = Callable[["Call"], Json]
handlers: dict[tuple[str, str], Handler] = {}


@dataclass(frozen=True)
class Call:
    """One request that was understood."""

    params: Json
    named: dict[str, str]  # what stands in the path
    now: datetime
    account: str = ""  # the connected account on whose behalf it is
    key: str = ""  # its idempotency key
    request_id: str = ""
    extra: Json = field(default_factory=dict)

    def get(self, name: str, default: Any = None) -> Any:
        """A parameter, or what it is without; an empty text takes a value away, so it is none."""
        value = self.params.get(name, default)
        return default if value == "" else value


def serves(verb: str, path: str) -> Callable[[Handler], Handler]:
    """Register what answers an operation. A test holds that the library has each of them."""

    def register(handler: Handler) -> Handler:
        handlers[verb, path] = handler
        return handler

    return register


def merged(old: Json | None, new: Any) -> Json:
    """Metadata after an update: an empty text takes a name away, an empty whole takes all of them."""
    if new is None:
        return dict(old or {})
    if new == "":
        return {}
    return {name: text for name, text in {**(old or {}), **new}.items() if text != ""}


def only(call: Call, *known: str) -> None:
    """Refuse what the sandbox would have to ignore. `expand` is everybody's."""
    for name in call.params:
        if name != "expand" and name not in known:
            raise Refused(f"The sandbox does not play {name}.", code="sandbox_unsupported", param=name)
