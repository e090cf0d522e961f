// What `@huggingface/inference` can ask of an endpoint's address. `surface.mjs URL TOKEN FOLDER`.
import fs from "node:fs";
import path from "node:path";
import { InferenceClient } from "@huggingface/inference";

const [url, token, folder] = process.argv.slice(2);
const client = (name, key = token) => new InferenceClient(key, { endpointUrl: `${url}/hf/vitrine/${name}` });
const inputs = "a glossy teal vase on a white plinth, light from the left, ivory wall";
const small = { width: 128, height: 128, num_inference_steps: 5 };
const picture = new Blob([fs.readFileSync(path.join(folder, "picture.png"))]);

async function refused(asking) {
  try {
    await asking;
  } catch (error) {
    return [error.constructor.name, error.httpResponse?.status, error.message];
  }
  return ["nothing was refused"];
}
const start = async (blob) => [blob.type, Buffer.from(await blob.arrayBuffer()).subarray(0, 4).toString("latin1")];

const drawn = await client("daylight").textToImage({ inputs, parameters: small }, { outputType: "blob" });
const address = await client("daylight").textToImage({ inputs, parameters: small }, { outputType: "dataUrl" });
const raw = await client("repaint").imageToImage({ inputs: picture });
const asked = await client("repaint").imageToImage({ inputs: picture, parameters: { prompt: "leave it" } });
const speech = await client("voice").textToSpeech({ inputs: "hello" });
console.log(
  JSON.stringify({
    drawn: await start(drawn),
    address: address.slice(0, 22),
    raw: await start(raw),
    asked: await start(asked),
    speech: await start(speech),
    key: await refused(client("daylight", "hf_no").textToImage({ inputs })),
    model: await refused(client("none").textToImage({ inputs })),
  }),
);
