"""Who watches which prediction in this process: one subscription, any number of viewers.

An announcement in Redis only says that a state is newer; the hub reads the state and hands the newest one to whoever
is ready for it, so a slow viewer skips instead of holding others up. What an announcement cannot tell, it finds out:
places and reasons of what waits every second, and what was missed from the rows every few seconds, for everything
that is watched here in one statement. A viewer costs no thread and no connection.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from uuid import UUID

import redis
from django.db import Error as DatabaseError

from playground import live, predictions
from playground.edge.documents import Documents
from playground.edge.present import Present
from playground.edge.reads import Reads, client
from playground.edge.threads import in_thread
from playground.live import State
from playground.models import Prediction
from playground.predictions import repeats

log = logging.getLogger(__name__)

QUEUE_SECONDS = 1.0  # between looks at places and reasons
QUEUE_PAUSE_SECONDS = 0.1  # at least, however often something new begins to wait
ROWS_SECONDS = 5.0  # between looks at the rows, for what no announcement told
ROWS_WITHOUT_REDIS_SECONDS = 1.0
LAST_BACKOFF_SECONDS = 5.0
ANSWER_SECONDS = 5.0
BEGIN_SECONDS = 1.0  # that the first request waits until others can see this process
CLOSE_SECONDS = 2.0

Known = tuple[str, int, int]  # status, attempt, step


class Gone(Exception):
    """The hub is closed: the process ends."""


class _Topic:
    """One watched prediction."""

    def __init__(self, public_id: UUID) -> None:
        self.public_id = public_id
        self.present: Present | None = None
        self.is_missing = False
        self.watchers = 0
        self.followers = 0  # the watchers who want more than the end
        self.changed = asyncio.Event()

    def show(self, present: Present) -> None:
        self.present = present
        self.wake()

    def wake(self) -> None:
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()

    @property
    def is_open(self) -> bool:
        return self.present is None or not self.present.is_end


class Watcher:
    """What is new for one viewer: the present at once, then the newest whenever it changed, the end last."""

    def __init__(self, hub: Hub, topic: _Topic) -> None:
        self._hub = hub
        self._topic = topic
        self._seen: Present | None = None

    def __aiter__(self) -> Watcher:
        return self

    async def __anext__(self) -> Present:
        """Raises predictions.NotFound if there is no such prediction, Gone when the process ends."""
        topic = self._topic
        while True:
            if topic.present is not None and topic.present is not self._seen:
                self._seen = topic.present
                return self._seen
            if self._seen is not None and self._seen.is_end:
                raise StopAsyncIteration
            if self._hub.is_closed:
                raise Gone
            if topic.is_missing:
                raise predictions.NotFound("There is no such prediction.")
            await topic.changed.wait()


class Hub:
    """The watched predictions of one process, on one loop."""

    def __init__(self) -> None:
        self.is_closed = False
        self.is_connected = False
        self._topics: dict[UUID, _Topic] = {}
        self._dirty: set[UUID] = set()
        self._rowless: set[UUID] = set()  # those of which Redis knows nothing
        self._has_dirty = asyncio.Event()
        self._needs_rows = asyncio.Event()
        self._needs_places = asyncio.Event()
        self._has_begun = asyncio.Event()
        self._redis = client(timeout=ANSWER_SECONDS)
        self._subscription = client(timeout=None)
        self.reads = Reads(self._redis)
        self.documents = Documents()
        self._tasks: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def watch(self, public_id: UUID, *, only_end: bool = False) -> AsyncIterator[Watcher]:
        """Watch one prediction, whoever's it is; with `only_end`, nothing before it needs to be told."""
        self._begin()
        topic = self._topics.get(public_id)
        if topic is None:
            topic = self._topics[public_id] = _Topic(public_id)
            self._mark([public_id])
        elif not only_end and not topic.followers and topic.is_open:
            topic.present = None  # nobody has followed it up to here, so what is known may be old
            self._mark([public_id])
        topic.watchers += 1
        topic.followers += not only_end
        if not only_end and topic.present is not None and topic.present.is_queued:
            self._needs_places.set()
        try:
            yield Watcher(self, topic)
        finally:
            topic.watchers -= 1
            topic.followers -= not only_end
            if not topic.watchers:
                self._topics.pop(public_id, None)

    async def be_seen(self) -> None:
        """Let other processes see that this one lives, and would see it die: before it promises an answer."""
        if self._begin():
            with suppress(TimeoutError):
                async with asyncio.timeout(BEGIN_SECONDS):
                    await self._has_begun.wait()

    def _begin(self) -> bool:
        """Start to listen; whether it had not before."""
        if self._tasks:
            return False
        loops = (self._listen, self._read, self._look_at_rows, self._look_at_queue)
        self._tasks = [asyncio.ensure_future(_keep(loop)) for loop in loops]
        return True

    async def present(self, public_id: UUID) -> State | None:
        """The present state without watching, from Redis or else the row; None if there is none."""
        try:
            state = await self.reads.state(public_id)
        except (redis.RedisError, OSError):
            state = None
        if state is None:
            rows = await in_thread(_states, [public_id])
            state = rows.get(public_id)
        return state

    async def close(self) -> None:
        """Let every watcher go with Gone, and stop."""
        self.is_closed = True
        repeats.note_seen(is_seen=False)
        for topic in list(self._topics.values()):
            topic.wake()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_SECONDS)
        await self._redis.aclose()
        await self._subscription.aclose()

    def _mark(self, public_ids: Iterable[UUID]) -> None:
        self._dirty.update(public_ids)
        self._has_dirty.set()

    async def _listen(self) -> None:
        pause = 0.1
        while not self.is_closed:
            try:
                async with self._subscription.pubsub() as pubsub:
                    await pubsub.subscribe(live.CHANNEL, repeats.channel_here())
                    while not self.is_closed:
                        message = await pubsub.get_message(timeout=10)
                        if message is not None:
                            self._hear(message)
                            pause = 0.1
            except (redis.RedisError, OSError) as error:
                if self.is_connected:
                    log.warning("live events are read from the rows for now: %s", error)
                self.is_connected = False
                repeats.note_seen(is_seen=False)
                self._needs_rows.set()
                await asyncio.sleep(pause)
                pause = min(2 * pause, LAST_BACKOFF_SECONDS)

    def _hear(self, message: dict[str, object]) -> None:
        data = message["data"]
        if (
            message["type"] == "subscribe"
        ):  # also after a silent reconnection: what was said meanwhile is read now
            if message["channel"] != live.CHANNEL.encode():
                repeats.note_seen(is_seen=True)
                self._has_begun.set()
                return
            self.is_connected = True
            self._mark(topic.public_id for topic in self._topics.values() if topic.is_open)
        elif message["type"] == "message" and isinstance(data, bytes):
            name, _, rest = data.decode().partition(" ")
            topic = self._topics.get(UUID(name))
            if topic is not None and topic.is_open and (topic.followers or not rest.endswith(" 0")):
                self._mark([topic.public_id])

    async def _read(self) -> None:
        while not self.is_closed:
            await self._has_dirty.wait()
            self._has_dirty.clear()
            wanted, self._dirty = [one for one in self._dirty if one in self._topics], set()
            try:
                found = await self.reads.states(wanted) if wanted else []
            except (redis.RedisError, OSError):
                found = [None] * len(wanted)
            for public_id, state in zip(wanted, found, strict=True):
                if state is not None:
                    self._take(public_id, state, is_row=False)
                else:
                    self._rowless.add(public_id)
            if self._rowless:
                self._needs_rows.set()

    def _take(self, public_id: UUID, state: State, *, is_row: bool) -> None:
        """Show `state` if it is news: Redis keeps its own order, a row may be behind what Redis said."""
        topic = self._topics.get(public_id)
        if topic is None or not topic.is_open:
            return
        old = topic.present
        if old is not None:
            if is_row and not _is_ahead(state, old.state):
                return
            if not is_row and (state.get("seq") == old.state.get("seq") or _is_ahead(old.state, state)):
                return
            if is_row and state["status"] == old.state["status"] and state["attempt"] == old.state["attempt"]:
                state["preview"] = old.state["preview"]
        shown = old.seq if old is not None else 0
        seq = max(state.get("seq", 0), shown + 1)
        present = Present(state, seq)
        if present.is_queued:
            present.reason = state["note"] or None
            if old is not None and old.is_queued:
                present.position, present.reason = old.position, old.reason
            self._needs_places.set()
        topic.show(present)

    async def _look_at_rows(self) -> None:
        """What no announcement told: rows that are ahead of what is shown, and those Redis has nothing of."""
        while not self.is_closed:
            pause = ROWS_SECONDS if self.is_connected else ROWS_WITHOUT_REDIS_SECONDS
            try:
                async with asyncio.timeout(pause):  # wait_for may swallow a cancellation
                    await self._needs_rows.wait()
            except TimeoutError:
                self._rowless.update(t.public_id for t in self._topics.values() if t.is_open)
            self._needs_rows.clear()
            wanted, self._rowless = [one for one in self._rowless if one in self._topics], set()
            if not wanted:
                continue
            known = {one: self._known(one) for one in wanted}
            try:
                there, ahead = await in_thread(_compare, known)
            except DatabaseError as error:
                log.warning("watched rows cannot be read: %s", error)
                await asyncio.sleep(ROWS_WITHOUT_REDIS_SECONDS)
                continue
            for public_id, state in ahead.items():
                self._take(public_id, state, is_row=True)
            for public_id in set(wanted) - there:
                topic = self._topics.get(public_id)
                if topic is not None and topic.present is None:
                    topic.is_missing = True
                    topic.wake()

    def _known(self, public_id: UUID) -> Known | None:
        present = self._topics[public_id].present
        if present is None:
            return None
        return present.state["status"], present.state["attempt"], present.state["step"]

    async def _look_at_queue(self) -> None:
        """Place and reason of everything that waits and is watched, in one statement."""
        while not self.is_closed:
            with suppress(TimeoutError):
                async with asyncio.timeout(QUEUE_SECONDS):
                    await self._needs_places.wait()
            self._needs_places.clear()
            waiting = {
                one.public_id: one
                for one in self._topics.values()
                if one.followers and one.present is not None and one.present.is_queued
            }
            if not waiting:
                continue
            try:
                await self._place(waiting)
            except (DatabaseError, redis.RedisError, OSError) as error:
                log.warning("places in the queue cannot be told: %s", error)
            await asyncio.sleep(QUEUE_PAUSE_SECONDS)

    async def _place(self, waiting: dict[UUID, _Topic]) -> None:
        places = await in_thread(predictions.queue_position, list(waiting))
        engines = {
            lane: await live.engines_async(self._redis, lane)
            for lane in {place.lane for place in places.values()}
        }
        for public_id, topic in waiting.items():
            present = topic.present
            if present is None or not present.is_queued:
                continue
            if public_id not in places:  # it waits no more
                self._mark([public_id])
                continue
            place = places[public_id]
            reason = predictions.waiting(place, engines[place.lane], note=present.state["note"])
            if (place.ahead, reason) != (present.position, present.reason):
                topic.show(Present(present.state, present.seq, place.ahead, reason))


