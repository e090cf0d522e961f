"""What measurements of a version look like in answers."""

from __future__ import annotations

from playground.api.schema_words import (
    ANYTHING,
    STRING,
    TIME,
    WHOLE,
    YES_NO,
    Schema,
    array,
    maybe,
    record,
    said,
)

NUMBER: Schema = {"type": "number"}

DIFFERENCE = record(
    "How far its outputs are from the plain ones, over all seeds, in levels of 255; null for what is no picture.",
    is_identical=YES_NO,
    max_level=maybe(WHOLE),
    mean_level=maybe(NUMBER),
    psnr_db=said(maybe(NUMBER), "null when identical"),
)
ROW = record(
    "One way to run it.",
    name=said(STRING, "plain, an acceleration of the recipe, or together"),
    settings=STRING,
    seconds_per_step=maybe(NUMBER),
    speedup=said(maybe(NUMBER), "seconds per step of plain, over its own"),
    load_s=maybe(NUMBER),
    first_run_s=said(maybe(NUMBER), "the first run, in which compiling happens"),
    peak_memory_bytes=maybe(WHOLE),
    difference=maybe(DIFFERENCE),
    notes=array(STRING),
    error=said(STRING, "why it could not run; else empty"),
)
MEASUREMENT = record(
    "One visit to one machine: the same inputs and seeds in every row.",
    taken_at=TIME,
    machine=record("Where.", device=STRING, name=STRING, threads=WHOLE, memory_bytes=WHOLE),
    versions=said(ANYTHING, "of the libraries"),
    input=said(ANYTHING, "what was run, without its seed"),
    seeds=array(WHOLE),
    runs=said(WHOLE, "of each seed; the median counts"),
    rows=array(ROW),
)
