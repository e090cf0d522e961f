"""Live states in Redis, and which engines are there."""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NotRequired, TypedDict, cast
from uuid import UUID

import redis
import redis.asyncio

from marketplace.dispatch import PRESENCE_SECONDS, redis_client

log = logging.getLogger(__name__)

CHANNEL = "live"  # announcements: "<32 hex digits of the id> <seq> <1 at the end, else 0>"
EVENT_TYPE = "state"
KEEP_SECONDS = 3600
MAX_LOG_LINES = 200
FORGET_SECONDS = 60
REST_SECONDS = 7 * 24 * 3600  # an engine's name is never used again, so a wish about it may be forgotten
TRY_SECONDS = 3600  # long after every engine has heard of such a wish


class State(TypedDict):
    """The whole present state of one prediction. `logs` are all lines so far; a viewer is sent those it has not seen.

    `workspace` is the row id of the owner and is for access checks only: it never leaves the server. `queue_position`
    and `reason` are computed for the viewer while it waits, see `predictions.reasons`.
    """

    id: str  # 32 hex digits of the public id
    model: str  # publisher/name
    ratio: list[int]  # width and height that are reserved for the result
    held_micros: int
    workspace: int
    status: str
    attempt: int
    step: int
    steps: int
    preview: str | None  # data: address of a WebP of at most 256 px
    started_at: float | None  # Unix seconds
    created_at: float
    start_by: float  # Unix seconds
    finished_at: float | None  # Unix seconds
    elapsed_ms: int | None  # set at the end; until then it is now - started_at
    logs: list[str]
    output: Any
    error: dict[str, str] | None
    cost_micros: int | None
    metrics: dict[str, Any]
    note: str  # why it waits again, after an attempt was lost
    key: NotRequired[int | None]  # row id of the key that made it; for access checks only, like `workspace`
    seq: NotRequired[int]


class UnfitNote(TypedDict):
    """Why the machine of an engine cannot open a version, as it found at `since`, in Unix seconds by its own clock."""

    code: str
    why: str
    since: float


class Engine(TypedDict):
    """What one engine says of itself every second. Times are Unix seconds by its own clock.

    `draining` is one that takes nothing new, as it was asked to rest or, with `stopping`, as its process ends.
    """

    worker: str
    lane: str
    loaded: list[str]
    loading: str | None
    loading_expected_s: float | None
    loading_elapsed_s: float | None
    busy: bool
    draining: bool
    stopping: NotRequired[bool]
    since: NotRequired[float]
    busy_since: NotRequired[float | None]
    sizes: NotRequired[dict[str, int]]  # bytes of what is loaded, by version
    load_times_s: NotRequired[dict[str, float]]
    used_bytes: NotRequired[int]
    budget_bytes: NotRequired[int]
    loads: NotRequired[int]  # since its start
    evictions: NotRequired[int]
    unfit: NotRequired[list[str]]  # versions that its machine cannot open, which others may
    unfit_notes: NotRequired[dict[str, UnfitNote]]  # of each of them
    at: NotRequired[float]  # when it said so, by the clock of Redis


# KEYS: state. ARGV: attempt, is the end (0/1), json, seconds to keep, channel, id
_PUBLISH = """
local old = redis.call('HMGET', KEYS[1], 'attempt', 'end')
if old[2] == '1' then return 0 end
if old[1] and tonumber(old[1]) > tonumber(ARGV[1]) then return 0 end
local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
redis.call('HSET', KEYS[1], 'attempt', ARGV[1], 'end', ARGV[2], 'json', ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[4])
redis.call('PUBLISH', ARGV[5], ARGV[6] .. ' ' .. seq .. ' ' .. ARGV[2])
return seq
"""


def key_of(public_id: UUID | str) -> str:
    return f"live:{public_id.hex if isinstance(public_id, UUID) else public_id}"


def publish(states: Iterable[State]) -> None:
    """Make each state the newest of its prediction and announce it; one round trip for all.

    Never raises: viewers fall back to the row, which is the truth.
    """
    terminal = {"succeeded", "failed", "canceled"}
    try:
        pipe = redis_client().pipeline(transaction=False)
        for state in states:
            end = int(state["status"] in terminal)
            body = json.dumps({**state, "logs": state["logs"][-MAX_LOG_LINES:]}, separators=(",", ":"))
            # With its text: Redis knows the script by that, and asking whether it does would be a trip of its own.
            pipe.eval(
                _PUBLISH,
                1,
                key_of(state["id"]),
                *(state["attempt"], end, body, KEEP_SECONDS, CHANNEL, state["id"]),
            )
        pipe.execute()
    except redis.RedisError as error:
        log.warning("a live state was not published: %s", error)


def withdraw(public_ids: Iterable[UUID]) -> None:
    """Show nothing of these any more, whatever is still published. Never raises; the rows say the same."""
    try:
        pipe = redis_client().pipeline(transaction=True)
        for key in map(key_of, public_ids):
            pipe.delete(key)
            pipe.hset(key, "end", "1")  # nothing follows an end
            pipe.expire(key, KEEP_SECONDS)
        pipe.execute()
    except redis.RedisError as error:
        log.warning("deleted runs may be shown for up to %s s more: %s", KEEP_SECONDS, error)


