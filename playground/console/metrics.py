"""The figures that Prometheus collects, in its text format: `names` is the list of them, which the README repeats.

What processes count comes from `tally`, what engines say of themselves from their presence, what waits from the rows.
So every web process answers with the same figures, whichever is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from django.db.models import Count, Min, Q
from django.utils import timezone
from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from marketplace.models import Outbox
from playground import health, tally
from playground.console.board import board
from playground.models import Delivery

PREFIX = "vitrine"


def exposition() -> tuple[bytes, str]:
    """All figures, and their media type. Raises DatabaseError, redis.RedisError."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures())
    return generate_latest(registry), CONTENT_TYPE_PLAIN_0_0_4


class _Figures(Collector):
    def describe(self) -> Iterable[Metric]:
        return []  # read nothing while it is registered

    def collect(self) -> Iterator[Metric]:
        yield from _counted()
        yield from _lanes_and_engines()
        yield from _control()


# What `tally` counts: its name there, the figure's name, what it is, its labels.
COUNTERS = (
    ("predictions", "predictions", "Runs that ended.", ("lane", "status")),
    ("failures", "failures", "Runs that failed.", ("lane", "code")),
    ("faults", "faults", "Attempts that were lost or failed by the machine's fault.", ("lane", "code")),
    ("steps", "steps", "Steps of runs that succeeded.", ("lane",)),
    ("step_seconds", "step_seconds", "Seconds those steps took, counted for each run of a batch.", ("lane",)),
    ("deliveries", "deliveries", "Attempts to deliver webhooks.", ("result",)),
)
HISTOGRAMS = (
    ("phase", "phase_seconds", "Seconds of a run, by what took them.", ("lane", "phase"), tally.SECONDS),
    ("batch", "batch_size", "Runs that an engine took at once.", ("lane",), tally.SIZES),
)


def _counted() -> Iterator[Metric]:
    found = tally.read()
    for key, name, text, labels in COUNTERS:
        counter = CounterMetricFamily(f"{PREFIX}_{name}", text, labels=labels)
        for group, amount in sorted(found.get(key, {}).items()):
            counter.add_metric([dict(group).get(label, "") for label in labels], amount)
        yield counter
    for key, name, text, labels, bounds in HISTOGRAMS:
        histogram = HistogramMetricFamily(f"{PREFIX}_{name}", text, labels=labels)
        sums = found.get(f"{key}:sum", {})
        for group, counts in sorted(tally.buckets(found.get(key, {}), bounds).items()):
            values = [dict(group).get(label, "") for label in labels]
            histogram.add_metric(values, counts, sums.get(group, 0.0))
        yield histogram


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{PREFIX}_{name}", text, labels=labels)


def _age_s(since: datetime | None) -> float:
    return max(0.0, (timezone.now() - since).total_seconds()) if since else 0.0


def _lanes_and_engines() -> Iterator[Metric]:
    now = board()
    queued = _gauge("queue_length", "Runs that wait.", "lane")
    oldest = _gauge("queue_oldest_seconds", "Age of the oldest run that waits.", "lane")
    running = _gauge("running", "Runs that engines are at.", "lane")
    engines = _gauge("engines", "Engines that are there.", "lane")
    for lane in now.lanes:
        queued.add_metric([lane.name], lane.queued)
        oldest.add_metric([lane.name], _age_s(lane.oldest_at))
        running.add_metric([lane.name], lane.running)
        engines.add_metric([lane.name], lane.engines)
    yield from (queued, oldest, running, engines)

    per = ("worker", "lane")
    busy = _gauge("engine_busy", "1 while the engine runs something.", *per)
    drained = _gauge("engine_draining", "1 while the engine takes nothing new.", *per)
    models = _gauge("engine_models", "Models that are loaded.", *per)
    resident = _gauge("engine_resident_bytes", "Bytes of the models that are loaded.", *per)
    used = _gauge("engine_memory_bytes", "Memory in use: of the GPU, or of the process on a CPU.", *per)
    budget = _gauge("engine_memory_budget_bytes", "Memory that loaded models may take.", *per)
    loads = CounterMetricFamily(f"{PREFIX}_engine_loads", "Models loaded since its start.", labels=per)
    evictions = CounterMetricFamily(
        f"{PREFIX}_engine_evictions", "Models let go since its start.", labels=per
    )
    unfit = _gauge(
        "engine_unfit_seconds",
        "For how long a model has not been opened here, as the machine of the engine cannot.",
        *(*per, "model", "version", "code"),
    )
    for engine in now.engines:
        if engine.is_gone:
            continue
        for lane_name in engine.lanes:
            labels = [engine.worker, lane_name]
            busy.add_metric(labels, float(bool(engine.runs)))
            drained.add_metric(labels, float(engine.rests or engine.is_stopping))
            models.add_metric(labels, len(engine.loaded))
            resident.add_metric(labels, engine.resident_bytes)
            used.add_metric(labels, engine.used_bytes)
            budget.add_metric(labels, engine.budget_bytes)
            loads.add_metric(labels, engine.loads)
            evictions.add_metric(labels, engine.evictions)
            for one in engine.unfit:
                unfit.add_metric([*labels, one.model, one.version[:12], one.code], _age_s(one.since))
    yield from (busy, drained, models, resident, used, budget, loads, evictions, unfit)

    paused = _gauge("quarantines", "Versions that are paused, as they ended engines.")
    paused.add_metric([], len(now.quarantines))
    yield paused


def _control() -> Iterator[Metric]:
    swept = _gauge("sweep_age_seconds", "Seconds since the last sweep; none before the first.")
    age = health.sweep_age_s()
    if age is not None:
        swept.add_metric([], age)
    yield swept

    is_due = Q(next_attempt_at__lte=timezone.now())
    waiting = Delivery.objects.filter(status=Delivery.Status.PENDING, next_attempt_at__isnull=False)
    found = waiting.aggregate(all=Count("pk"), oldest=Min("next_attempt_at", filter=is_due))
    pending = _gauge("deliveries_pending", "Webhook deliveries on their way.")
    pending.add_metric([], found["all"])
    late = _gauge("deliveries_late_seconds", "How long the oldest delivery is overdue.")
    late.add_metric([], _age_s(found["oldest"]))
    outbox = _gauge("outbox_pending", "Messages whose handler has not finished.")
    outbox.add_metric([], Outbox.objects.count())
    yield from (pending, late, outbox)


def names() -> list[str]:
    """Every figure's name, as Prometheus knows it, without what a histogram appends."""
    counted = [f"{PREFIX}_{name}_total" for _, name, _, _ in COUNTERS]
    measured = [f"{PREFIX}_{name}" for _, name, _, _, _ in HISTOGRAMS]
    others = [
        metric.name + ("_total" if metric.type == "counter" else "")
        for metric in (*_lanes_and_engines(), *_control())
    ]
    return [*counted, *measured, *others]
