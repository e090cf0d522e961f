"""The shipped pipeline behind LitServe or Gradio: `python -m tests.bench.served NAME PORT STEPS BATCH`.

Runs with the packages of `build/peers` and imports none of ours.
"""

from __future__ import annotations

import base64
import importlib.util
import io
import os
import sys
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent.parent
SIDE = 192
WAIT_S = 0.02  # for which a batch of LitServe's waits for others


class Model:
    """The pipeline as a function of prompts and seeds."""

    def __init__(self, steps: int) -> None:
        import torch
        from diffusers import DiffusionPipeline

        torch.set_num_threads(os.cpu_count() or 1)
        self._torch, self._steps = torch, steps
        weights = Path(os.environ.get("WEIGHTS_DIR", PROJECT / "workers" / "weights")) / "daylight"
        self._pipe = DiffusionPipeline.from_pretrained(
            str(weights), local_files_only=True, torch_dtype=torch.float32
        )
        self._pipe.set_progress_bar_config(disable=True)

    def __call__(self, prompts: list[str], seeds: list[int]) -> list[Any]:
        made = self._pipe(
            prompts,
            num_inference_steps=self._steps,
            guidance_scale=3.0,
            width=SIDE,
            height=SIDE,
            generator=[self._torch.Generator().manual_seed(int(seed)) for seed in seeds],
        )
        return list(made.images)


def png(image: Any) -> str:
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=4)
    return base64.b64encode(out.getvalue()).decode()


if importlib.util.find_spec("litserve"):
    import litserve

    class Api(litserve.LitAPI):
        """At the top of its module, because LitServe sends it to a process of its own."""

        steps = int(sys.argv[3]) if len(sys.argv) > 3 else 8

        def setup(self, device: str) -> None:
            self.model = Model(self.steps)

        def decode_request(self, request):  # FastAPI would read a type as that of the body
            return request

        def batch(self, inputs: list[Any]) -> list[Any]:
            return inputs

        def predict(self, asked: list[Any]) -> list[Any]:
            return self.model([one["prompt"] for one in asked], [one["seed"] for one in asked])

        def unbatch(self, output: list[Any]) -> list[Any]:
            return output

        def encode_response(self, output):
            return {"png": png(output)}


def serve_litserve(port: int, steps: int, batch: int) -> None:
    api = Api(max_batch_size=batch, batch_timeout=WAIT_S)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=port, num_api_servers=1, generate_client_file=False)


def serve_gradio(port: int, steps: int, batch: int) -> None:
    import gradio

    model = Model(steps)

    def make(prompts: list[str], seeds: list[int]) -> list[list[str]]:
        return [[png(image) for image in model(list(prompts), list(seeds))]]

    with gradio.Blocks() as page:
        prompt, seed, result = gradio.Textbox(), gradio.Number(precision=0), gradio.Textbox()
        gradio.Button().click(
            make, [prompt, seed], [result], batch=True, max_batch_size=batch, api_name="make"
        )
    page.queue(default_concurrency_limit=1).launch(
        server_name="127.0.0.1", server_port=port, quiet=True, share=False
    )


if __name__ == "__main__":
    serve = {"litserve": serve_litserve, "gradio": serve_gradio}[sys.argv[1]]
    serve(int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
