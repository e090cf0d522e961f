"""The surface of replicate 2 for Python, as its users call it. Prints what it saw.

Arguments: the model, a model that takes a picture, and the picture.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import sys
import time
import warnings
from pathlib import Path

import replicate
from replicate import AsyncReplicate, Replicate
from replicate.exceptions import ModelError

model, painter = sys.argv[1:3]
picture = Path(sys.argv[3])
owner, name = model.split("/")
small = {"prompt": "a teal vase", "width": 128, "height": 128, "num_inference_steps": 4, "seed": 7}
client = Replicate()
seen = {}


def refusal(act):
    try:
        act()
    except replicate.APIStatusError as error:
        return [type(error).__name__, error.status_code, error.body.get("detail")]


# Running
outputs = replicate.run(model, input={**small, "num_outputs": 2})
seen["run"] = [[type(one).__name__, one.read()[:4].hex()] for one in outputs]
version = client.models.get(model_owner=owner, model_name=name).latest_version
outputs = replicate.run(f"{model}:{version.id}", input=small, wait=30)
seen["run_version"] = [type(one).__name__ for one in outputs]
with picture.open("rb") as file:
    seen["run_file"] = len(replicate.run(painter, input={"prompt": "p", "image": file}))
use = replicate.use(model)
paths = use(**small)
seen["use"] = [Path(path).read_bytes()[:4].hex() for path in paths]
seen["use_streaming"] = len(list(replicate.use(model, streaming=True)(**small)))
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    seen["stream"] = len(list(replicate.stream(model, input=small)))
try:
    replicate.run(painter, input={"prompt": "p", "image": f"{os.environ['REPLICATE_BASE_URL']}/gone.png"})
except ModelError as error:
    seen["model_error"] = error.prediction.status


async def at_once():
    async with AsyncReplicate() as asking:
        (output,) = await asking.run(model, input=small)
        return [type(output).__name__, (await output.read())[:4].hex()]


seen["run_async"] = asyncio.run(at_once())

# Predictions
prediction = client.predictions.create(version=model, input=small, prefer="wait=30", cancel_after="2m")
seen["created"] = [prediction.status, prediction.version == version.id, prediction.deadline is not None]
first = client.predictions.create(version=f"{model}:{version.id}", input=small)
seen["asked"] = [first.status, first.output]
seen["waited"] = client.predictions.wait(prediction_id=first.id).status
seen["canceled"] = client.predictions.cancel(
    prediction_id=client.models.predictions.create(
        model_owner=owner, model_name=name, input={**small, "num_inference_steps": 40, "num_outputs": 4}
    ).id
).status
listed = [one.id for one in client.predictions.list(created_after=prediction.created_at)]
seen["listed"] = [prediction.id in listed, first.id in listed]
seen["listed_before"] = prediction.id in [
    one.id for one in client.predictions.list(created_before="2020-01-01T00:00:00Z")
]

# Files
with picture.open("rb") as file:
    made = client.files.create(content=file, filename="vase.png", metadata={"shelf": 3}, type="image/png")
seen["file"] = [made.content_type, made.metadata, made.size > 0]
username = client.account.get().username
expiry = int(time.time()) + 60
key = client.webhooks.default.secret.get().key
proof = hmac.new(
    base64.b64decode(key.split("_")[1]), f"{username} {made.id} {expiry}".encode(), hashlib.sha256
)
signature = base64.b64encode(proof.digest()).decode()
content = client.files.download(file_id=made.id, expiry=expiry, owner=username, signature=signature).read()
seen["downloaded"] = content == picture.read_bytes()
seen["bad_signature"] = refusal(
    lambda: client.files.download(file_id=made.id, expiry=expiry + 1, owner=username, signature=signature)
)[:2]
seen["file_listed"] = made.id in [one.id for one in client.files.list()]
client.files.delete(file_id=made.id)
seen["file_deleted"] = refusal(lambda: client.files.get(file_id=made.id))[:2]

# The shelf and what lies around it
seen["models"] = model in [
    f"{one.owner}/{one.name}" for one in client.models.list(sort_by="model_created_at", sort_direction="asc")
]
seen["found"] = [f"{one.owner}/{one.name}" for one in client.models.search(body=name).results]
seen["searched"] = [one.model.name for one in client.search(query=name, limit=3).models]
seen["readme"] = client.models.readme.get(model_owner=owner, model_name=name)[:1]
seen["examples"] = list(client.models.examples.list(model_owner=owner, model_name=name))
versions = client.models.versions
seen["versions"] = [one.id for one in versions.list(model_owner=owner, model_name=name)] == [version.id]
seen["version"] = versions.get(model_owner=owner, model_name=name, version_id=version.id).id == version.id
seen["collections"] = [one.slug for one in client.collections.list()]
seen["collection"] = client.collections.get(collection_slug="text-to-image").slug
seen["hardware"] = [one.sku for one in client.hardware.list()]
seen["deployments"] = len(list(client.deployments.list()))
seen["trainings"] = len(list(client.trainings.list()))

# What goes wrong
stranger = Replicate(bearer_token="vt_nobody")
seen["errors"] = {
    "key": refusal(lambda: stranger.account.get()),
    "model": refusal(lambda: client.models.get(model_owner=owner, model_name="nothing")),
    "input": refusal(lambda: replicate.run(model, input={"prompt": "x", "num_outputs": 9})),
    "deployment": refusal(lambda: client.deployments.get(deployment_owner="a", deployment_name="b")),
    "make": refusal(
        lambda: client.deployments.create(
            name="d", model=model, version=version.id, hardware="cpu", min_instances=0, max_instances=1
        )
    ),
    "train": refusal(
        lambda: client.trainings.create(
            model_owner=owner, model_name=name, version_id=version.id, destination="a/b", input={}
        )
    ),
}
print(json.dumps(seen))
