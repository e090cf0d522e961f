// `@huggingface/inference` by provider and by the name of a model. `providers.mjs URL FOLDER`, HF_TOKEN in the
// environment. Where the Hub and its providers are is constants of the client; what it fetches is led here.
import fs from "node:fs";
import path from "node:path";
import { InferenceClient } from "@huggingface/inference";

const [url, folder] = process.argv.slice(2);
const houses = {
  "https://huggingface.co": `${url}/hf`,
  "https://router.huggingface.co": `${url}/hf`,
  "https://queue.fal.run": `${url}/fal/queue`,
  "https://fal.run": `${url}/fal/run`,
  "https://api.replicate.com": url,
};
const distant = globalThis.fetch;
globalThis.fetch = (address, init) => {
  const { origin, pathname, search } = new URL(address);
  const below = pathname.replace(/^\/fal\/queue/, ""); // of a run in the queue, which says where it is here
  return distant(origin in houses ? houses[origin] + below + search : address, init);
};
const awake = setInterval(() => {}, 1000); // its pauses between two looks at a queue let Node end
const client = new InferenceClient(process.env.HF_TOKEN);

async function refused(asking) {
  try {
    await asking;
  } catch (error) {
    return [error.constructor.name, error.httpResponse?.status ?? null];
  }
  return ["nothing was refused"];
}
const start = async (blob) => Buffer.from(await blob.arrayBuffer()).subarray(0, 8).toString("latin1");
const inputs = "a glossy teal vase on a white plinth, light from the left, ivory wall";
const parameters = { width: 128, height: 128, num_inference_steps: 5 };
const picture = new Blob([fs.readFileSync(path.join(folder, "picture.png"))], { type: "image/png" });
const [DRAW, EDIT, FILM, AWAKE, SPEAK] = ["daylight", "repaint", "reel", "awake", "voice"].map((it) => `vitrine/${it}`);

const said = { drawn: [], edited: [], spoken: [] };
for (const provider of ["hf-inference", "fal-ai", "replicate"]) {
  said.drawn.push(await start(await client.textToImage({ provider, model: DRAW, inputs, parameters })));
  said.edited.push(await start(await client.imageToImage({ provider, model: EDIT, inputs: picture })));
  said.spoken.push(await start(await client.textToSpeech({ provider, model: SPEAK, inputs: "hi" })));
}
said.filmed = await start(await client.textToVideo({ provider: "fal-ai", model: FILM, inputs: "a still" }));
said.awake = await start(await client.imageToVideo({ provider: "fal-ai", model: AWAKE, inputs: picture }));
said.none = await refused(client.textToImage({ provider: "fal-ai", model: "vitrine/none", inputs }));
clearInterval(awake);
console.log(JSON.stringify(said));
