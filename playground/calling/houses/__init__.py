"""The houses, in the order in which the tab offers them."""

from __future__ import annotations

from playground.calling.house import Asked, House
from playground.calling.houses import fal, huggingface, openai, replicate, vitrine

HOUSES: tuple[House, ...] = (
    vitrine.HOUSE,
    fal.HOUSE,
    replicate.HOUSE,
    openai.HOUSE,
    huggingface.HOUSE,
)


def offered(asked: Asked) -> list[House]:
    """Those whose client really runs such a model."""
    return [house for house in HOUSES if house.can_run(asked)]
