"""The site as one ASGI application: what waits, streams or is large is answered here, all else by Django."""

from __future__ import annotations

from playground.api.problems import Problem
from playground.edge import gate
from playground.edge.answers import answer_problem, name_request
from playground.edge.inner import Inner
from playground.edge.protocol import Message, Receive, Scope, Send


class Site:
    """HTTP in front of Django."""

    def __init__(self) -> None:
        self._inner = Inner()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope = dict(scope)
        request_id = name_request(scope)
        has_started = False

        async def watched(message: Message) -> None:
            nonlocal has_started
            has_started = True
            await send(message)

        try:
            await self._route(scope, receive, watched)
        except Problem as problem:
            if has_started:
                raise
            await answer_problem(send, problem, request_id)

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = gate.refusal(scope["path"], scope["headers"])
        if refused is not None:
            raise refused
        receive = await gate.admit(scope, receive)
        await self._inner(scope, receive, send)


async def close() -> None:
    """Let everybody who waits go: the process ends."""
