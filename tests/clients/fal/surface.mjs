// The whole run and queue surface of @fal-ai/client, unmodified, with the one setting that leads its hosts here.
import { ApiError, ValidationError, createFalClient } from "@fal-ai/client";

const [app, slow, nobodys] = process.argv.slice(2);
const base = process.env.FAL_BASE;
const hosts = {
  "https://queue.fal.run": `${base}/fal/queue`,
  "https://fal.run": `${base}/fal/run`,
  "https://rest.fal.ai": `${base}/fal/rest`,
};
const here = (url) => {
  const host = Object.keys(hosts).find((it) => url.startsWith(it));
  return host ? hosts[host] + url.slice(host.length) : url;
};
const fal = createFalClient({
  credentials: process.env.FAL_KEY,
  fetch: (url, init) => fetch(here(String(url)), init),
});
const input = { prompt: "a vase", seed: 7 };
const seen = {};

const said = async (promise) => {
  try {
    await promise;
  } catch (error) {
    const kind = error instanceof ValidationError ? "ValidationError" : error instanceof ApiError ? "ApiError" : "";
    const fields = error instanceof ValidationError ? error.fieldErrors.map((it) => it.loc) : null;
    return { kind, status: error.status, message: error.message, fields, named: Boolean(error.requestId),
             user: Boolean(error.isUserTimeout) };
  }
  return null;
};

const ran = await fal.run(app, { input, startTimeout: 30, storageSettings: { expiresIn: "1h" } });
seen.run = { data: ran.data, named: Boolean(ran.requestId) };
seen.get = (await fal.run(app, { method: "get", input: { ...input, steps: 2 } })).data.seed;

for (const mode of ["polling", "streaming"]) {
  const updates = [];
  const enqueued = [];
  const done = await fal.subscribe(slow, {
    input: { ...input, enable_safety_checker: true },
    logs: true,
    mode,
    pollInterval: 50,
    onEnqueue: (id) => enqueued.push(id),
    onQueueUpdate: (it) => updates.push(JSON.parse(JSON.stringify(it))),
  });
  seen[mode] = {
    images: done.data.images.length,
    enqueued: enqueued[0] === done.requestId,
    states: [...new Set(updates.map((it) => it.status))].sort(),
    logs: updates.at(-1).logs.map((it) => it.message),
    metrics: typeof updates.at(-1).metrics.inference_time,
  };
}

const { request_id: requestId, ...rest } = await fal.queue.submit(app, {
  input, priority: "low", hint: "warm", startTimeout: 60, headers: { "X-Fal-Store-IO": "0" },
});
seen.submitted = Object.keys(rest).sort();
await fal.queue.subscribeToStatus(app, { requestId, mode: "polling", pollInterval: 50 });
seen.status = (await fal.queue.status(app, { requestId, logs: true })).status;
seen.result = (await fal.queue.result(app, { requestId })).data.images.length;
seen.late = await said(fal.queue.cancel(app, { requestId }));

const { request_id: told } = await fal.queue.submit(app, {
  input, webhookUrl: `${process.env.RECEIVER}/javascript?for=us`,
});
seen.told = [told, (await fal.queue.subscribeToStatus(app, { requestId: told })).error ?? null];

const waiting = await fal.queue.submit(nobodys, { input });
seen.position = (await fal.queue.status(nobodys, { requestId: waiting.request_id })).queue_position;
await fal.queue.cancel(nobodys, { requestId: waiting.request_id });
const ended = await fal.queue.status(nobodys, { requestId: waiting.request_id });
seen.canceled = [ended.status, ended.error_type];
seen.canceledResult = await said(fal.queue.result(nobodys, { requestId: waiting.request_id }));
seen.deadline = await said(fal.run(nobodys, { input, startTimeout: 1.1 }));

const stream = await fal.stream(slow, { input });
const events = [];
for await (const event of stream) events.push(event);
const last = await stream.done();
seen.stream = { partial: events.slice(0, -1).filter((it) => it.images?.length === 1).length,
                images: last.images.length, named: Boolean(stream.requestId) };

seen.wrongField = await said(fal.run(app, { input: { prompt: "a vase", num_images: 9 } }));
seen.below = (await fal.run(`${app}/text-to-image`, { input })).data.seed;
seen.noApp = await said(fal.run("nobody/nothing", { input }));
seen.noRequest = await said(fal.queue.status(app, { requestId: "00000000-0000-7000-8000-000000000000" }));
console.log(JSON.stringify(seen));
