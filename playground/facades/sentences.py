"""What is wrong with a field of an input, for protocols whose errors are sentences."""

from __future__ import annotations

from collections.abc import Iterable

from marketplace.schema import FieldError

MOST_NAMED = 5  # of the fields that are wrong
MOST_ALLOWED = 24  # of the values that one may have


def bare(field: str) -> str:
    """A field as its caller knows it: its input is the whole body."""
    return field.removeprefix("input.")


def sentence(error: FieldError) -> str:
    """“'size' cannot be 100 × 100 with this model. Allowed: 128x128, 256x256.”"""
    said = f"'{bare(error.field)}' {error.message.rstrip('.')}."
    allowed = error.allowed if isinstance(error.allowed, list) else []
    missing = [str(one) for one in allowed[:MOST_ALLOWED] if str(one) not in said]
    return f"{said} Allowed: {', '.join(missing)}." if missing and error.code != "unknown" else said


def sentences(errors: Iterable[FieldError]) -> str:
    """One for each, up to a number that can be read."""
    return " ".join(sentence(error) for error in list(errors)[:MOST_NAMED])
