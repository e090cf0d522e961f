"""What the product shows of the model, drawn by it: the contact sheet of the README, the covers of its listing."""

from __future__ import annotations

import textwrap
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from workers.training.daylight.captions import EXAMPLES, caption
from workers.training.daylight.evaluation import generate, held_out_subjects
from workers.training.daylight.pipeline import load_pipeline

LIMIT_BYTES = 400_000
_COLUMNS, _GAP, _TEXT = 4, 16, 44
_TILE, _SAMPLES = 300, 4  # px of a tile of the cover; how many examples have a picture of their own
_COVER = (
    *EXAMPLES,
    "a ribbed sage bowl on a grey plinth, light from the left, warm grey wall",
    "rolling hills at dusk, sun on the right",
    "a speckled crimson bottle on a wooden plinth, light from the right, ivory wall",
    "misty desert dunes at dawn, sun on the left",
)
_PAPER, _INK = (250, 248, 245), (58, 54, 50)


def write_sheet(*, weights: Path, target: Path, steps: int, guidance: float) -> list[str]:
    """Draws one held-out caption each for seeds 0 to 15, as they come, none left out, into `target` (.webp or .png).

       Returns the captions in order.
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
        lines = textwrap.wrap(f"{index}  {words}", side * 36 // 192)[:3]
        pen.multiline_text((left, top + side + 4), "\n".join(lines), _INK, font=font, spacing=2)
    target.parent.mkdir(parents=True, exist_ok=True)
    page.save(target, **({"quality": 92, "method": 6} if target.suffix == ".webp" else {"optimize": True}))
    if target.stat().st_size > LIMIT_BYTES:
        raise ValueError(f"{target} has {target.stat().st_size} bytes, the limit is {LIMIT_BYTES}: use .webp")
    return captions


def write_covers(*, weights: Path, folder: Path, name: str, steps: int, guidance: float) -> list[Path]:
    """Draws the listing's cover, `<name>.webp` of 4 x 3 pictures, and `<name>-1.webp` and on for its first examples."""
    pictures = list(generate(load_pipeline(weights), list(_COVER), steps=steps, guidance=guidance))
    tiles = [Image.fromarray(one).resize((_TILE, _TILE), Image.Resampling.LANCZOS) for one in pictures]
    page = Image.new("RGB", (_COLUMNS * _TILE, len(tiles) // _COLUMNS * _TILE))
    for index, tile in enumerate(tiles):
        page.paste(tile, (index % _COLUMNS * _TILE, index // _COLUMNS * _TILE))
    folder.mkdir(parents=True, exist_ok=True)
    made = {folder / f"{name}.webp": page}
    made |= {
        folder / f"{name}-{n}.webp": Image.fromarray(one) for n, one in enumerate(pictures[:_SAMPLES], 1)
    }
    for path, picture in made.items():
        picture.save(path, quality=88, method=6)
    return list(made)
