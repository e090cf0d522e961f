"""What `huggingface_hub.InferenceClient` can ask of an endpoint's address. `surface.py URL TOKEN FOLDER`."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from huggingface_hub import AsyncInferenceClient, InferenceClient
from huggingface_hub.errors import HfHubHTTPError, InferenceTimeoutError

URL, TOKEN, FOLDER = sys.argv[1], sys.argv[2], Path(sys.argv[3])
PROMPT = "a glossy teal vase on a white plinth, light from the left, ivory wall"


def client(name: str, token: str = TOKEN, **more: Any) -> InferenceClient:
    return InferenceClient(base_url=f"{URL}/hf/vitrine/{name}/", token=token, **more)


def refused(ask: Callable[[], Any]) -> list[Any]:
    try:
        ask()
    except HfHubHTTPError as error:
        return [error.response.status_code, error.response.json(), str(error)]
    except InferenceTimeoutError:
        return ["timeout"]
    return ["nothing was refused"]


def facts(picture: Any) -> list[Any]:
    return [picture.format, *picture.size]


draw, edit, speak = client("daylight"), client("repaint"), client("voice")
drawn = draw.text_to_image(
    PROMPT, width=128, height=128, num_inference_steps=5, guidance_scale=3.5, seed=7, negative_prompt="fog"
)
again = draw.text_to_image(PROMPT, width=128, height=128, num_inference_steps=5, guidance_scale=3.5, seed=7)
named = InferenceClient(token=TOKEN).text_to_image(
    PROMPT, model=f"{URL}/hf/vitrine/daylight", width=128, height=128, num_inference_steps=5
)
other = AsyncInferenceClient(f"{URL}/hf/vitrine/repaint", token=TOKEN)
picture = (FOLDER / "picture.png").read_bytes()
print(
    json.dumps(
        {
            "drawn": facts(drawn),
            "same": drawn.tobytes() == again.tobytes(),
            "named": facts(named),
            "base64": facts(edit.image_to_image(picture, prompt="leave it")),
            "raw": facts(edit.image_to_image(FOLDER / "picture.png")),
            "asynchronous": facts(asyncio.run(other.image_to_image(picture, prompt="leave it"))),
            "speech": speak.text_to_speech("hello", extra_body={"voice": "bass"})[:4].decode(),
            "key": refused(lambda: client("daylight", "hf_no").text_to_image(PROMPT)),
            "model": refused(lambda: client("none").text_to_image(PROMPT)),
            "size": refused(lambda: draw.text_to_image(PROMPT, width=100)),
            "words": refused(lambda: edit.text_to_image("no picture")),
        }
    )
)
