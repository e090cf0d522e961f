"""What first.py leaves out of replicate 1 for Python: the asynchronous half, objects in place of names, and what is
refused. Its address is the one that version 2 has to be given. Prints what it saw.

Arguments: the model and a picture.
"""

import asyncio
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import replicate
from replicate.exceptions import ReplicateError

model = sys.argv[1]
owner, name = model.split("/")
picture = Path(sys.argv[2])
small = {"prompt": "a teal vase", "width": 128, "height": 128, "num_inference_steps": 4, "seed": 7}
long = {**small, "num_inference_steps": 40, "num_outputs": 4}
seen = {}
told = []


class Listener(BaseHTTPRequestHandler):
    def do_POST(self):
        told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


listener = HTTPServer(("127.0.0.1", 0), Listener)
threading.Thread(target=listener.serve_forever, args=(0.05,), daemon=True).start()


def refusal(act, *given, **named):
    try:
        act(*given, **named)
    except ReplicateError as error:
        return error.status


async def refused(act, *given, **named):
    try:
        await act(*given, **named)
    except ReplicateError as error:
        return error.status


# A run that tells its log as it grows, while all else goes on
client = replicate.default_client
told_of = client.predictions.create(
    model=model,
    input=long,
    wait=5,  # which this client does not send with a model's name
    webhook=f"http://127.0.0.1:{listener.server_port}/",
    webhook_events_filter=["start", "logs", "completed"],
)
seen["not_waited"] = told_of.status

# Objects in place of names
shelf = replicate.models.get(owner, name)
version = shelf.latest_version
seen["objects"] = [len(replicate.run(one, input=small)) for one in (shelf, version)]
shelf.reload()
seen["reloaded"] = shelf.name
seen["addresses"] = [type(one).__name__ for one in replicate.run(model, input=small, use_file_output=False)]
seen["polled"] = len(replicate.run(model, input=small, wait=False))
made = client.models.predictions.create(model=(owner, name), input=small, wait=30)
seen["blocked"] = made.status
made = client.models.predictions.create(model=shelf, input=small)
seen["iterated"] = len(list(made.output_iterator()))
seen["streamed"] = [one.event.value for one in made.stream()][-1]


async def at_once(content):
    seen["async_objects"] = len(await replicate.async_run(version, input=small))
    events = [one async for one in await replicate.async_stream(model, input=small)]
    seen["async_streamed"] = [one.event.value for one in events if one.event.value != "logs"]
    one = await client.predictions.async_create(version=version, input=small)
    await one.async_reload()
    seen["async_iterated"] = len([each async for each in one.async_output_iterator()])
    await one.async_wait()
    seen["async_followed"] = [each.event.value async for each in one.async_stream()][-1]
    again = await client.predictions.async_get(one.id)
    doomed = await client.models.predictions.async_create(model=model, input=long)
    await doomed.async_cancel()
    over = await client.predictions.async_cancel(again.id)
    seen["async_ends"] = [again.status, doomed.status, over.status]
    pages = [page async for page in replicate.async_paginate(client.predictions.async_list)]
    seen["async_listed"] = one.id in [each.id for page in pages for each in page]

    file = await client.files.async_create(content, filename="vase.png", metadata={"shelf": 3})
    found = await client.files.async_get(file.id)
    listed = [each.id for each in await client.files.async_list()]
    seen["async_file"] = [
        found.name,
        found.metadata,
        file.id in listed,
        await client.files.async_delete(file.id),
    ]

    found = await client.models.async_get(model)
    versions = [each.id for each in await found.versions.async_list()]
    seen["async_models"] = [
        found.name,
        version.id in versions,
        (await found.versions.async_get(version.id)).id == version.id,
        model in [each.id for each in await client.models.async_list()],
        [each.id for each in await client.models.async_search(name)],
    ]
    slugs = [each.slug for each in await client.collections.async_list()]
    seen["async_around"] = [
        (await client.collections.async_get(slugs[0])).slug == slugs[0],
        [each.sku for each in await client.hardware.async_list()],
        (await client.accounts.async_current()).type,
        (await client.webhooks.default.async_secret()).key[:6],
        len(await client.deployments.async_list()),
        len(await client.trainings.async_list()),
    ]
    seen["async_refused"] = {
        "models": [
            await refused(client.models.async_create, owner, "new", visibility="private", hardware="cpu"),
            await refused(client.models.async_delete, model),
            await refused(found.versions.async_delete, version.id),
        ],
        "deployments": [
            await refused(client.deployments.async_get, "a/b"),
            await refused(client.deployments.async_delete, "a", "b"),
            await refused(client.deployments.predictions.async_create, ("a", "b"), small),
        ],
        "trainings": [
            await refused(client.trainings.async_get, "abc"),
            await refused(client.trainings.async_cancel, "abc"),
        ],
    }


with picture.open("rb") as content:
    asyncio.run(at_once(content))

# What is refused
scaled = {"hardware": "cpu", "min_instances": 0, "max_instances": 1}
of_two = {"deployment_owner": "a", "deployment_name": "b"}
seen["refused"] = {
    "models": [
        refusal(replicate.models.create, owner, "new", visibility="private", hardware="cpu"),
        refusal(replicate.models.delete, model),
        refusal(shelf.versions.delete, version.id),
    ],
    "deployments": [
        refusal(replicate.deployments.create, name="d", model=model, version=version.id, **scaled),
        refusal(replicate.deployments.update, **of_two, min_instances=1),
        refusal(replicate.deployments.delete, **of_two),
        refusal(replicate.deployments.predictions.create, "a/b", small),
    ],
    "trainings": [refusal(replicate.trainings.get, "abc"), refusal(replicate.trainings.cancel, "abc")],
}

deadline = time.monotonic() + 120
while (not told or told[-1]["status"] != "succeeded") and time.monotonic() < deadline:
    time.sleep(0.05)
seen["told"] = [[one["status"], one["logs"].count("%|")] for one in told if one["id"] == told_of.id]
print(json.dumps(seen))
