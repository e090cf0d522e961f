"""What measurements of a version look like in answers."""

from __future__ import annotations

from playground.api import schema_words as w

NUMBER: w.Schema = {"type": "number"}

DIFFERENCE = w.record(
    "How far its outputs are from the plain ones, over all seeds, in levels of 255; null for what is no picture.",
    is_identical=w.YES_NO,
    max_level=w.maybe(w.WHOLE),
    mean_level=w.maybe(NUMBER),
    psnr_db=w.said(w.maybe(NUMBER), "null when identical"),
)
ROW = w.record(
    "One way to run it.",
    name=w.said(w.STRING, "plain, an acceleration of the recipe, or together"),
    settings=w.STRING,
    seconds_per_step=w.maybe(NUMBER),
    speedup=w.said(w.maybe(NUMBER), "seconds per step of plain, over its own"),
    load_s=w.maybe(NUMBER),
    first_run_s=w.said(w.maybe(NUMBER), "the first run, in which compiling happens"),
    peak_memory_bytes=w.maybe(w.WHOLE),
    difference=w.maybe(DIFFERENCE),
    notes=w.array(w.STRING),
    error=w.said(w.STRING, "why it could not run; else empty"),
)
MEASUREMENT = w.record(
    "One visit to one machine: the same inputs and seeds in every row.",
    taken_at=w.TIME,
    machine=w.record("Where.", device=w.STRING, name=w.STRING, threads=w.WHOLE, memory_bytes=w.WHOLE),
    versions=w.said(w.ANYTHING, "of the libraries"),
    input=w.said(w.ANYTHING, "what was run, without its seed"),
    seeds=w.array(w.WHOLE),
    runs=w.said(w.WHOLE, "of each seed; the median counts"),
    rows=w.array(ROW),
)
