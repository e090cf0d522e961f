"""The whole of what the `openai` package can ask of Vitrine, with nothing set but its own two environment variables.

`surface.py FOLDER`: the folder has `picture.png` and `mask.png`. It prints what came back, by what was asked.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import sys
import urllib.request
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
from openai.types import Video
from PIL import Image

warnings.simplefilter("ignore", DeprecationWarning)  # of videos, which this server goes on having
FOLDER = Path(sys.argv[1])
DRAW, EDIT, FILM, SPEAK = "vitrine/daylight", "vitrine/repaint", "vitrine/reel", "vitrine/voice"
PROMPT = "a glossy teal vase on a white plinth, light from the left, ivory wall"
QUICK = {"num_inference_steps": 5}
client = openai.OpenAI()
said: dict[str, Any] = {}


def section(ask: Callable[[], Any]) -> None:
    said[ask.__name__] = ask()


def picture(text: str | None) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text or "")))


def facts(text: str | None) -> list[Any]:
    one = picture(text)
    return [one.format, *one.size]


def pixels(text: str | None) -> list[Any]:
    """Inside of the mask's hole and outside."""
    one = picture(text).convert("RGB")
    return [one.getpixel((32, 24)), one.getpixel((4, 4))]


def refused(ask: Callable[[], Any]) -> list[Any]:
    try:
        ask()
    except openai.APIStatusError as error:
        return [type(error).__name__, error.status_code, error.type, error.code, error.param, error.message]
    return ["nothing was refused"]


@section
def generate() -> Any:
    made = client.images.generate(model=DRAW, prompt=PROMPT, n=2, size="128x128", extra_body=QUICK)
    with urllib.request.urlopen(made.data[0].url) as answer:
        fetched = answer.read()
    return {
        "kind": type(made).__name__,
        "pictures": [facts(one.b64_json) for one in made.data],
        "same": fetched == base64.b64decode(made.data[0].b64_json),
        "format": made.output_format,
        "size": made.size,
        "created": made.created,
    }


@section
def generate_url() -> Any:
    made = client.images.with_raw_response.generate(
        model=DRAW,
        prompt=PROMPT,
        size="128x128",
        response_format="url",
        output_format="jpeg",
        quality="auto",
        user="somebody",
        extra_body=QUICK,
    )
    one = made.parse().data[0]
    with urllib.request.urlopen(one.url) as answer:
        kind = answer.headers["content-type"]
    headers = ("x-request-id", "x-vitrine-ignored")
    return [one.b64_json, kind, *(made.headers.get(name) for name in headers)]


@section
def generate_stream() -> Any:
    steps = {"num_inference_steps": 40}
    with client.images.generate(
        model=DRAW, prompt=PROMPT, size="128x128", stream=True, partial_images=2, extra_body=steps
    ) as events:
        return [
            [
                type(one).__name__,
                one.type,
                getattr(one, "partial_image_index", None),
                facts(one.b64_json),
                one.size,
            ]
            for one in events
        ]


@section
def edit() -> Any:
    with (FOLDER / "picture.png").open("rb") as image, (FOLDER / "mask.png").open("rb") as mask:
        made = client.images.edit(model=EDIT, image=image, mask=mask, prompt="fill it")
    return [facts(made.data[0].b64_json), pixels(made.data[0].b64_json)]


@section
def edit_list() -> Any:
    data = (FOLDER / "picture.png").read_bytes()
    made = client.images.edit(model=EDIT, image=[data], prompt="leave it", output_format="webp")
    two = refused(lambda: client.images.edit(model=EDIT, image=[data, data], prompt="both"))
    return [facts(made.data[0].b64_json), two]


@section
def edit_stream() -> Any:
    with (FOLDER / "picture.png").open("rb") as image:
        events = client.images.edit(
            model=EDIT,
            image=image,
            prompt="slowly",
            stream=True,
            partial_images=1,
            extra_body={"step_seconds": 0.2, "num_inference_steps": 6},
        )
        return [[one.type, facts(one.b64_json)] for one in events]


@section
def variation() -> Any:
    with (FOLDER / "picture.png").open("rb") as image:
        made = client.images.create_variation(model=EDIT, image=image, response_format="b64_json")
    return facts(made.data[0].b64_json)


@section
def errors() -> Any:
    def draw(**more: Any) -> Callable[[], Any]:
        return lambda: client.images.generate(**{"model": DRAW, "prompt": PROMPT, **more})

    stranger = openai.OpenAI(api_key="sk-none")
    return {
        "key": refused(lambda: stranger.images.generate(model=DRAW, prompt=PROMPT)),
        "model": refused(draw(model="vitrine/no-such-model")),
        "n": refused(draw(n=9)),
        "size": refused(draw(size="100x100")),
        "background": refused(draw(background="transparent")),
        "style": refused(draw(style="natural")),
        "stream": refused(draw(stream=True, n=9)),
        "video": refused(lambda: client.videos.retrieve("video_00000000000000000000000000")),
        "chat": refused(lambda: client.chat.completions.create(model=DRAW, messages=[])),
    }


