"""`huggingface_hub.InferenceClient` by provider and by the name of a model. `providers.py URL FOLDER`.

With `HF_ENDPOINT` the Hub is this house, which says that three providers have its models; where those are is a constant
of the client, which is pointed here too.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError
from huggingface_hub.inference._providers import PROVIDERS

URL, FOLDER = sys.argv[1], Path(sys.argv[2])
PROMPT = "a glossy teal vase on a white plinth, light from the left, ivory wall"
SMALL: dict[str, Any] = {"width": 128, "height": 128, "num_inference_steps": 5}
DRAW, EDIT, FILM, AWAKE, SPEAK = (
    f"vitrine/{name}" for name in ("daylight", "repaint", "reel", "awake", "voice")
)

houses = {
    "https://router.huggingface.co/hf-inference": f"{URL}/hf/hf-inference",
    "https://fal.run": f"{URL}/fal/run",
    "https://queue.fal.run": f"{URL}/fal/queue",
    "https://api.replicate.com": URL,
}
for tasks in PROVIDERS.values():
    for one in tasks.values():
        one.base_url = houses.get(one.base_url, one.base_url)


def refused(ask: Callable[[], Any]) -> list[Any]:
    try:
        ask()
    except RepositoryNotFoundError as error:
        return ["RepositoryNotFoundError", error.response.status_code]
    except HfHubHTTPError as error:
        return [type(error).__name__, error.response.status_code, str(error)]
    except ValueError as error:
        return ["ValueError", str(error)]
    return ["nothing was refused"]


picture = (FOLDER / "picture.png").read_bytes()
hf, fal, replicate = (InferenceClient(provider=name) for name in ("hf-inference", "fal-ai", "replicate"))
said: dict[str, Any] = {
    "chosen": InferenceClient().text_to_image(PROMPT, model=DRAW, **SMALL).size,
    "drawn": [one.text_to_image(PROMPT, model=DRAW, **SMALL).size for one in (hf, fal, replicate)],
    "edited": [
        one.image_to_image(picture, prompt="leave it", model=EDIT).size for one in (hf, fal, replicate)
    ],
    "spoken": [one.text_to_speech("hi", model=SPEAK)[:4].decode() for one in (hf, fal, replicate)],
    "filmed": [
        one.text_to_video("a still", model=FILM, num_frames=8)[4:8].decode() for one in (fal, replicate)
    ],
    "awake": fal.image_to_video(picture, model=AWAKE)[4:8].decode(),
    "info": InferenceClient(f"{URL}/hf/{DRAW}", provider="hf-inference").get_endpoint_info(),
    "health": [
        InferenceClient(f"{URL}/hf/vitrine/{name}", provider="hf-inference").health_check()
        for name in ("daylight", "none")
    ],
    "none": refused(lambda: fal.text_to_image(PROMPT, model="vitrine/none")),
    "task": refused(lambda: fal.text_to_video(PROMPT, model=DRAW)),
    "wrong": refused(lambda: fal.text_to_image(PROMPT, model=DRAW, width=100, height=100)),
}
print(json.dumps(said))