def bring_back(public_ids: Iterable[UUID]) -> None:
    """Undo `withdraw`: the rows are looked at again. Never raises."""
    try:
        keys = list(map(key_of, public_ids))
        if keys:
            redis_client().delete(*keys)
    except redis.RedisError as error:
        log.warning("live states were not brought back: %s", error)


def read(public_id: UUID) -> State | None:
    """The newest published state, or None where there is none (any more)."""
    try:
        seq, body = cast(
            "tuple[bytes | None, bytes | None]", redis_client().hmget(key_of(public_id), "seq", "json")
        )
    except redis.RedisError:
        return None
    return unpack(seq, body)


def unpack(seq: bytes | None, body: bytes | None) -> State | None:
    """A state from the two fields it is stored in."""
    if seq is None or body is None:
        return None
    state: State = json.loads(body)
    state["seq"] = int(seq)
    return state


def report_engine(engine: Engine) -> None:
    """Say that an engine is there. What it says counts for a few seconds. Never raises."""
    try:
        client = redis_client()
        said = {**engine, "at": _now(client)}
        client.sadd("engines", engine["lane"])
        client.hset(f"engines:{engine['lane']}", engine["worker"], json.dumps(said))
        client.expire(f"engines:{engine['lane']}", KEEP_SECONDS)
    except redis.RedisError as error:
        log.warning("presence was not reported: %s", error)


def ask_to_rest(worker: str, *, rests: bool) -> None:
    """Ask an engine to take nothing new, or to work again; it hears it within a second. Raises redis.RedisError."""
    if rests:
        redis_client().set(_rest_key(worker), 1, ex=REST_SECONDS)
    else:
        redis_client().delete(_rest_key(worker))


def shall_rest(worker: str) -> bool:
    """Whether an engine was asked to rest. Never raises: who cannot know works."""
    try:
        return bool(redis_client().exists(_rest_key(worker)))
    except redis.RedisError:
        return False


def machine_of(worker: str) -> str:
    """The host of an engine, whose name is made of host, process and chance."""
    return worker.rsplit("-", 2)[0]


def ask_to_try(machine: str, version: str) -> None:
    """Ask the engines of a machine to try again what it could not open; they hear it within a second.

    Raises redis.RedisError.
    """
    redis_client().set(_try_key(machine, version), secrets.token_hex(8), ex=TRY_SECONDS)


def wishes_to_try(machine: str, versions: Sequence[str]) -> list[bytes | None]:
    """The last wish that `machine` tries each of `versions` again; each wish differs from those before. Never raises:
    who cannot know was not asked."""
    try:
        return cast(
            "list[bytes | None]", redis_client().mget([_try_key(machine, version) for version in versions])
        )
    except redis.RedisError:
        return [None] * len(versions)


def _try_key(machine: str, version: str) -> str:
    return f"try:{machine}:{version}"


def _rest_key(worker: str) -> str:
    return f"rest:{worker}"


def lanes() -> list[str]:
    """Every lane that an engine ever spoke for. Never raises."""
    try:
        return sorted(one.decode() for one in cast("set[bytes]", redis_client().smembers("engines")))
    except redis.RedisError:
        return []


def engines(lane: str) -> list[Engine]:
    """The engines of a lane that spoke within the last seconds. Forgets those long silent."""
    try:
        client = redis_client()
        said = cast("Mapping[bytes, bytes]", client.hgetall(f"engines:{lane}"))
        if not said:
            return []
        now = _now(client)
        gone = [field for field, text in said.items() if now - json.loads(text)["at"] > FORGET_SECONDS]
        if gone:
            client.hdel(f"engines:{lane}", *gone)
    except redis.RedisError:
        return []
    return _present(said, now)


def was_stopping(lane: str, worker: str) -> bool:
    """Whether the last word of an engine was that its process ends. Never raises; who said nothing was not stopping."""
    try:
        said = cast("bytes | None", redis_client().hget(f"engines:{lane}", worker))
    except redis.RedisError:
        return False
    return said is not None and bool(json.loads(said).get("stopping"))


async def engines_async(client: redis.asyncio.Redis, lane: str) -> list[Engine]:
    """`engines`, for the edge."""
    said = cast("Mapping[bytes, bytes]", await client.hgetall(f"engines:{lane}"))
    return _present(said, _seconds(await client.time())) if said else []


def _present(said: Mapping[bytes, bytes], now: float) -> list[Engine]:
    return [engine for text in said.values() if now - (engine := json.loads(text))["at"] <= PRESENCE_SECONDS]


def _now(client: redis.Redis) -> float:
    """Unix seconds by the clock of Redis: those of engines and web machines may differ."""
    return _seconds(client.time())


def _seconds(said: object) -> float:
    seconds, microseconds = cast("tuple[int, int]", said)
    return seconds + microseconds / 1_000_000
