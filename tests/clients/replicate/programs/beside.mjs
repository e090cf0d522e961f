// What browserless.mjs leaves out of replicate for JavaScript: other ways to wait, and what is refused. Its address has
// no /v1, as that of version 1 for Python. Prints what it saw.
// Arguments: the address, and the model.
import Replicate from "replicate";

const [baseUrl, model] = process.argv.slice(2);
const [owner, name] = model.split("/");
const small = { prompt: "a teal vase", width: 128, height: 128, num_inference_steps: 4, seed: 7 };
const long = { ...small, num_inference_steps: 40, num_outputs: 4 };
const replicate = new Replicate({ baseUrl, useFileOutput: false });
const seen = {};

const refusal = async (act) => {
  try {
    await act();
  } catch (error) {
    return error.response?.status ?? error.message;
  }
};

// Running
seen.addresses = (await replicate.run(model, { input: small })).map((one) => typeof one);
const blocked = await replicate.predictions.create({ model, input: small, wait: 30 });
seen.blocked = [blocked.status, blocked.metrics.image_count, blocked.data_removed];
const leaving = new AbortController();
const states = [];
await replicate.run(model, { input: long, wait: { mode: "poll", interval: 20 }, signal: leaving.signal }, (one) => {
  states.push(one.status);
  leaving.abort();
});
seen.aborted = states.at(-1);
const version = (await replicate.models.get(owner, name)).latest_version;
const events = [];
for await (const event of replicate.stream(`${model}:${version.id}`, { input: small })) events.push(event.event);
seen.streamed = events.filter((one) => one !== "logs");
seen.asked = (await (await replicate.request("/predictions", { method: "GET" })).json()).results.length > 0;
const shelf = [];
for await (const page of replicate.paginate(replicate.models.list)) shelf.push(...page.map((one) => one.name));
seen.shelf = shelf.includes(name);

// What is refused
const deployment = { name: "d", model, version: version.id, hardware: "cpu", min_instances: 0, max_instances: 1 };
const training = { destination: `${owner}/new`, input: {} };
seen.refused = {
  models: [await refusal(() => replicate.models.create(owner, "new", { visibility: "private", hardware: "cpu" }))],
  deployments: [
    await refusal(() => replicate.deployments.create(deployment)),
    await refusal(() => replicate.deployments.update("a", "b", { min_instances: 1 })),
    await refusal(() => replicate.deployments.delete("a", "b")),
    await refusal(() => replicate.deployments.predictions.create("a", "b", { input: small, wait: true })),
  ],
  trainings: [
    await refusal(() => replicate.trainings.create(owner, name, version.id, training)),
    await refusal(() => replicate.trainings.get("abc")),
    await refusal(() => replicate.trainings.cancel("abc")),
  ],
  collections: [await refusal(() => replicate.collections.get("nothing"))],
};
console.log(JSON.stringify(seen));
