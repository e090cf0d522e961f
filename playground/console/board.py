"""Engines and lanes as they are now: from what engines say of themselves, and from the rows."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Count, Min, Q
from django.utils import timezone

from billing import auditor
from marketplace.models import Offer, Version
from playground import live
from playground.models import Fault, Prediction, Quarantine
from playground.predictions import faults
from playground.predictions.files import FETCH_LANE

RATE_SPAN = timedelta(minutes=10)
FAULTS_SHOWN = 20
SHARES_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Loaded:
    """One model that an engine has in its memory."""

    model: str
    version: str
    bytes: int
    load_ms: float


@dataclass(frozen=True, slots=True)
class Unfit:
    """One model that the machine of an engine cannot open, and leaves to others for a while."""

    model: str
    version: str
    machine: str
    code: str
    why: str
    since: datetime | None

    @property
    def target(self) -> str:
        """What the act `try` is for."""
        return f"{self.version}@{self.machine}"


@dataclass(slots=True)
class EngineLine:
    """One engine: what it has loaded, what it does, since when. `is_gone`: its runs are there, it is silent."""

    worker: str
    lanes: list[str]
    runs: list[Prediction]
    is_gone: bool = False
    is_stopping: bool = False
    rests: bool = False
    loaded: list[Loaded] = field(default_factory=list)
    unfit: list[Unfit] = field(default_factory=list)
    loading: str = ""
    loading_ms: float = 0.0
    used_bytes: int = 0
    budget_bytes: int = 0
    loads: int = 0
    evictions: int = 0
    since: datetime | None = None
    busy_since: datetime | None = None
    heard_ms: float = 0.0

    @property
    def resident_bytes(self) -> int:
        return sum(one.bytes for one in self.loaded)

    @property
    def state(self) -> tuple[str, str]:
        """What it does, as a status of a pill and in words."""
        if self.is_gone:
            return "failed", "silent"
        if self.is_stopping:
            return "expiring", "stopping"
        if self.rests:
            return "canceled", "finishing" if self.runs else "drained"
        if self.loading:
            return "running", "loading"
        return ("running", "busy") if self.runs else ("live", "ready")


@dataclass(frozen=True, slots=True)
class LaneLine:
    """One lane: what waits and runs on it, for whom, and how fast it goes."""

    name: str
    engines: int
    queued: int
    running: int
    oldest_at: datetime | None
    per_minute: float
    shares: list[tuple[str, int]]  # workspaces with most open runs, and how many


@dataclass(frozen=True, slots=True)
class Board:
    """All of it at one moment."""

    engines: list[EngineLine]
    lanes: list[LaneLine]
    quarantines: list[Quarantine]
    faults: list[Fault]
    audit: auditor.Audited | None  # the newest of the ledger


def board() -> Board:
    """The whole state. Raises DatabaseError; without Redis no engine is known."""
    lanes = _lanes()
    said = {lane: live.engines(lane) for lane in lanes}
    running = Prediction.objects.filter(status=Prediction.Status.RUNNING).order_by("started_at", "pk")
    recent = Fault.objects.order_by("-occurred_at", "-pk").select_related("prediction", "workspace")
    return Board(
        engines=_engines(said, list(running.select_related("workspace"))),
        lanes=_lane_lines(said),
        quarantines=list(faults.quarantined()),
        faults=list(recent[:FAULTS_SHOWN]),
        audit=auditor.newest(),
    )


def _lanes() -> list[str]:
    """Every lane that somebody offers, something waits or runs on, or an engine is there for."""
    offered = Offer.objects.filter(is_enabled=True).values_list("lane", flat=True).distinct()
    open_ones = Prediction.objects.open().exclude(lane=FETCH_LANE).values_list("lane", flat=True).distinct()
    return sorted({*offered, *open_ones, *(lane for lane in live.lanes() if live.engines(lane))})


def _engines(said: dict[str, list[live.Engine]], running: Sequence[Prediction]) -> list[EngineLine]:
    names = _names(one for engines in said.values() for engine in engines for one in _versions(engine))
    runs: dict[str, list[Prediction]] = {}
    for row in running:
        runs.setdefault(row.worker, []).append(row)
    lines: dict[str, EngineLine] = {}
    for lane, engines in said.items():
        for engine in engines:
            line = lines.get(engine["worker"])
            if line is None:
                line = lines[engine["worker"]] = _line(engine, names, runs.pop(engine["worker"], []))
            line.lanes.append(lane)
    for worker, rows in runs.items():
        lines[worker] = EngineLine(worker, sorted({row.lane for row in rows}), rows, is_gone=True)
    return sorted(lines.values(), key=lambda line: (line.lanes, line.worker))


def _line(engine: live.Engine, names: dict[str, str], runs: list[Prediction]) -> EngineLine:
    sizes, times = engine.get("sizes", {}), engine.get("load_times_s", {})
    loading = engine["loading"]
    return EngineLine(
        worker=engine["worker"],
        lanes=[],
        runs=runs,
        is_stopping=engine.get("stopping", False),
        rests=engine["draining"],
        loaded=[
            Loaded(names.get(one, ""), one, sizes.get(one, 0), 1000 * times.get(one, 0.0))
            for one in engine["loaded"]
        ],
        unfit=[_unfit(engine, version, names) for version in engine.get("unfit", ())],
        loading=(names.get(loading) or loading[:12]) if loading else "",
        loading_ms=1000 * (engine["loading_elapsed_s"] or 0.0),
        used_bytes=engine.get("used_bytes", 0),
        budget_bytes=engine.get("budget_bytes", 0),
        loads=engine.get("loads", 0),
        evictions=engine.get("evictions", 0),
        since=_moment(engine.get("since")),
        busy_since=_moment(engine.get("busy_since")),
        heard_ms=max(0.0, 1000 * (time.time() - engine.get("at", time.time()))),
    )


def _unfit(engine: live.Engine, version: str, names: dict[str, str]) -> Unfit:
    said = engine.get("unfit_notes", {}).get(version)
    return Unfit(
        model=names.get(version, ""),
        version=version,
        machine=live.machine_of(engine["worker"]),
        code=said["code"] if said else "",
        why=said["why"] if said else "",
        since=_moment(said["since"]) if said else None,
    )


def _versions(engine: live.Engine) -> list[str]:
    loading = [engine["loading"]] if engine["loading"] else []
    return [*engine["loaded"], *loading, *engine.get("unfit", ())]


def _names(versions: Iterable[str]) -> dict[str, str]:
    rows = Version.objects.filter(sha256__in=set(versions)).select_related("listing__publisher")
    return {row.sha256: row.listing.model_id for row in rows}


def _moment(seconds: float | None) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


def _lane_lines(said: dict[str, list[live.Engine]]) -> list[LaneLine]:
    counted = {str(one["lane"]): one for one in _open_by_lane()}
    rates = _finished(timezone.now() - RATE_SPAN)
    shares: dict[str, list[tuple[str, int]]] = {}
    by_workspace = Prediction.objects.open().values("lane", "workspace__name").annotate(runs=Count("pk"))
    for one in by_workspace.order_by("-runs", "workspace__name"):
        shares.setdefault(one["lane"], []).append((one["workspace__name"], one["runs"]))
    return [
        LaneLine(
            name=lane,
            engines=len(engines),
            queued=counted.get(lane, {}).get("queued", 0),
            running=counted.get(lane, {}).get("running", 0),
            oldest_at=counted.get(lane, {}).get("oldest_at"),
            per_minute=rates.get(lane, 0) / (RATE_SPAN.total_seconds() / 60),
            shares=shares.get(lane, [])[:SHARES_SHOWN],
        )
        for lane, engines in said.items()
    ]


def _open_by_lane() -> list[dict[str, Any]]:
    """Per lane: how many wait, since when the oldest does, how many run. Of the open rows alone."""
    is_queued = Q(status=Prediction.Status.QUEUED)
    rows = Prediction.objects.open().values("lane")
    found = rows.annotate(
        queued=Count("pk", filter=is_queued),
        running=Count("pk", filter=~is_queued),
        oldest_at=Min("created_at", filter=is_queued),
    )
    return [dict(one) for one in found]


def _finished(since: datetime) -> dict[str, int]:
    """How many runs each lane made since then, found by the endpoints it offers."""
    offered = Offer.objects.filter(is_enabled=True).values("endpoint")
    made = Prediction.objects.filter(
        status=Prediction.Status.SUCCEEDED, finished_at__gt=since, endpoint__in=offered
    )
    return {one["lane"]: one["runs"] for one in made.values("lane").annotate(runs=Count("pk"))}
