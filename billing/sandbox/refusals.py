"""How Stripe says no."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


class Refused(Exception):
    """An error of the API: its status, and the members of `error` in the body. What the call did before is undone."""

    def __init__(
        self, message: str, *, status: int = 400, type: str = "invalid_request_error", **members: Any
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error: Json = {"type": type, "message": message, **members}


class Declined(Refused):
    """A payment was not made. Unlike other refusals it is an outcome: what the call did before stays."""

    def __init__(self, message: str, **members: Any) -> None:
        super().__init__(message, status=402, type="card_error", **members)


def missing(kind: str, name: str, *, param: str = "id") -> Refused:
    """There is no such object, or it belongs to somebody else."""
    return Refused(f"No such {kind}: '{name}'", status=404, code="resource_missing", param=param)


def unexpected(message: str, *, code: str, **members: Any) -> Refused:
    """The object is in a state in which this cannot be done."""
    return Refused(message, code=code, **members)
