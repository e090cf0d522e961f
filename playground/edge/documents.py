"""What the API shows of predictions, from their rows: what is asked for during one read shares the next."""

from __future__ import annotations

import asyncio
from uuid import UUID

from playground import predictions
from playground.edge.threads import in_thread
from playground.predictions import Document


class Documents:
    """Batched reading of rows. Bound to the loop it is first used on. Whoever asks was let in before."""

    def __init__(self) -> None:
        self._wanted: dict[UUID, asyncio.Future[Document | None]] = {}
        self._task: asyncio.Task[None] | None = None

    async def get(self, public_id: UUID) -> Document | None:
        """The document of one prediction as its row is now, or None. Raises django.db.Error."""
        future = self._wanted.get(public_id)
        if future is None:
            future = self._wanted[public_id] = asyncio.get_running_loop().create_future()
        if self._task is None:
            self._task = asyncio.ensure_future(self._read())
        return await asyncio.shield(future)

    async def _read(self) -> None:
        try:
            while self._wanted:
                wanted, self._wanted = self._wanted, {}
                try:
                    found = await in_thread(predictions.documents, list(wanted))
                except Exception as error:  # whatever it is, those who wait must hear of it
                    for future in wanted.values():
                        future.set_exception(error)
                        future.exception()
                else:
                    for public_id, future in wanted.items():
                        future.set_result(found.get(public_id))
        finally:
            self._task = None
