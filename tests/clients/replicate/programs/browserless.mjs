// The surface of replicate for JavaScript, as its users call it. Prints what it saw.
// Arguments: the address of the API, the model, a model that takes a picture, and the picture.
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import Replicate from "replicate";

const { validateWebhook, parseProgressFromLogs } = Replicate;
const [baseUrl, model, painter, picture] = process.argv.slice(2);
const [owner, name] = model.split("/");
const small = { prompt: "a teal vase", width: 128, height: 128, num_inference_steps: 4, seed: 7 };
const replicate = new Replicate({ baseUrl });
const seen = {};
const told = [];

const refusal = async (act) => {
  try {
    await act();
  } catch (error) {
    return [error.name, error.response?.status ?? error.message];
  }
};
const start = async (file) => Buffer.from(await (await file.blob()).arrayBuffer()).subarray(0, 4).toString("hex");

const listener = createServer((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    told.push({ headers: request.headers, body: Buffer.concat(chunks).toString() });
    response.writeHead(204).end();
  });
});
await new Promise((done) => listener.listen(0, "127.0.0.1", done));
const webhook = `http://127.0.0.1:${listener.address().port}/told`;

// Running
const states = [];
const outputs = await replicate.run(model, { input: { ...small, num_outputs: 2 } }, (one) => states.push(one.status));
seen.run = await Promise.all(outputs.map(start));
seen.states = [states.at(-1), states.length > 1];
const version = (await replicate.models.get(owner, name)).latest_version;
seen.run_version = (await replicate.run(`${model}:${version.id}`, { input: small, wait: { mode: "poll", interval: 50 } })).length;
const file = await readFile(picture);
seen.run_buffer = (await replicate.run(painter, { input: { prompt: "p", image: file } })).length;
seen.run_blob = (await replicate.run(painter, { input: { prompt: "p", image: new Blob([file]) } })).length;
seen.leaked = await refusal(() =>
  new Replicate({ baseUrl, fileEncodingStrategy: "data-uri" }).run(painter, { input: { prompt: "p", image: file } }),
);
seen.failed = await refusal(() => replicate.run(painter, { input: { prompt: "p", image: `${baseUrl}/gone.png` } }));
const events = [];
for await (const event of replicate.stream(model, { input: small })) events.push(event);
seen.streamed = events.map((one) => one.event).filter((one) => one !== "logs");
seen.streamed_file = await start(events.find((one) => one.event === "output").data);

// Predictions
const created = await replicate.predictions.create({ version: version.id, input: small, webhook });
seen.created = created.status;
const ended = await replicate.wait(created, { interval: 50 });
seen.waited = [ended.status, parseProgressFromLogs(ended.logs)];
const long = { ...small, num_inference_steps: 40, num_outputs: 4 };
const doomed = await replicate.predictions.create({ model, input: long });
seen.canceled = (await replicate.predictions.cancel(doomed.id)).status;
seen.read = (await replicate.predictions.get(doomed.id)).status;
const listed = [];
for await (const page of replicate.paginate(replicate.predictions.list)) listed.push(...page.map((one) => one.id));
seen.listed = [listed.includes(created.id), new Set(listed).size === listed.length];

// Webhooks
for (let i = 0; i < 1200 && !told.length; i++) await new Promise((done) => setTimeout(done, 50));
const { key } = await replicate.webhooks.default.secret.get();
seen.told = [];
for (const { headers, body } of told) {
  const message = { id: headers["webhook-id"], timestamp: headers["webhook-timestamp"], signature: headers["webhook-signature"], body, secret: key };
  seen.told.push([await validateWebhook(message), await validateWebhook({ ...message, body: body + " " }), JSON.parse(body).status]);
}
listener.close();

// Files
const made = await replicate.files.create(new File([file], "vase.png", { type: "image/png" }), { shelf: 3 });
seen.file = [made.name, made.content_type, made.metadata];
seen.file_listed = (await replicate.files.list()).results.some((one) => one.id === made.id);
seen.file_read = (await replicate.files.get(made.id)).id === made.id;
seen.file_deleted = [await replicate.files.delete(made.id), await refusal(() => replicate.files.get(made.id))];

// The shelf and what lies around it
seen.models = (await replicate.models.list()).results.some((one) => one.owner === owner && one.name === name);
seen.found = (await replicate.models.search(name)).results.map((one) => `${one.owner}/${one.name}`);
seen.versions = (await replicate.models.versions.list(owner, name)).results.map((one) => one.id === version.id);
seen.version = (await replicate.models.versions.get(owner, name, version.id)).id === version.id;
seen.collections = (await replicate.collections.list()).results.map((one) => one.slug);
seen.collection = (await replicate.collections.get("text-to-image")).models.length > 0;
seen.hardware = (await replicate.hardware.list()).map((one) => one.sku);
seen.account = (await replicate.accounts.current()).type;
seen.deployments = (await replicate.deployments.list()).results.length;
seen.trainings = (await replicate.trainings.list()).results.length;

// What goes wrong
const stranger = new Replicate({ baseUrl, auth: "vt_nobody" });
seen.errors = {
  key: await refusal(() => stranger.predictions.list()),
  model: await refusal(() => replicate.models.get(owner, "nothing")),
  input: await refusal(() => replicate.run(model, { input: { prompt: "x", num_outputs: 9 } })),
  deployment: await refusal(() => replicate.deployments.get("a", "b")),
  deploy: await refusal(() => replicate.deployments.create({ name: "d", model, version: version.id, hardware: "cpu", min_instances: 0, max_instances: 1 })),
};
console.log(JSON.stringify(seen));
