"""The surface of replicate 1 for Python, as its users call it. Prints what it saw.

Arguments: the model, a model that takes a picture, and the picture.
"""

import asyncio
import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import replicate
from replicate.exceptions import ModelError, ReplicateError

model, painter = sys.argv[1:3]
picture = Path(sys.argv[3])
small = {"prompt": "a teal vase", "width": 128, "height": 128, "num_inference_steps": 4, "seed": 7}
seen = {}
told = []


class Listener(BaseHTTPRequestHandler):
    def do_POST(self):
        told.append((dict(self.headers), self.rfile.read(int(self.headers["Content-Length"])).decode()))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def refusal(act):
    try:
        act()
    except ReplicateError as error:
        return [error.status, error.title, error.detail]


listener = HTTPServer(("127.0.0.1", 0), Listener)
threading.Thread(target=listener.serve_forever, args=(0.05,), daemon=True).start()
here = f"http://127.0.0.1:{listener.server_port}/told?by=vitrine"

# Running
outputs = replicate.run(model, input={**small, "num_outputs": 2, "go_fast": True})
seen["run"] = [[type(one).__name__, one.read()[:4].hex()] for one in outputs]
version = replicate.models.get(model).latest_version
outputs = replicate.run(f"{model}:{version.id}", input=small)
seen["run_version"] = [[type(one).__name__, len(one.read())] for one in outputs]
seen["run_async"] = len(asyncio.run(replicate.async_run(model, input=small)))
with picture.open("rb") as file:
    seen["run_file"] = len(replicate.run(painter, input={"prompt": "p", "image": file}))
with picture.open("rb") as file:
    seen["run_base64"] = len(
        replicate.run(painter, input={"prompt": "p", "image": file}, file_encoding_strategy="base64")
    )
try:
    replicate.run(painter, input={"prompt": "p", "image": f"{os.environ['REPLICATE_BASE_URL']}/gone.png"})
except ModelError as error:
    seen["model_error"] = [error.prediction.status, bool(error.prediction.error)]

# Predictions
prediction = replicate.predictions.create(
    version=version, input=small, webhook=here, webhook_events_filter=["start", "completed"]
)
seen["created"] = [
    prediction.status,
    len(prediction.id),
    prediction.version == version.id,
    sorted(prediction.urls),
]
prediction.wait()
seen["waited"] = [prediction.status, prediction.progress.percentage, prediction.metrics["predict_time"] > 0]
seen["outputs"] = [url.partition("/media/")[1] for url in prediction.output]
blocked = replicate.predictions.create(version=version.id, input=small, wait=30)
seen["blocked"] = blocked.status
many = replicate.models.predictions.create(
    model=model, input={**small, "num_inference_steps": 40, "num_outputs": 4}
)
many.cancel()
seen["canceled"] = replicate.predictions.get(many.id).status
listed = [one.id for page in replicate.paginate(replicate.predictions.list) for one in page]
seen["listed"] = [prediction.id in listed, len(listed) == len(set(listed))]
events = list(replicate.stream(model, input=small))
seen["streamed"] = [one.event.value for one in events if one.event.value != "logs"]

# Webhooks
deadline = time.monotonic() + 60
while len(told) < 2 and time.monotonic() < deadline:
    time.sleep(0.05)
secret = replicate.webhooks.default.secret()
seen["told"] = []
for headers, body in told:
    replicate.webhooks.validate(headers=headers, body=body, secret=secret, tolerance=300)
    seen["told"].append([json.loads(body)["id"] == prediction.id, json.loads(body)["status"]])
try:
    replicate.webhooks.validate(headers=told[0][0], body=told[0][1] + " ", secret=secret)
except ValueError as error:
    seen["forged"] = type(error).__name__

# Files
file = replicate.files.create(picture, metadata={"shelf": 3})
seen["file"] = [
    file.name,
    file.content_type,
    file.metadata,
    file.checksums["sha256"][:0],
    file.urls["get"][-26:] == file.id,
]
seen["file_listed"] = file.id in [one.id for one in replicate.files.list()]
seen["file_read"] = replicate.files.get(file.id).id == file.id
seen["file_deleted"] = [replicate.files.delete(file.id), refusal(lambda: replicate.files.get(file.id))[0]]

# The shelf and what lies around it
shelf = replicate.models.get(model)
seen["model"] = [shelf.owner, shelf.name, shelf.visibility, shelf.latest_version.cog_version]
seen["input"] = sorted(shelf.latest_version.openapi_schema["components"]["schemas"]["Input"]["properties"])[
    :3
]
seen["models"] = model in [one.id for page in replicate.paginate(replicate.models.list) for one in page]
seen["found"] = [one.id for one in replicate.models.search(model.partition("/")[2])]
seen["versions"] = [one.id for one in shelf.versions.list()]
seen["version"] = shelf.versions.get(version.id).id
seen["collections"] = [one.slug for one in replicate.collections.list()]
seen["collection"] = len(replicate.collections.get("text-to-image").models) > 0
seen["hardware"] = [one.sku for one in replicate.hardware.list()]
account = replicate.default_client.accounts.current()
seen["account"] = [account.type, bool(account.username)]
seen["deployments"] = len(replicate.deployments.list())
seen["trainings"] = len(replicate.trainings.list())

# What goes wrong
stranger = replicate.Client(api_token="vt_nobody")
seen["errors"] = {
    "key": refusal(lambda: stranger.predictions.list()),
    "model": refusal(lambda: replicate.models.get("vitrine/nothing")),
    "version": refusal(lambda: replicate.predictions.create(version="0" * 64, input=small)),
    "input": refusal(lambda: replicate.run(model, input={"prompt": "x", "num_outputs": 9})),
    "deployment": refusal(lambda: replicate.deployments.get("a/b")),
    "training": refusal(
        lambda: replicate.trainings.create(f"{model}:{version.id}", input={"x": 1}, destination="a/b")
    ),
}
print(json.dumps({**seen, "version_id": version.id}))
