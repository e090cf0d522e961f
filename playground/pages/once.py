"""A form that makes a run, sent twice: by a second click, or again after its answer was lost.

Each form that is shown is known by a name of its own. The same form with the same input is one run, and with another
input another one.
"""

from __future__ import annotations

import re
import time
import uuid
from dataclasses import replace

from django.http import HttpRequest

from playground import predictions
from playground.models import Prediction
from playground.predictions import idempotency

FIELD = "form-once"
IN_FLIGHT_SECONDS = 5.0  # for which a second click waits for what the first one makes
_NAME = re.compile(r"[0-9a-f]{32}")


def new() -> str:
    """What a form that is shown now is known by."""
    return uuid.uuid4().hex


def shown(request: HttpRequest) -> str:
    """What the form is known by that answers this request. One that was sent and refused keeps its name: what the first
    click is still making is not made again by who presses Run once more."""
    posted = request.POST.get(FIELD, "")
    return posted if _NAME.fullmatch(posted) else new()


def submit(request: HttpRequest, caller: predictions.Caller, wanted: predictions.Request) -> Prediction:
    """The run; the one that the posted form has made already, where that is sent again.

    Raises what `predictions.submit` does, and predictions.IdempotencyInFlight where the first click takes long.
    """
    name = request.POST.get(FIELD, "")
    if not _NAME.fullmatch(name):
        return predictions.submit(caller, wanted)
    key = f"form {name} {idempotency.digest(wanted.body())}"
    named, deleted = replace(wanted, idempotency_key=key), 0
    until = time.monotonic() + IN_FLIGHT_SECONDS
    while True:
        try:
            return predictions.submit(caller, named)
        except predictions.IdempotencyInFlight:  # the first click is being handled
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
        except predictions.IdempotencyConflict:
            # Its run was deleted since: whoever presses Run now wants another one, and that once too.
            deleted += 1
            named = replace(wanted, idempotency_key=f"{key} {deleted}")
