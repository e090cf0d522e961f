"""What the page of components is drawn with: one of everything in every state, made up, of no workspace and no run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, cast
from uuid import UUID

from django.conf import settings
from django.utils import timezone
from django.utils.safestring import SafeString, mark_safe

from billing.ledger import Limit
from billing.usage import Name, Sums
from marketplace import schema
from marketplace.models import Listing, Publisher
from playground.live import State
from playground.models import Prediction
from playground.pages import card
from playground.pages.media import Medium
from playground.pages.results import Line
from playground.pages.shelf import Card, static_of
from playground.pages.usage_chart import Chart, chart_of
from playground.statements import Range

PROMPT = "a glossy teal vase on a white plinth, light from the left, ivory wall"
LONG = "a-name-that-is-as-long-as-names-may-be"
PICTURES = tuple(f"covers/daylight-{number}.webp" for number in range(1, 5))
FILM, SOUND, SHAPE = "vitrine/sample.webm", "vitrine/sample.wav", "vitrine/sample.glb"
TYPES = {FILM: "video/webm", SOUND: "audio/wav", SHAPE: "model/gltf-binary"}
STATUSES = (
    *("queued", "running", "succeeded", "failed", "canceled"),
    *("warm", "cold", "live", "draft", "pending", "expiring", "expired", "revoked", "paid"),
)
FORM: schema.Schema = {
    "type": "object",
    "required": ["prompt", "path"],
    "properties": {
        "prompt": {
            "type": "string",
            "title": "Text area",
            "x-control": "textarea",
            "default": PROMPT,
            "description": "What to draw.",
        },
        "path": {"type": "string", "title": "Text", "description": "One line of it."},
        "images": {"type": "integer", "title": "Segments", "enum": [1, 2, 3, 4], "default": 2},
        "style": {
            "type": "string",
            "title": "Select",
            "enum": ["plain", "oil", "ink", "pencil", "pastel", "fresco"],
            "default": "ink",
        },
        "steps": {
            "type": "integer",
            "title": "Slider",
            "minimum": 4,
            "maximum": 40,
            "default": 20,
            "description": "More is finer.",
        },
        "strength": {
            "type": "number",
            "title": "Number",
            "nullable": True,
            "description": "Empty leaves it to the model.",
        },
        "seed": {"type": "integer", "title": "Seed", "minimum": 0, "x-control": "seed"},
        "tile": {"type": "boolean", "title": "Switch", "default": True, "description": "The edges meet."},
        "token": {"type": "string", "title": "Secret", "x-secret": True},
        "picture": {"type": "string", "title": "File", "x-media": ["image/png", "image/jpeg"]},
        "tags": {
            "type": "array",
            "title": "List",
            "maxItems": 4,
            "default": ["blue", "green"],
            "items": {"type": "string", "title": "Tag"},
        },
        "frame": {
            "type": "object",
            "title": "Group",
            "properties": {"width": {"type": "integer", "title": "Width", "default": 8}},
        },
    },
}
for _place, _one in enumerate(FORM["properties"].values()):
    _one["x-order"] = _place
ERRORS = {
    "prompt": "is required",
    "path": "must be at most 20 characters",
    "images": "must be one of 1, 2, 3, 4",
    "style": "must be one of the choices",
    "steps": "must be at most 40",
    "strength": "must be a number",
    "seed": "must be at least 0",
    "token": "is required",
    "picture": "is no file that can be opened: it is cut off",
    "tags": "must have at most 4 items",
}

QUOTE = {"amount_micros": 8000, "is_bound": True, "lines": [{"quantity": "2", "unit": "image"}]}


@dataclass(frozen=True, slots=True)
class Shown:
    """One part in one state, with what the state is called."""

    name: str
    html: SafeString


def form_fields() -> dict[str, list[schema.Field]]:
    """The controls of the playground as they come, and with something wrong in each, under names of their own."""
    properties = {f"wrong_{name}": one for name, one in FORM["properties"].items()}
    wrong_form = {
        **FORM,
        "required": [f"wrong_{name}" for name in FORM["required"]],
        "properties": properties,
    }
    wrong = [schema.FieldError(f"wrong_{name}", "x", message) for name, message in ERRORS.items()]
    return {
        "At rest": schema.fields(FORM, {"frame": {"width": 8}}),
        "With an error": schema.fields(wrong_form, {"wrong_frame": {"width": 8}}, wrong),
    }


def predictions() -> Iterator[Shown]:
    """The live card, every face of it."""
    faces: dict[str, dict[str, Any]] = {
        "Queued": {"status": "queued"},
        "Queued, third in line": {"status": "queued", "place": 2, "reason": "2 ahead of you; about 12 s."},
        "Starting": {"status": "running", "note": "Loading weights, about 20 s."},
        **{
            f"Running, step {step} of 20": {"status": "running", "step": step, "preview": picture(0)}
            for step in (2, 8, 14)
        },
        "Running again": {
            "status": "running",
            "step": 4,
            "attempt": 2,
            "preview": picture(1),
            "note": "The worker was lost.",
        },
        "Succeeded": made(picture(0)),
        "Two results": made(picture(0), picture(1)),
        "Four results": made(*map(picture, range(4))),
        "Many results": made(*(picture(number % 4) for number in range(12))),
        "Video": made(static_of(FILM)),
        "Audio": made(static_of(SOUND), static_of(SOUND)),
        "A shape and a picture": made(static_of(SHAPE), picture(2)),
        "Text": {**made(), "output": {"text": PROMPT}},
        "Its media have expired": {**made(), "output": {"images": [None], "seed": 7}},
        "Failed": {
            "status": "failed",
            "error": {"code": "out_of_memory", "message": "It needs more memory than there is."},
        },
        "Canceled in time": {"status": "canceled"},
        "Canceled and charged": {"status": "canceled", "step": 9, "cost_micros": 1800, "preview": picture(3)},
    }
    for number, (name, face) in enumerate(faces.items(), 1):
        place, reason = face.pop("place", None), face.pop("reason", "")
        html = card.render(_state(number, **face), position=place, reason=reason)
        yield Shown(name, mark_safe(html))  # noqa: S308 - a template's own output


def made(*addresses: str) -> dict[str, Any]:
    """A run that ended well with these media."""
    ends = (timezone.now() + timedelta(days=30)).isoformat()
    media = [
        {
            "url": settings.PUBLIC_URL + address,
            "content_type": _type_of(address),
            "size": 48_213,
            "expires_at": ends,
        }
        | ({"width": 192, "height": 192} if _type_of(address).startswith("image/") else {})
        for address in addresses
    ]
    return {
        "status": "succeeded",
        "output": {"images": media, "seed": 482193},
        "cost_micros": 4000 * len(media),
        "elapsed_ms": 4600,
    }


def _type_of(address: str) -> str:
    """By the ending, as a built site has a hash in the name."""
    return next((kind for path, kind in TYPES.items() if address.endswith(path[-4:])), "image/webp")


def media() -> list[tuple[str, Medium]]:
    """Each kind of medium by itself."""
    found = [("A film", FILM), ("A sound", SOUND), ("A shape", SHAPE), ("A picture", PICTURES[0])]
    return [(name, _medium(static_of(path))) for name, path in found]


def _medium(address: str) -> Medium:
    kind = _type_of(address)
    sort = kind.partition("/")[0]
    edge = 192 if sort == "image" else None
    return Medium(sort if sort != "model" else "file", address, kind, edge, edge, 48_213, "", "")


def _state(number: int, **changes: Any) -> State:
    now = timezone.now().timestamp()
    started = None if changes["status"] == "queued" else now - 3
    state: dict[str, Any] = {
        "id": UUID(int=number).hex,
        "model": "vitrine/daylight",
        "ratio": [192, 192],
        "held_micros": 4000,
        "workspace": 0,
        "attempt": 1,
        "step": 0,
        "steps": 20,
        "preview": None,
        "started_at": started,
        "created_at": now - 5,
        "elapsed_ms": None,
        "logs": [],
        "output": None,
        "error": None,
        "cost_micros": None,
        "note": "",
    }
    if changes["status"] in {"failed", "canceled"}:
        state |= {"cost_micros": 0, "elapsed_ms": 1600}
    return cast("State", state | changes)


def picture(number: int) -> str:
    return static_of(PICTURES[number])


def cards() -> list[Card]:
    """Listings as the gallery shows them: with and without a cover, warm and cold, short and long."""
    house = Publisher(name="vitrine")
    return [
        _card(
            Listing(
                publisher=house,
                name="daylight",
                tagline="Glazed ceramics in window light.",
                task="text-to-image",
                run_count=1284,
            ),
            cover="covers/daylight.webp",
            is_warm=True,
        ),
        _card(
            Listing(
                publisher=house,
                name="no-cover",
                tagline="What has no picture shows what it makes.",
                task="text-to-audio",
            )
        ),
        _card(
            Listing(
                publisher=Publisher(name=LONG),
                name=LONG,
                tagline="A promise that does not fit into one line, and is cut off at the edge of its card.",
                task="image-to-3d",
                run_count=2_400_000,
            ),
            price="from $0.1250 / MP + $0.0040 / s",
        ),
        _card(
            Listing(
                publisher=house, name="free", tagline="Costs nothing.", task="image-to-video", run_count=1
            ),
            price="Free",
        ),
    ]


def _card(
    listing: Listing, *, cover: str = "", is_warm: bool = False, price: str = "$0.0040 / image"
) -> Card:
    kind = listing.task.rpartition("-")[2]
    icon = {"3d": "cube"}.get(kind, kind)
    return Card(listing, "#cards", icon, price, is_warm, static_of(cover))


def lines() -> list[Line]:
    """Rows of the history, one of each status."""
    now = timezone.now()
    found = []
    for number, status in enumerate(Prediction.Status.values):
        row = Prediction(
            public_id=UUID(int=100 + number),
            model="vitrine/daylight",
            status=status,
            held_micros=4000,
            cost_micros={"succeeded": 4000, "queued": None, "running": None}.get(status, 0),
            step=9,
            steps=20,
            created_at=now - timedelta(hours=5 * number),
        )
        done = status == "succeeded"
        text = PROMPT if number % 2 else f"{PROMPT}, {PROMPT}"
        found.append(
            Line(
                row,
                text,
                picture(0) if done else "",
                "image",
                4600 if done else None,
                "Next in line" if status == "queued" else "",
            )
        )
    return found


def chart() -> tuple[Chart, Range]:
    """Spending of thirty days by five models."""
    span = Range(date(2026, 11, 1), date(2026, 11, 30))
    names: list[Name] = [f"vitrine/model-{number}" for number in range(1, 6)]
    found: dict[date, dict[Name, Sums]] = {
        day: {
            name: Sums(1 + (day.day * place) % 5, day.day % 2, 4000 * ((day.day * (place + 3)) % 11))
            for place, name in enumerate(names)
        }
        for day in span.days
        if day.day % 7
    }
    return chart_of(span.days, found, {name: (str(name), "") for name in names}), span


def meters() -> list[Limit]:
    """Limits that are unused, half used, nearly used and used up."""
    return [
        Limit(limit_micros=10_000_000, spent_micros=spent, resets_at=timezone.now())
        for spent in (0, 5_000_000, 9_400_000, 10_000_000)
    ]