@section
def films() -> Any:
    more = {"num_inference_steps": 4, "step_seconds": 0.1}
    with (FOLDER / "picture.png").open("rb") as reference:
        first = client.videos.create_and_poll(
            model=FILM,
            prompt="a still",
            seconds="4",
            size="128x72",
            input_reference=reference,
            extra_body=more,
        )
    created = client.videos.create(model=FILM, prompt="another", seconds="2", size="128x72")
    early = refused(lambda: client.videos.download_content(created.id))
    second = client.videos.poll(created.id)
    remix = client.videos.poll(client.videos.remix(second.id, prompt="a remix").id)
    film = client.videos.download_content(first.id)
    film.write_to_file(FOLDER / "film.mp4")
    small = client.videos.download_content(first.id, variant="thumbnail").read()
    newest = client.videos.list(limit=2)
    everything = [one.id for one in client.videos.list(limit=1, order="asc")]
    recut = {"model": "vitrine/recut"}  # the protocol has no word for it
    made = {"prompt": "at night", "video": {"id": first.id}}  # of which the methods take files alone
    edited = client.videos.poll(client.post("/videos/edits", cast_to=Video, body={**made, **recut}).id)
    with (FOLDER / "film.mp4").open("rb") as source:
        sent = client.videos.poll(client.videos.edit(prompt="of a file", video=source, extra_body=recut).id)
    gone = client.videos.delete(second.id)
    return {
        "first": first.model_dump(),
        "created": created.model_dump(),
        "early": early,
        "second": second.model_dump(),
        "remix": remix.model_dump(),
        "film": [(FOLDER / "film.mp4").read_bytes()[4:8].decode(), film.response.headers["content-type"]],
        "small": [Image.open(io.BytesIO(small)).format],
        "sheet": refused(lambda: client.videos.download_content(first.id, variant="spritesheet")),
        "edited": edited.model_dump(),
        "same": client.videos.download_content(edited.id).read() == (FOLDER / "film.mp4").read_bytes(),
        "sent": [sent.status, sent.size, sent.seconds],
        "unfit": refused(lambda: client.post("/videos/edits", cast_to=Video, body=made)),
        "nameless": refused(lambda: client.videos.edit(prompt="x", video=FOLDER / "film.mp4")),
        "extended": refused(
            lambda: client.videos.extend(prompt="x", seconds="4", video=FOLDER / "film.mp4", extra_body=recut)
        ),
        "newest": [[one.id for one in newest.data], newest.has_more],
        "everything": everything,
        "gone": gone.model_dump(),
        "again": refused(lambda: client.videos.retrieve(second.id)),
    }


@section
def speech() -> Any:
    with client.audio.speech.with_streaming_response.create(
        model=SPEAK, input="hello", voice="bass"
    ) as answer:
        answer.stream_to_file(FOLDER / "speech.wav")
        kind = answer.headers["content-type"]
    whole = client.audio.speech.create(model=SPEAK, input="hi", voice="alto", response_format="wav")
    streamed = client.audio.speech.create(model=SPEAK, input="hi", voice="alto", stream_format="sse")
    mp3 = refused(
        lambda: client.audio.speech.create(model=SPEAK, input="hi", voice="alto", response_format="mp3")
    )
    return {
        "kind": kind,
        "file": (FOLDER / "speech.wav").read_bytes()[:4].decode(),
        "whole": whole.read()[:4].decode(),
        "events": [line for line in streamed.text.splitlines() if line.startswith("event:")],
        "voice": refused(lambda: client.audio.speech.create(model=SPEAK, input="hi", voice="nova")),
        "mp3": mp3,
        "picture": refused(lambda: client.audio.speech.create(model=DRAW, input="hi", voice="alto")),
    }


@section
def files() -> Any:
    Image.new("RGB", (16, 16), (1, 2, 3)).save(FOLDER / "kept.png")
    with (FOLDER / "kept.png").open("rb") as picture:
        kept = client.files.create(
            file=picture, purpose="vision", expires_after={"anchor": "created_at", "seconds": 3600}
        )
    found = client.files.retrieve(kept.id)
    film = client.videos.create_and_poll(
        model=FILM,
        prompt="of a file",
        seconds="1",
        size="128x72",
        extra_body={"input_reference": {"file_id": kept.id}},  # the argument takes files alone
    )
    return {
        "kept": kept.model_dump(),
        "found": found.id,
        "listed": kept.id in [one.id for one in client.files.list(limit=1, purpose="vision")],
        "waited": client.files.wait_for_processing(kept.id).status,
        "content": client.files.content(kept.id).read() == (FOLDER / "kept.png").read_bytes(),
        "film": film.status,
        "gone": client.files.delete(kept.id).deleted,
        "again": refused(lambda: client.files.retrieve(kept.id)),
    }


@section
def absent() -> Any:
    """What of the media's part of the client there is nothing for, by what it is called there."""
    path = FOLDER / "speech.wav"
    asks: dict[str, Callable[[], Any]] = {
        "videos.create_character": lambda: client.videos.create_character(name="ada", video=path),
        "videos.get_character": lambda: client.videos.get_character("char_1"),
        "audio.transcriptions": lambda: client.audio.transcriptions.create(model=SPEAK, file=path),
        "audio.translations": lambda: client.audio.translations.create(model=SPEAK, file=path),
        "audio.voices": lambda: client.audio.voices.create(name="ada", audio_sample=path, consent="c"),
        "audio.voices.delete": lambda: client.audio.voices.delete("voice_1"),
        "audio.voice_consents": lambda: client.audio.voice_consents.list(),
        "uploads": lambda: client.uploads.upload_file_chunked(
            file=path, mime_type="audio/wav", purpose="user_data"
        ),
        "content_provenance_checks": lambda: client.content_provenance_checks.create(
            file=FOLDER / "picture.png"
        ),
    }
    return {name: refused(ask)[:5] for name, ask in asks.items()}


@section
def asynchronous() -> Any:
    async def story() -> list[str]:
        async with openai.AsyncOpenAI() as other:
            events = await other.images.generate(
                model=DRAW, prompt=PROMPT, size="128x128", stream=True, extra_body=QUICK
            )
            return [one.type async for one in events]

    return asyncio.run(story())


@section
def models() -> Any:
    one = client.models.retrieve(DRAW)
    gone = refused(lambda: client.models.delete(DRAW))
    return [one.model_dump(), sorted(each.id for each in client.models.list()), gone]


print(json.dumps(said))
