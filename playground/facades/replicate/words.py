"""The words that inputs on Replicate have beyond those that everybody shares.

Its models take what their publishers called it, and its clients send settings of one model to another as a habit, so
what an endpoint does not have is ignored and reported where it would not change what is made.
"""

from __future__ import annotations

from playground.facades.vocabulary import SHARED
from playground.facades.words import Extras, Only, Table

_SPEED = "how fast a run goes is for its worker to choose"

TABLE = Table(
    rules={
        **SHARED,
        "go_fast": Only(neutral=(False,), ignores=_SPEED),
        "speed_mode": Only(ignores=_SPEED),
        "apply_watermark": Only(neutral=(False,), ignores="nothing is drawn over a picture here"),
        "prompt_upsampling": Only(neutral=(False,), ignores="prompts go to the model as they are"),
    },
    extras=Extras.IGNORED,
)
