// What the `openai` package for JavaScript does otherwise than the one for Python: chunked forms of streams, its own
// iterators and error classes. `surface.mjs FOLDER`, which has picture.png and mask.png; prints what came back.
import fs from "node:fs";
import path from "node:path";
import OpenAI, { toFile } from "openai";

const folder = process.argv[2];
const [DRAW, EDIT, FILM, SPEAK] = ["daylight", "repaint", "reel", "voice"].map((name) => `vitrine/${name}`);
const PROMPT = "a glossy teal vase on a white plinth, light from the left, ivory wall";
const client = new OpenAI();
const file = (name) => fs.createReadStream(path.join(folder, name));

async function refused(asking) {
  try {
    await asking;
  } catch (error) {
    return [error.constructor.name, error.status, error.code, error.param];
  }
  return ["nothing was refused"];
}

const said = {};
const generated = await client.images.generate({
  model: DRAW, prompt: PROMPT, size: "128x128", response_format: "b64_json", num_inference_steps: 5,
});
said.generate = [generated.size, generated.data.map((one) => [Boolean(one.url), one.b64_json.slice(0, 8)])];

const events = await client.images.generate({
  model: DRAW, prompt: PROMPT, size: "128x128", stream: true, partial_images: 2, num_inference_steps: 40,
});
said.stream = [];
for await (const event of events) said.stream.push([event.type, event.b64_json.length > 100]);

const edited = await client.images.edit({
  model: EDIT, image: file("picture.png"), mask: file("mask.png"), prompt: "fill it", response_format: "b64_json",
});
said.edit = edited.data[0].b64_json;
const listed = await client.images.edit({
  model: EDIT, image: [await toFile(file("picture.png"), "p.png", { type: "image/png" })], prompt: "leave it",
});
said.list = listed.data.length;

// More than a request of words may have, of a length that nobody says.
const large = await client.images.edit({
  model: EDIT, image: file("large.png"), prompt: "leave it", output_format: "jpeg", response_format: "url",
});
said.large = [fs.statSync(path.join(folder, "large.png")).size, large.size, large.data.map((one) => Boolean(one.url))];

const kept = await client.files.create({ file: file("picture.png"), purpose: "vision" });
said.file = [kept.filename, (await client.files.delete(kept.id)).deleted];

said.errors = {
  model: await refused(client.images.generate({ model: "vitrine/none", prompt: PROMPT })),
  size: await refused(client.images.generate({ model: DRAW, prompt: PROMPT, size: "100x100" })),
};

const film = await client.videos.create({ model: FILM, prompt: "a still", seconds: "2", size: "128x72" });
const polled = [film.status];
let video = film;
while (["queued", "in_progress"].includes(video.status)) {
  await new Promise((go) => setTimeout(go, 100));
  video = await client.videos.retrieve(film.id);
  if (polled.at(-1) !== video.status) polled.push(video.status);
}
const content = await client.videos.downloadContent(film.id);
said.film = [video.seconds, video.size, polled.at(-1), Buffer.from(await content.arrayBuffer()).subarray(4, 8).toString()];
const ids = [];
for await (const one of client.videos.list({ limit: 1 })) ids.push(one.id);
said.films = ids.includes(film.id) && new Set(ids).size === ids.length;

const recut = await client.videos.edit({ prompt: "at night", video: file("film.mp4"), model: "vitrine/recut" });
const again = await client.videos.edit({ prompt: "at noon", video: { id: film.id }, model: "vitrine/recut" });
said.recut = [recut.model, again.model, again.prompt];
said.deleted = await client.videos.delete(film.id);
said.absent = await refused(client.videos.createCharacter({ name: "ada", video: file("film.mp4") }));

const speech = await client.audio.speech.create({ model: SPEAK, input: "hi", voice: "alto" });
said.speech = Buffer.from(await speech.arrayBuffer()).subarray(0, 4).toString();
said.model = await client.models.retrieve(DRAW);
console.log(JSON.stringify(said));