async def _keep(loop: Callable[[], Awaitable[None]]) -> None:
    """Run one of the hub's loops to its end; after what it did not foresee it starts again."""
    while True:
        try:
            return await loop()
        except Exception:
            log.exception("a loop of the hub failed and starts again")
            await asyncio.sleep(1)


def _is_ahead(row: State, shown: State) -> bool:
    """Whether what a row says is newer than what is shown."""
    if row["status"] in Prediction.TERMINAL or row["attempt"] != shown["attempt"]:
        return row["status"] in Prediction.TERMINAL or row["attempt"] > shown["attempt"]
    if row["status"] != shown["status"]:  # in one attempt, a run can only go back to the queue
        return row["status"] == Prediction.Status.QUEUED and shown["attempt"] > 0
    return row["step"] > shown["step"]


def _states(public_ids: list[UUID]) -> dict[UUID, State]:
    rows = Prediction.objects.kept().with_model().filter(public_id__in=public_ids)
    return {row.public_id: predictions.state_of(row) for row in rows}


def _compare(known: dict[UUID, Known | None]) -> tuple[set[UUID], dict[UUID, State]]:
    """Which ids have a row, and the states of those whose row differs from what is known."""
    kept = Prediction.objects.kept().filter(public_id__in=known)
    rows = kept.values_list("public_id", "status", "attempt", "step")
    found = {public_id: (status, attempt, step) for public_id, status, attempt, step in rows}
    differing = [public_id for public_id, now in found.items() if now != known[public_id]]
    return set(found), _states(differing) if differing else {}


_hubs: dict[asyncio.AbstractEventLoop, Hub] = {}


def hub() -> Hub:
    """The hub of the running loop."""
    loop = asyncio.get_running_loop()
    found = _hubs.get(loop)
    if found is None or found.is_closed:
        for other in [one for one in _hubs if one.is_closed()]:
            del _hubs[other]
        found = _hubs[loop] = Hub()
    return found
