// @fal-ai/client with nothing but environment variables: where does each of its calls end up? Prints that as JSON.
// For a Node that takes its proxy from the environment and has a WebSocket of its own.
import { ApiError, fal } from "@fal-ai/client";

const [app] = process.argv.slice(2);
const input = { prompt: "a vase", seed: 7 };
const seen = {};
seen.run = (await fal.run(app, { input })).data.images[0].url;
const { request_id: requestId, status_url: at } = await fal.queue.submit(app, { input, startTimeout: 60 });
seen.at = at;
await fal.queue.subscribeToStatus(app, { requestId, mode: "streaming" });
seen.result = (await fal.queue.result(app, { requestId })).data.images.length;
seen.subscribe = (await fal.subscribe(app, { input, pollInterval: 50 })).data.images.length;
seen.stream = (await (await fal.stream(app, { input })).done()).images.length;
seen.error = await fal.run("nobody/nothing", { input }).catch((it) => [it instanceof ApiError, it.status]);

const dot = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==", "base64",
);
const address = await fal.storage.upload(new File([dot], "dot.png", { type: "image/png" }));
seen.upload = [address, dot.equals(Buffer.from(await (await fetch(address)).arrayBuffer()))];
seen.realtime = await new Promise((resolve, reject) => {
  const connection = fal.realtime.connect(app, {
    onResult: (result) => {
      connection.close();
      resolve(result.request_id);
    },
    onError: reject,
  });
  setTimeout(() => reject(new Error("nothing came")), 60000).unref();
  connection.send({ ...input, request_id: "1" });
});
console.log(JSON.stringify(seen));
process.exit(0);
