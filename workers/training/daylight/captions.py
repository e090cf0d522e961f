"""How pictures are put into words, and the list of words that the model knows."""

from __future__ import annotations

import numpy as np

from workers.training.daylight.ceramics import FINISHES, GLAZES, LIGHTS, PLINTHS, VESSELS, WALLS, Ceramic
from workers.training.daylight.landscapes import DISCS, MISTS, TIMES, Landscape

Subject = Ceramic | Landscape

SCENE_WORDS = {
    "mountains": "mountains",
    "lake": "mountains over a lake",
    "sea": "sea",
    "islands": "islands in the sea",
    "desert": "desert dunes",
    "hills": "rolling hills",
    "forest": "pine forest",
}
_SCENE_VARIANTS = {
    "mountains": ("layered {}mountains", "{}mountain ridges"),
    "lake": ("{}lake and mountains", "a {}mountain lake", "a {}lake"),
    "sea": ("the {}sea", "a {}sea", "{}ocean"),
    "islands": ("{}islands", "{}islands in the ocean"),
    "desert": ("a {}desert", "{}sand dunes"),
    "hills": ("{}hills", "{}green hills"),
    "forest": ("a {}pine forest", "a {}forest", "{}pines"),
}
_TIME_WORDS = {time: f"at {time}" for time in TIMES}
_PLACE_WORDS = {"left": "on the left", "centre": "in the centre", "right": "on the right"}

EXAMPLES = (
    "a glossy cobalt vase on a white plinth, light from the left, ivory wall",
    "a speckled cream teapot on a wooden plinth, light from the right, dark green wall",
    "misty mountains over a lake at dawn, sun on the right",
    "a dipped teal jug on a grey plinth, light from the left, dusty rose wall",
    "pine forest at sunset, sun in the centre",
    "a banded terracotta amphora on a black plinth, light from the right, pale blue wall",
    "islands in the sea at night, moon on the left",
    "a ribbed plum gourd on a white plinth, light from the left, warm grey wall",
)


def with_article(words: str) -> str:
    return ("an " if words[0] in "aeiou" else "a ") + words


def caption(subject: Subject) -> str:
    """The full caption: every attribute, in the order of the word list."""
    if isinstance(subject, Ceramic):
        head = with_article(f"{subject.finish} {subject.glaze} {subject.vessel}")
        stand = with_article(f"{subject.plinth} plinth")
        return f"{head} on {stand}, light from the {subject.light}, {subject.wall} wall"
    mist = "misty " if subject.mist == "misty" else ""
    place = f"{subject.disc} {_PLACE_WORDS[subject.place]}"
    return f"{mist}{SCENE_WORDS[subject.scene]} {_TIME_WORDS[subject.time]}, {place}"


def phrase(subject: Subject, rng: np.random.Generator) -> str:
    """One of many ways to say it; now and then without some of the attributes."""
    if isinstance(subject, Ceramic):
        return _phrase_ceramic(subject, rng)
    return _phrase_landscape(subject, rng)


def _pick(rng: np.random.Generator, *options: str) -> str:
    return options[int(rng.integers(len(options)))]


def _phrase_ceramic(subject: Ceramic, rng: np.random.Generator) -> str:
    if rng.random() < 0.25:
        return caption(subject)
    finish = subject.finish if rng.random() < 0.9 else ""
    thing = f"{finish} {subject.glaze} {subject.vessel}".strip()
    ceramic = f"{finish} {subject.glaze} ceramic {subject.vessel}".strip()
    glazed = with_article(f"{subject.glaze} {subject.vessel}") + (
        f" with {with_article(finish)} glaze" if finish else ""
    )
    head = _pick(
        rng,
        with_article(thing),
        thing,
        with_article(ceramic),
        glazed,
        f"a photo of {with_article(thing)}",
        f"studio photograph of {with_article(thing)}",
        f"still life, {with_article(thing)}",
    )
    parts: list[str] = []
    if rng.random() < 0.88:
        side = subject.light
        lights = (
            f"light from the {side}",
            f"lit from the {side}",
            f"window light from the {side}",
            f"{side} light",
        )
        parts.append(_pick(rng, *lights))
    if rng.random() < 0.90:
        wall = subject.wall
        parts.append(_pick(rng, f"{wall} wall", f"{wall} background", f"against {with_article(wall)} wall"))
    stand = rng.random()
    if stand < 0.62:
        head += f" on {with_article(subject.plinth)} plinth"
    elif stand < 0.88:
        parts.append(f"{subject.plinth} plinth")
    if len(parts) > 1 and rng.random() < 0.5:
        parts.reverse()
    return ", ".join([head, *parts])


def _phrase_landscape(subject: Landscape, rng: np.random.Generator) -> str:
    if rng.random() < 0.25:
        return caption(subject)
    misty = subject.mist == "misty"
    after = misty and rng.random() < 0.2
    mist = "misty " if misty and not after else ""
    if rng.random() < 0.35:
        scene = _pick(rng, *_SCENE_VARIANTS[subject.scene]).format(mist)
    else:
        scene = mist + SCENE_WORDS[subject.scene]
    if after:
        scene += " in the mist"
    time = _TIME_WORDS[subject.time]
    words = _pick(
        rng,
        f"{scene} {time}",
        f"{scene} {time}",
        f"{scene}, {subject.time}",
        f"a landscape with {scene} {time}",
        f"{subject.time}, {scene}",
        f"a painting of {scene} {time}",
    )
    disc, place = subject.disc, _PLACE_WORDS[subject.place]
    said = rng.random()
    if said < 0.76:
        words += _pick(rng, f", {disc} {place}", f" with the {disc} {place}", f", the {disc} {place}")
    elif said < 0.84:
        words += f" with the {disc}"
    if not misty and rng.random() < 0.3:
        words += ", clear air"
    return words


def word_list() -> dict[str, object]:
    """What the page shows: the known words by attribute in the order of the prompt, and example prompts."""
    return {
        "ceramics": {
            "finish": list(FINISHES),
            "glaze": list(GLAZES),
            "vessel": list(VESSELS),
            "plinth": [f"on {with_article(plinth)} plinth" for plinth in PLINTHS],
            "light": [f"light from the {side}" for side in LIGHTS],
            "wall": [f"{wall} wall" for wall in WALLS],
        },
        "landscapes": {
            "mist": [mist for mist in MISTS if mist == "misty"],
            "scene": list(SCENE_WORDS.values()),
            "time": list(_TIME_WORDS.values()),
            "disc": list(DISCS),
            "place": list(_PLACE_WORDS.values()),
        },
        "examples": list(EXAMPLES),
        "understood": sorted(_understood()),
    }


def _understood() -> set[str]:
    """Every single word that training captions contain."""
    rng = np.random.default_rng(0)
    from workers.training.daylight.ceramics import choose_ceramic
    from workers.training.daylight.landscapes import choose_landscape

    words: set[str] = set()
    for _ in range(4000):
        for subject in (choose_ceramic(rng), choose_landscape(rng)):
            words.update(phrase(subject, rng).replace(",", " ").split())
    return words
