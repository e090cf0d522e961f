"""A shelf, payers and a worker for the tests of runs. The worker is the real face with pictures of a few bytes."""

from __future__ import annotations

import copy
import datetime as dt
import functools
import io
from itertools import count
from typing import Any

from django.db.models import F
from PIL import Image

from billing import ledger
from marketplace import catalog, keys
from marketplace.models import Publisher, Workspace
from playground import live, predictions
from playground.models import Prediction
from playground.predictions import work

LANE = "test"
CREDIT = 1_000_000
PRICE_MICROS = 4_000  # of one picture
MANIFEST = {
    "name": "vase",
    "tagline": "A vase.",
    "task": "text-to-image",
    "license": "Apache-2.0",
    "lane": LANE,
    "recipe": {"family": "diffusers"},
    "prices": [{"unit": "image", "unit_price": "0.004"}],
    "endpoint": {
        "max_seconds": 60,
        "start_within_seconds": 600,
        "granularity": "step",
        "max_batch": 4,
        "batch_on": ["steps"],
        "typical_ms": 1000,
        "output": {"type": "object", "properties": {"images": {"type": "array"}}},
        "input": {
            "type": "object",
            "required": ["prompt"],
            "properties": {
                "prompt": {"type": "string", "maxLength": 200, "examples": ["a vase"], "x-order": 0},
                "num_images": {
                    "type": "integer",
                    "default": 1,
                    "minimum": 1,
                    "maximum": 4,
                    "x-measure": "image",
                    "x-order": 1,
                },
                "steps": {"type": "integer", "default": 4, "minimum": 1, "maximum": 40, "x-order": 2},
                "seed": {"type": "integer", "minimum": 0, "x-control": "seed", "x-order": 3},
                "token": {"type": "string", "x-secret": True, "x-order": 4},
            },
        },
    },
}
_numbers = count(1)


def manifest(**changes):
    """The vase, with other values; `endpoint__x` and `recipe__x` reach inside."""
    made = copy.deepcopy(MANIFEST)
    for name, value in changes.items():
        outer, _, inner = name.partition("__")
        if inner:
            made[outer][inner] = value
        else:
            made[name] = value
    return made


def publisher(name: str = "kiln") -> Publisher:
    found = Publisher.objects.filter(name=name).first()
    if found is not None:
        return found
    house = Workspace.objects.create(slug=f"{name}-house", name=name)
    return Publisher.objects.create(workspace=house, name=name)


def shelve(**changes) -> str:
    """Put the vase on the shelf; its model id."""
    listing = catalog.publish(publisher(), manifest(**changes))
    catalog.forget()
    return listing.model_id


SHELVE_CARD = (
    "from tests.predictions import cast; cast.shelve_card()"  # for `manage.py shell -c` on a whole stack
)


def shelve_card() -> str:
    """Put a model on the shelf that a real engine runs without weights."""
    card = manifest(name="card", lane="cpu", recipe={"family": "testcard", "weights": ""})
    return catalog.publish(Publisher.objects.get(name="vitrine"), card).model_id


def payer(*, credit: int = CREDIT, name: str = "payer") -> Workspace:
    """A workspace with some credit."""
    workspace = Workspace.objects.create(slug=f"{name}-{next(_numbers)}", name=name)
    if credit:
        ledger.credit(workspace.pk, credit, source="bought", key=f"topup:{workspace.public_id}")
    return workspace


def available(workspace: Workspace) -> int:
    """What it may spend now, in micro-dollars."""
    return ledger.balance(workspace.pk).available_micros


def caller(workspace: Workspace) -> predictions.Caller:
    row, _ = keys.make(workspace, name="test")
    return predictions.Caller(workspace=workspace, key=row)


def submit(workspace: Workspace, *, model: str = "kiln/vase", prompt: str = "a vase", **named) -> Prediction:
    """One run; names of the request's fields go there, all else is input."""
    fields = ("start_within", "cancel_after", "max_cost_micros", "exact", "idempotency_key", "priority")
    asked = {name: named.pop(name) for name in fields if name in named}
    request = predictions.Request(model=model, input={"prompt": prompt, **named}, **asked)
    return predictions.submit(predictions.Caller(workspace=workspace), request)


@functools.cache
def png(colour: int = 0, edge: int = 8) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (edge, edge), (colour, 90, 120)).save(out, "PNG")
    return out.getvalue()


def engine(worker: str = "w", **said: Any) -> live.Engine:
    """What an engine tells of itself: it is ready, and nothing is loaded, where `said` does not say otherwise."""
    ready: live.Engine = {
        "worker": worker,
        "lane": LANE,
        "loaded": [],
        "loading": None,
        "loading_expected_s": None,
        "loading_elapsed_s": None,
        "busy": False,
        "draining": False,
    }
    return {**ready, **said}  # type: ignore[typeddict-item]


def claim(*, limit: int = 1, worker: str = "worker", **named) -> list[work.Job]:
    return work.claim(worker=worker, lane=LANE, limit=limit, **named)


def step(job: work.Job, number: int, steps: int = 4) -> list[str]:
    report: work.Report = {
        "id": job["id"],
        "fence": job["fence"],
        "step": number,
        "steps": steps,
        "preview": None,
        "logs": [],
    }
    return work.step(reports=[report])


def succeed(job: work.Job, *, pictures: int = 1, data: bytes | None = None) -> bool:
    media: list[work.Medium] = [{"data": data or png(n), "meta": {"format": "png"}} for n in range(pictures)]
    return work.succeed(
        id=job["id"], fence=job["fence"], media=media, seed=7, metrics={"run_ms": 5}, logs=["done"]
    )


def fail(job: work.Job, *, retryable: bool = False) -> bool:
    return work.fail(
        id=job["id"], fence=job["fence"], code="broken", message="It broke.", retryable=retryable, logs=["oh"]
    )


def release(job: work.Job) -> bool:
    return work.release(id=job["id"], fence=job["fence"], reason="The worker is restarting.")


def again(row: Prediction) -> Prediction:
    """The row as it is now."""
    return Prediction.objects.with_model().get(pk=row.pk)


def later(**span: float) -> dt.timedelta:
    return dt.timedelta(**span)


def move_back(row: Prediction, **spans: float) -> None:
    """Let some of the row's moments be so long ago: the clock of the tests."""
    changes = {name: F(name) - later(seconds=seconds) for name, seconds in spans.items()}
    Prediction.objects.filter(pk=row.pk).update(**changes)


def wait_out(row: Prediction) -> None:
    """The pause after a fault goes by."""
    Prediction.objects.filter(pk=row.pk).update(not_before=None)


def money_is_right() -> None:
    """The books add up, and every hold belongs to an open run."""
    assert ledger.verify() == []
    for workspace in Workspace.objects.all():
        waiting = Prediction.objects.of(workspace).open()
        assert ledger.balance(workspace.pk).held_micros == sum(row.held_micros for row in waiting)
