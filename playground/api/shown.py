"""What an answer of Django's shows, told to the edge beside the answer.

The edge hands a `Shown` along with a request that it may hold; a view that answers with a run says so in it. Without an
edge, as in tests of views alone, nobody hears.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rest_framework.request import Request

from playground.models import Prediction
from playground.predictions import Document, document_of

SCOPE_KEY = "vitrine.shown"


@dataclass(slots=True)
class Shown:
    """The run that an answer shows; `seconds` to wait for its end, or `frames` to tell its moments by."""

    document: Document | None = None
    seconds: float | None = None
    frames: Any = None  # playground.facades.dialect.Frames


def show(request: Request, row: Prediction) -> Document:
    """What the API shows of a row that was selected `with_model`; the edge is told."""
    document = document_of(row)
    shown = of(request)
    if shown is not None:
        shown.document = document
    return document


def of(request: Request) -> Shown | None:
    """What the edge has handed along; None where it will not hold the answer."""
    found = getattr(request._request, "scope", {}).get(SCOPE_KEY)
    return found if isinstance(found, Shown) else None
