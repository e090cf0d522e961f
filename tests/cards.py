"""What is drawn for the site itself: the pictures that other sites show of a pasted address, of the site and of each
model that we ship, and a film, a sound and a shape for the page of components.

`python -m tests.cards` draws them anew into `static`, from the covers, the values of the design and nothing else.
"""

from __future__ import annotations

import base64
import io
import json
import math
import struct
import wave
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from tests.screenshots import ARGUMENTS, CHROMIUM

STATIC = Path(__file__).resolve().parent.parent / "static"
CARD_SIZE = (1200, 630)  # and names, as playground.pages.social has them: a test looks
SITE_CARD, SUFFIX = "vitrine/card.jpg", "-card.jpg"
QUALITY = 84
COVERS = {
    "covers/daylight.webp": (
        "vitrine/",
        "daylight",
        "Glazed ceramics in window light, and landscapes layered in haze.",
    ),
}
SITE = ("", "Vitrine", "The storefront and runtime for generative media that you run yourself.")
SIGN = (STATIC.parent / "templates/parts/_brand.html").read_text().partition("<svg")[2].partition("</svg>")[0]
PAGE = """<!doctype html><style>{tokens}</style><style>
  body {{ margin: 0; width: 1200px; height: 630px; display: grid; grid-template-columns: 470px 730px;
    align-items: stretch; background: var(--page); color: var(--ink); font: 400 30px/1.4 var(--sans); }}
  div {{ display: grid; grid-template: auto 1fr / minmax(0, 1fr); padding: 56px 48px 52px 60px; }}
  svg {{ width: 56px; height: 56px; margin-left: -8px; }}
  section {{ align-self: end; }}
  h1 {{ margin: 0 0 16px; font-size: 56px; font-weight: 600; letter-spacing: -0.03em; line-height: 1.1; }}
  span {{ display: block; color: var(--ink-3); font-size: 32px; font-weight: 400; letter-spacing: -0.01em; }}
  p {{ margin: 0; color: var(--ink-2); text-wrap: balance; }}
  img {{ width: 730px; height: 630px; object-fit: cover; }}
</style><div><svg{sign}</svg><section><h1><span>{publisher}</span>{name}</h1><p>{said}</p></section></div>
<img src="{cover}">"""


FILM, SOUND, SHAPE = "vitrine/sample.webm", "vitrine/sample.wav", "vitrine/sample.glb"
RECORD = """async () => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 192, height: 128 });
  document.body.append(canvas);
  const pen = canvas.getContext("2d"), parts = [];
  const asked = { mimeType: "video/webm;codecs=vp8", videoBitsPerSecond: 60000 };
  const recorder = new MediaRecorder(canvas.captureStream(12), asked);
  recorder.ondataavailable = ({ data }) => parts.push(data);
  recorder.start();
  for (let frame = 0; frame < 24; frame += 1) {
    pen.fillStyle = "#dfe3e8"; pen.fillRect(0, 0, 192, 128);
    pen.fillStyle = "#1f7a74"; pen.beginPath();
    const angle = frame / 24 * 2 * Math.PI;
    pen.arc(96 + 56 * Math.cos(angle), 64 + 28 * Math.sin(angle), 18, 0, 7); pen.fill();
    await new Promise((go) => setTimeout(go, 83));
  }
  await new Promise((go) => { recorder.onstop = go; recorder.stop(); });
  const bytes = new Uint8Array(await new Blob(parts).arrayBuffer());
  return btoa(Array.from(bytes, (one) => String.fromCharCode(one)).join(""));
}"""


def film(page: Page, to: Path) -> None:
    """Two seconds of a ball that goes round, recorded in the browser."""
    page.set_content("<body></body>")
    to.write_bytes(base64.b64decode(page.evaluate(RECORD)))
    print(to, to.stat().st_size)


def sound(to: Path, rate: int = 8000) -> None:
    """A second of a tone that fades, 8 bits a sample."""
    tone = (
        128 + 90 * math.sin(2 * math.pi * 330 * at / rate) * math.exp(-3 * at / rate) for at in range(rate)
    )
    with wave.open(str(to), "wb") as out:
        out.setparams((1, 1, rate, rate, "NONE", "not compressed"))
        out.writeframes(bytes(round(one) for one in tone))
    print(to, to.stat().st_size)


def shape(to: Path) -> None:
    """A tetrahedron as a binary glTF."""
    corners = ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1))
    faces = ((0, 1, 2), (0, 3, 1), (0, 2, 3), (1, 3, 2))
    points = b"".join(struct.pack("<3f", *corner) for corner in corners)
    data = points + b"".join(struct.pack("<3H", *face) for face in faces)
    described = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "accessors": [
            {
                "bufferView": 0,
                "componentType": 5126,
                "count": 4,
                "type": "VEC3",
                "min": [-1] * 3,
                "max": [1] * 3,
            },
            {"bufferView": 1, "componentType": 5123, "count": 12, "type": "SCALAR"},
        ],
        "bufferViews": [
            {"buffer": 0, "byteOffset": 0, "byteLength": len(points)},
            {"buffer": 0, "byteOffset": len(points), "byteLength": len(data) - len(points)},
        ],
        "buffers": [{"byteLength": len(data)}],
    }
    text = json.dumps(described, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    chunks = (
        struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(data), 0x004E4942) + data
    )
    to.write_bytes(struct.pack("<III", 0x46546C67, 2, 12 + len(chunks)) + chunks)
    print(to, to.stat().st_size)


def draw(page: Page, cover: Path, words: tuple[str, str, str], to: Path) -> None:
    """One card as a JPEG, which every site can show."""
    publisher, name, said = words
    picture = "data:image/webp;base64," + base64.b64encode(cover.read_bytes()).decode()
    tokens = (STATIC / "vitrine/tokens.css").read_text()
    page.set_content(
        PAGE.format(tokens=tokens, sign=SIGN, publisher=publisher, name=name, said=said, cover=picture)
    )
    page.locator("img").evaluate("image => image.decode()")
    shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    shot.save(to, "JPEG", quality=QUALITY, optimize=True, progressive=True)
    print(to, shot.size, to.stat().st_size)


def main() -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        width, height = CARD_SIZE
        page = browser.new_page(viewport={"width": width, "height": height}, color_scheme="light")
        for place, words in COVERS.items():
            cover = STATIC / place
            draw(page, cover, words, cover.with_name(cover.stem + SUFFIX))
        draw(page, STATIC / next(iter(COVERS)), SITE, STATIC / SITE_CARD)
        film(page, STATIC / FILM)
    sound(STATIC / SOUND)
    shape(STATIC / SHAPE)


if __name__ == "__main__":
    main()
