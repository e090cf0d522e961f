"""The live card: one template with five faces, drawn from a live state and nothing else.

Page, htmx answer and socket message are the same HTML, so it does not matter which of them a viewer gets.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.template.loader import render_to_string

from marketplace.ids import encode
from playground.live import State
from playground.pages.media import Medium, media_in
from playground.pages.tags import dollars, seconds

QUARTERS = 4
MAX_TILES = 4  # pictures that share the stage; more of them are a sheet that scrolls in it
# What one can do about a failure, by its code; what is not here has nothing to be done about but to try again.
ADVICE = {
    "invalid_input": "Change the input as it says, then run it again.",
    "out_of_memory": "Ask for a smaller picture or fewer at once, then run it again.",
    "unusable_output": "Another seed often helps.",
    "timeout": "Fewer steps or a smaller picture take less time.",
    "start_deadline": "No worker was free in time. Try again later.",
    "worker_lost": "Try again; if it stays, tell whoever runs this site.",
    "hung": "Another input may work; if it stays, tell whoever runs this site.",
    "not_stored": "Try again later; if it stays, tell whoever runs this site that its disk may be full.",
    "ended_by_operator": "Ask whoever runs this site why, or run it again.",
    "bad_weights": "The model itself is damaged. Its publisher has to mend it.",
}
SMALL_EDGE = 320  # px: a picture up to this size is shown on a mat, not blown up to the whole stage


@dataclass(frozen=True, slots=True)
class Face:
    """What the template draws. `title` and `detail` stand on the stage, `facts` under it, `said` is read aloud."""

    uid: str
    model: str
    status: str
    ratio: tuple[int, int]
    is_small: bool
    preview: str | None
    done: int  # quarters of the steps, 0 to 4
    step: int
    steps: int
    started_at: float | None
    created_at: float
    media: tuple[Medium, ...]
    logs: tuple[str, ...]
    document: str
    title: str
    detail: str
    facts: tuple[str, ...]
    said: str

    @property
    def is_open(self) -> bool:
        return self.status in {"queued", "running"}

    @property
    def shape(self) -> str:
        """How the media lie on the stage."""
        if any(one.is_listed for one in self.media):
            return "list"
        return str(len(self.media)) if len(self.media) <= MAX_TILES else "many"


def render(state: State, *, position: int | None = None, reason: str = "") -> str:
    """The card of `state` as HTML, its root `#prediction-<id>`.

    `position` is how many runs are ahead of it and `reason` why it waits, both for waiting ones only. Reads nothing:
    no database, no Redis, no clock beyond the expiry of media.
    """
    return render_to_string(
        "playground/_prediction.html", {"card": face(state, position=position, reason=reason)}
    )


def face(state: State, *, position: int | None = None, reason: str = "") -> Face:
    """What the card of `state` says."""
    step, steps = min(state["step"], state["steps"]), state["steps"]
    media = media_in(state["output"]) if state["status"] == "succeeded" else ()
    title, detail = _note(state, media, position, reason)
    width, height = state["ratio"]
    return Face(
        uid=encode(UUID(state["id"]), "p"),
        model=state["model"],
        status=state["status"],
        ratio=(width, height),
        is_small=max(width, height) <= SMALL_EDGE,
        preview=state["preview"] if state["status"] in {"queued", "running", "canceled"} else None,
        done=QUARTERS * step // steps if steps else 0,
        step=step,
        steps=steps,
        started_at=state["started_at"],
        created_at=state["created_at"],
        media=media,
        logs=tuple(state["logs"]),
        document=_document(state),
        title=title,
        detail=detail,
        facts=tuple(_facts(state, media)),
        said=_said(state, title),
    )


def _document(state: State) -> str:
    """The state as the API's events tell it, without the preview, which is a picture."""
    shown = {
        "id": encode(UUID(state["id"]), "p"),
        "model": state["model"],
        "status": state["status"],
        "attempt": state["attempt"],
        "step": state["step"],
        "steps": state["steps"],
        "elapsed_ms": state["elapsed_ms"],
        "output": state["output"],
        "error": state["error"],
        "cost_micros": state["cost_micros"],
    }
    return json.dumps(shown, indent=2, ensure_ascii=False)


def _note(state: State, media: tuple[Medium, ...], position: int | None, reason: str) -> tuple[str, str]:
    status = state["status"]
    if status == "queued":
        return place(position), reason or state["note"]
    if status == "running":
        return ("", "") if state["preview"] else ("Starting", state["note"])
    if status == "failed":
        message = (state["error"] or {}).get("message") or "The run failed."
        free = "Nothing was charged."
        advice = ADVICE.get((state["error"] or {}).get("code", ""), "")
        return message.removesuffix(free).strip() or message, f"{free} {advice}".strip()
    if status == "canceled":
        where = f"Stopped at step {state['step']}" if state["step"] else "Canceled before the first step"
        return where, _cost(state) + "."
    if not media and _is_medium_expected(state["output"]):
        return "The result has expired", "Its input and seed are kept: run it again for the same one."
    if not media:
        return "It is done", "What came out is text: open JSON."
    return "", ""


def place(position: int | None) -> str:
    """A place in the queue in words; `position` is how many are ahead."""
    if position is None:
        return "Waiting"
    if position == 0:
        return "Next in line"
    number = position + 1
    ending = "th" if number % 100 in {11, 12, 13} else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending} in line"


def _cost(state: State) -> str:
    """The money in words."""
    if state["status"] in {"queued", "running"}:
        return f"{dollars(state['held_micros'])} held"
    if not state["cost_micros"]:
        return "Nothing charged" if state["status"] != "succeeded" else f"{dollars(0)} charged"
    return f"{dollars(state['cost_micros'])} charged"


def _is_medium_expected(output: Any) -> bool:
    """Whether there was a medium whose time is over: it is null where it was, or its address has ended."""
    if isinstance(output, list):
        return any(one is None or _is_medium_expected(one) for one in output)
    if isinstance(output, dict):
        return "expires_at" in output or any(
            _is_medium_expected(one) or (one is None and name != "seed") for name, one in output.items()
        )
    return False


def _facts(state: State, media: tuple[Medium, ...]) -> list[str]:
    facts = []
    if state["status"] == "running" and state["steps"]:
        facts.append(f"step {min(state['step'], state['steps'])} of {state['steps']}")
    if state["elapsed_ms"] is not None:
        facts.append(seconds(state["elapsed_ms"]))
    facts.append(_cost(state))
    if len(media) > 1:
        facts.append(f"{len(media)} files")
    if media and media[0].width:
        facts.append(f"{media[0].width} × {media[0].height}")
    seed = (state["output"] or {}).get("seed") if state["output"] else None
    if seed is not None:
        facts.append(f"seed {seed}")
    if state["attempt"] > 1:
        # Where a preview fills the stage, why it began again is told here.
        is_told = state["status"] == "running" and state["preview"] is not None and state["note"]
        facts.append(state["note"] if is_told else f"attempt {state['attempt']}")
    return facts


def _said(state: State, title: str) -> str:
    status = state["status"]
    if status == "queued":
        return f"Queued. {title}."
    if status == "running":
        quarter = QUARTERS * state["step"] // state["steps"] if state["steps"] else 0
        return f"Running, {100 * quarter // QUARTERS} percent" if quarter else "Running"
    if status == "succeeded":
        return f"Succeeded in {seconds(state['elapsed_ms'])}. {_cost(state)}."
    return f"{status.capitalize()}. {title.rstrip('.')}. {_cost(state)}."
