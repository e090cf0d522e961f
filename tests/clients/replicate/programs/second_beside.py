"""What second.py leaves out of replicate 2 for Python: the asynchronous half, raw answers, and what is refused. Its
address is the one that version 1 has to be given. Prints what it saw.

Arguments: the model, a model that takes a picture, and the picture.
"""

import asyncio
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import replicate
from replicate import AsyncReplicate, Replicate

model, painter = sys.argv[1:3]
picture = Path(sys.argv[3])
owner, name = model.split("/")
named = {"model_owner": owner, "model_name": name}
small = {"prompt": "a teal vase", "width": 128, "height": 128, "num_inference_steps": 4, "seed": 7}
client = Replicate()
seen = {}


def refusal(act, **given):
    try:
        act(**given)
    except replicate.APIStatusError as error:
        return error.status_code


# Running
seen["polled"] = [type(one).__name__ for one in replicate.run(model, input=small, wait=False)]
seen["addresses"] = [type(one).__name__ for one in replicate.run(model, input=small, use_file_output=False)]
with picture.open("rb") as file:
    asked = {"prompt": "p", "image": file}
    seen["base64"] = len(replicate.run(painter, input=asked, file_encoding_strategy="base64"))
run = replicate.use(model).create(**small)
seen["use"] = [len(run.output()), run.logs().count("%|")]
version = client.models.get(**named).latest_version
seen["use_version"] = len(replicate.use(f"{model}:{version.id}")(**small))

# Raw answers
raw = client.predictions.with_raw_response.create(version=model, input=small, prefer="wait=30")
made = raw.parse()
seen["raw"] = [raw.status_code, raw.headers["preference-applied"], raw.headers["location"] == made.urls.get]
with client.predictions.with_streaming_response.get(prediction_id=made.id) as answer:
    seen["streaming_response"] = answer.parse().status
blocked = client.models.predictions.create(
    **named,
    input=small,
    prefer="wait=30",
    webhook="http://127.0.0.1:9/",
    webhook_events_filter=["start", "output", "logs", "completed"],
)
seen["blocked"] = [blocked.status, blocked.metrics.image_count, blocked.data_removed]
since = datetime.now(UTC) - timedelta(minutes=5)
page = client.predictions.list(created_after=since, created_before=datetime.now(UTC) + timedelta(minutes=1))
seen["page"] = made.id in [one.id for one in page.results]


async def at_once():
    async with AsyncReplicate() as asking:
        one = await asking.predictions.create(version=model, input=small)
        ended = await asking.predictions.wait(prediction_id=one.id)
        over = await asking.predictions.cancel(prediction_id=one.id)
        listed = [each.id async for each in asking.predictions.list()]
        seen["async"] = [ended.status, over.status, one.id in listed]
        paths = await replicate.use(model, use_async=True)(**small)
        seen["async_use"] = len(paths)
        file = await asking.files.create(content=picture)
        found = [each.id async for each in asking.files.list()]
        await asking.files.delete(file_id=file.id)
        seen["async_file"] = file.id in found
        seen["async_around"] = [
            (await asking.account.get()).type,
            (await asking.models.get(**named)).name,
            [each.name for each in (await asking.models.search(body=name)).results],
            [each.model.name for each in (await asking.search(query=name)).models],
            [each.slug async for each in asking.collections.list()][:1],
            [each.sku for each in await asking.hardware.list()],
            (await asking.webhooks.default.secret.get()).key[:6],
        ]


asyncio.run(at_once())

# What is refused
of_two = {"deployment_owner": "a", "deployment_name": "b"}
new = {"owner": owner, "name": "new", "hardware": "cpu", "visibility": "private"}
seen["refused"] = {
    "models": [
        refusal(client.models.create, **new),
        refusal(client.models.update, **named, description="Mine."),
        refusal(client.models.delete, **named),
        refusal(client.models.versions.delete, **named, version_id=version.id),
    ],
    "deployments": [
        refusal(client.deployments.update, **of_two, min_instances=1),
        refusal(client.deployments.delete, **of_two),
        refusal(client.deployments.predictions.create, **of_two, input=small),
    ],
    "trainings": [
        refusal(client.trainings.get, training_id="abc"),
        refusal(client.trainings.cancel, training_id="abc"),
    ],
    "collections": [refusal(client.collections.get, collection_slug="nothing")],
}
print(json.dumps(seen))
