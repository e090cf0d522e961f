"""How a run is shown in a protocol: drawn on the loop, or in a thread where that takes rows and files."""

from __future__ import annotations

from django.core.exceptions import SynchronousOnlyOperation

from playground.edge.protocol import Scope
from playground.edge.threads import in_thread
from playground.facades.dialect import Answer, Dialect
from playground.predictions import Document


async def drawn(dialect: Dialect, document: Document, scope: Scope, *, is_due: bool = False) -> Answer:
    """What `dialect` shows of a run. Raises django.db.Error."""

    def draw() -> Answer:
        return dialect.show(document.shown, document.asked, scope, is_due=is_due)  # type: ignore[arg-type]

    try:
        return draw()
    except SynchronousOnlyOperation:  # media that are to be in the answer itself, say
        return await in_thread(draw)
