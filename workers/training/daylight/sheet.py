"""The contact sheet: one held-out caption each for seeds 0 to 15, as they come, none left out."""

from __future__ import annotations

import textwrap
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from workers.training.daylight.captions import caption
from workers.training.daylight.evaluation import generate, held_out_subjects
from workers.training.daylight.pipeline import load_pipeline

LIMIT_BYTES = 400_000
_COLUMNS, _GAP, _TEXT = 4, 16, 44
_PAPER, _INK = (250, 248, 245), (58, 54, 50)


def write_sheet(*, weights: Path, target: Path, steps: int, guidance: float) -> list[str]:
    """Draws the sheet into `target` (.webp or .png) and returns the captions in order.

    Raises ValueError when the file is larger than LIMIT_BYTES.
    """
    captions = [caption(subject) for subject in held_out_subjects(8, seed=16)]
    pictures = list(generate(load_pipeline(weights), captions, steps=steps, guidance=guidance))
    side = pictures[0].shape[0]
    rows = -(-len(pictures) // _COLUMNS)
    size = (_COLUMNS * (side + _GAP) + _GAP, rows * (side + _TEXT + _GAP) + _GAP)
    page = Image.new("RGB", size, _PAPER)
    pen = ImageDraw.Draw(page)
    font = ImageFont.load_default(11)
    for index, (picture, words) in enumerate(zip(pictures, captions, strict=True)):
        left = _GAP + index % _COLUMNS * (side + _GAP)
        top = _GAP + index // _COLUMNS * (side + _TEXT + _GAP)
        page.paste(Image.fromarray(picture), (left, top))
        lines = textwrap.wrap(f"{index}  {words}", 36)[:3]
        pen.multiline_text((left, top + side + 4), "\n".join(lines), _INK, font=font, spacing=2)
    target.parent.mkdir(parents=True, exist_ok=True)
    page.save(target, **({"quality": 92, "method": 6} if target.suffix == ".webp" else {"optimize": True}))
    if target.stat().st_size > LIMIT_BYTES:
        raise ValueError(f"{target} has {target.stat().st_size} bytes, the limit is {LIMIT_BYTES}: use .webp")
    return captions
