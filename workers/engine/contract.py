"""What goes into the engine and what comes out: plain, frozen, JSON-able data (bytes aside) and nothing else.

Hides nothing; it is the language that both sides of the engine speak. It imports neither torch nor any
other room of the house, so that a task, a test or a remote worker can use it for the price of an import.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Required, TypedDict

DType = Literal["auto", "float32", "float16", "bfloat16"]
Status = Literal["succeeded", "failed", "stopped", "released"]
Code = Literal["invalid_input", "bad_weights", "out_of_memory", "unusable_output", "engine_failed"]


class Recipe(TypedDict, total=False):
    """How to open a version's weights. Only `family` and `weights` are required.

    `weights` is an absolute folder, or a name under the engine's weights folder. `hashes` maps relative file
    names to sha256 and is verified before anything is opened. `defaults` are call parameters used where a
    job's input has none. `id` is the caller's own name for presence reports and plays no part in loading.
    """

    family: Required[str]
    weights: Required[str]
    id: str
    pipeline: str
    dtype: DType
    scheduler: Mapping[str, object]
    hashes: Mapping[str, str]
    defaults: Mapping[str, object]
    batch_on: Sequence[str]
    max_batch: int
    previews: bool
    accelerations: Mapping[str, object]

    # Its place among others on an engine: opened before anybody asks, kept while anything else can go, and the MiB
    # that a run needs beyond the weights (0: learnt from runs).
    preload: bool
    pin: bool
    working_mb: int


@dataclass(frozen=True, slots=True)
class Adapter:
    """Small weights on a base (LoRA), which a job wants beside those of its recipe.

    `path` is a safetensors file whose bytes have this `sha256`; `weight` is its strength, 1.0 as trained; `name` is
    what its owner calls it and plays no part.
    """

    sha256: str
    weight: float
    path: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """One prediction to make. `input` is clean (schema-checked) and carries a `seed`; `exact` forbids batching."""

    id: str
    recipe: Recipe
    input: Mapping[str, object]
    exact: bool = False
    adapters: tuple[Adapter, ...] = ()


@dataclass(frozen=True, slots=True)
class StepReport:
    """Where one job stands after a step. `preview` is WebP of at most 256 px, or None; `logs` are new lines only.

    The first step may be reported twice, at once and again with its preview. Step 0 is reported once, before the
    first step, when weights had to be loaded or there is something to log. Any step may be told again, without preview
    and logs, while files are read before the steps or written after them.
    """

    id: str
    step: int
    steps: int
    preview: bytes | None = None
    logs: tuple[str, ...] = ()


OnStep = Callable[[Sequence[StepReport]], Sequence[str]]
"""Gets one report per live job of the batch after every step; returns the ids of jobs to stop.

A family may hand it none at any time, to hear only whether it still shall: what was reported last is then told again.
"""


@dataclass(frozen=True, slots=True)
class MediaOutput:
    """One finished medium, encoded and stripped of metadata. `meta` holds its `seed` and its encoder settings.

    A picture has a size in pixels, a film that and a duration, a sound a duration, a mesh none of them. `poster` is a
    WebP of a film's middle frame, to show before it plays.
    """

    data: bytes
    media_type: str
    width: int | None = None
    height: int | None = None
    meta: Mapping[str, object] = field(default_factory=dict)
    duration_s: float | None = None
    poster: bytes | None = None


@dataclass(frozen=True, slots=True)
class Metrics:
    """What a batch took, in seconds, and under which conditions: the technical half of a receipt.

    `load_s` is what this batch waited for its weights (0.0 when they were resident), `encode_s` the text
    encoders, `steps_s` the denoising with `preview_s` of it spent on previews, `decode_s` the decoder,
    `file_s` the writing of PNG, WebP or JPEG. Times are those of the whole batch of `batch` pictures.
    """

    load_s: float = 0.0
    encode_s: float = 0.0
    steps_s: float = 0.0
    preview_s: float = 0.0
    decode_s: float = 0.0
    file_s: float = 0.0
    total_s: float = 0.0
    steps: int = 0
    steps_per_second: float = 0.0
    peak_memory_bytes: int = 0
    batch: int = 1
    threads: int = 0
    device: str = "cpu"
    dtype: str = "float32"
    versions: Mapping[str, str] = field(default_factory=dict)
    # What else made the picture: name, sha256 and weight of each adapter.
    adapters: Sequence[Mapping[str, object]] = ()


class EngineError(Exception):
    """A job failed. `sentence` may be shown to the public; `retryable` says whether it may yet succeed here."""

    def __init__(self, sentence: str, *, code: Code = "engine_failed", retryable: bool = False) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.code: Code = code
        self.retryable = retryable

    @property
    def is_of_machine(self) -> bool:
        """Whether a machine with other files, packages or more memory may do what this one cannot."""
        return self.code == "bad_weights" or (self.code == "out_of_memory" and not self.retryable)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one job.

    succeeded: `outputs`, `metrics` and `seed` are set. failed: `error` is set. stopped: the caller asked for
    it, nothing is kept. released: the engine is draining and hands the job back untouched. `logs` are lines
    that no step report has carried.
    """

    id: str
    status: Status
    outputs: tuple[MediaOutput, ...] = ()
    metrics: Metrics | None = None
    seed: int | None = None
    error: EngineError | None = None
    logs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Resident:
    """An opened recipe: its key, the caller's id for it, the bytes it holds, how long loading took."""

    key: str
    id: str
    bytes: int
    load_s: float


@dataclass(frozen=True, slots=True)
class Loading:
    """A recipe being opened: for how long already, and how long it took last time (None the first time)."""

    key: str
    id: str
    elapsed_s: float
    expected_s: float | None


_OPENING_FIELDS = (
    "family",
    "weights",
    "pipeline",
    "dtype",
    "scheduler",
    "hashes",
    "previews",
    "accelerations",
)


def recipe_key(recipe: Recipe) -> str:
    """The same short string for every recipe that opens the same thing; stable across processes and machines."""
    opening = {name: recipe.get(name) for name in _OPENING_FIELDS if recipe.get(name) is not None}
    canonical = json.dumps(opening, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=dict)
    return hashlib.sha256(canonical.encode()).hexdigest()[:20]


def adapters_key(adapters: Sequence[Adapter]) -> str:
    """The same string for jobs whose adapters may be put on together: same files, same weights, in any order."""
    return ",".join(sorted(f"{one.sha256}:{one.weight!r}" for one in adapters))
