// What of @fal-ai/client is beside runs and the queue, unmodified: uploads, realtime, and everything through the proxy.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { ApiError, createFalClient } from "@fal-ai/client";
import { WebSocket as Socket } from "ws";

const [app, picture] = process.argv.slice(2);
const base = process.env.FAL_BASE;
const through = createFalClient({
  credentials: process.env.FAL_KEY,
  proxyUrl: { url: `${base}/api/fal/proxy`, when: "always" },
});
// The one literal that no setting reaches.
globalThis.WebSocket = class extends Socket {
  constructor(url) {
    super(String(url).replace("wss://fal.run", `${base.replace("http", "ws")}/fal/run`));
    this.binaryType = "arraybuffer";
  }
};
const bytes = readFileSync(picture);
const digest = (data) => createHash("sha256").update(data).digest("hex");
const read = async (url) => digest(Buffer.from(await (await fetch(url)).arrayBuffer()));
const input = { prompt: "a vase", seed: 7 };
const seen = { sha256: digest(bytes) };

const file = new File([bytes], "s.png", { type: "image/png" });
seen.small = await read(await through.storage.upload(file, { lifecycle: { expiresIn: "1d" } }));
// Large for the first who asks, which is the one who decides that it comes in parts.
class Large extends File {
  #asked = false;
  get size() {
    const first = !this.#asked;
    this.#asked = true;
    return first ? 91 * 2 ** 20 : super.size;
  }
}
seen.parts = await read(await through.storage.upload(new Large([bytes], "big.png", { type: "image/png" })));
seen.hidden = await through.storage
  .upload(file, { lifecycle: { expiresIn: "1d", initialAcl: { default: "hide" } } })
  .catch((error) => [error instanceof ApiError, error.status]);

seen.run = (await through.run(app, { input })).data.images.length;
const states = [];
const done = await through.subscribe(app, { input, mode: "streaming", onQueueUpdate: (it) => states.push(it.status) });
seen.streaming = [done.data.images.length, states.at(-1)];
seen.polling = (await through.subscribe(app, { input, pollInterval: 50 })).data.images.length;
const stream = await through.stream(app, { input });
seen.stream = (await stream.done()).images.length;

seen.realtime = await new Promise((resolve, reject) => {
  const heard = [];
  const connection = through.realtime.connect(app, {
    maxBuffering: 4,
    throttleInterval: 0,
    onResult: (result) => {
      heard.push([result.request_id, result.images.length]);
      if (heard.length === 1) connection.send({ prompt: "a vase", num_images: 9, request_id: "wrong" });
    },
    onError: (error) => {
      connection.close();
      resolve([heard, error.body?.error ?? String(error)]);
    },
  });
  setTimeout(() => reject(new Error(`heard only ${JSON.stringify(heard)}`)), 60000).unref();
  connection.send({ ...input, request_id: "1" });
});
console.log(JSON.stringify(seen));
process.exit(0);
