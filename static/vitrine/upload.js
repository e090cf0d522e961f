/* Files in a form: chosen, dropped, pasted or named by their address, they go up while the rest is filled in, in parts
   that are sent again after the connection was away. What a control holds in the end is the id of a stored file. */

const API = "/api/v1/assets";
const WHOLE_BYTES = 4 * 2 ** 20; // up to here one request is enough
const ATTEMPTS = 9; // while there is a connection; without one it waits
const AGAIN = new Set([408, 429, 500, 502, 503, 504]);
const MEGABYTE = 1e6;

/** What is under way or went wrong, by the id of its control, which the server may draw anew meanwhile. */
const jobs = new Map();

class Stopped extends Error {}
class Away extends Error {}

const controls = () => [...document.querySelectorAll("[data-file]")];
const part = (control, name) => control.querySelector(`[data-${name}]`);
const isBusy = (job) => job && !job.trouble;
const isFree = (control) => !isBusy(jobs.get(control.id)) && !part(control, "value").value && !picker(control).disabled;
const picker = (control) => control.querySelector(".pick");
const busy = () => [...jobs.values()].filter(isBusy);

function sized(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  return bytes < MEGABYTE ? `${Math.round(bytes / 1000)} kB` : `${(bytes / MEGABYTE).toFixed(1)} MB`;
}

/* ---- What a control shows ------------------------------------------------------------------------------------- */

function paint(control) {
  const job = jobs.get(control.id);
  const drop = part(control, "drop");
  const value = part(control, "value").value;
  const isFilled = drop.hasAttribute("data-filled");
  drop.toggleAttribute("data-busy", isBusy(job) ?? false);
  part(control, "cancel-upload").hidden = !isBusy(job);
  part(control, "remove-file").hidden = isBusy(job) || !(isFilled && value);
  part(control, "sent").hidden = !isBusy(job);
  const trouble = part(control, "trouble");
  trouble.hidden = !job?.trouble;
  trouble.textContent = job?.trouble ? `${job.name}: ${job.trouble}` : "";
  if (isBusy(job)) {
    part(control, "name").textContent = job.name;
    part(control, "facts").textContent = job.word || progressOf(job);
    const bar = part(control, "sent");
    if (job.size) bar.value = job.sent / job.size;
    else bar.removeAttribute("value");
    if (job.preview) face(control, job.preview);
  } else if (!isFilled) {
    face(control, "");
    if (!picker(control).disabled) part(control, "name").textContent = control.dataset.invite;
    part(control, "facts").textContent = "or give its address below";
  }
}

function progressOf(job) {
  if (!job.size) return "Fetching…";
  if (job.sent >= job.size) return "Looking at it…";
  return `${sized(job.sent)} of ${sized(job.size)} · ${Math.floor((100 * job.sent) / job.size)} %`;
}

function face(control, address) {
  const frame = part(control, "face");
  const shown = frame.querySelector("img");
  if (!address && !shown) return;
  if (shown?.src && shown.getAttribute("src") === address) return;
  frame.dataset.icon ??= frame.querySelector("svg") ? frame.innerHTML : "";
  if (!address) {
    frame.innerHTML = frame.dataset.icon;
    return;
  }
  const picture = new Image(44, 44);
  picture.alt = "";
  picture.src = address;
  frame.replaceChildren(picture);
}

function say(control, text) {
  part(control, "said").textContent = text;
}

/** The control holds a stored file. */
function hold(control, asset, { quietly = false } = {}) {
  const drop = part(control, "drop");
  const kind = asset.content_type.split("/").pop().toUpperCase();
  const facts = [kind, asset.width ? `${asset.width} × ${asset.height}` : "", sized(asset.size)];
  part(control, "value").value = asset.id;
  part(control, "name").textContent = asset.filename || asset.id;
  part(control, "facts").textContent = facts.filter(Boolean).join(" · ");
  drop.setAttribute("data-filled", "");
  if (asset.thumbnail_url) face(control, new URL(asset.thumbnail_url).pathname);
  paint(control);
  if (quietly) return;
  say(control, `${asset.filename || "The file"} is there.`);
  part(control, "value").dispatchEvent(new Event("input", { bubbles: true }));
}

function empty(control) {
  stop(control);
  part(control, "value").value = "";
  part(control, "drop").removeAttribute("data-filled");
  paint(control);
  part(control, "value").dispatchEvent(new Event("input", { bubbles: true }));
}

/* ---- One upload ----------------------------------------------------------------------------------------------- */

/** Put a file, or the file at an address, into a control. */
function take(control, { file = null, url = "" }) {
  stop(control);
  const isPicture = file && /^image\/(png|jpeg|webp|gif)$/.test(file.type);
  const job = {
    control: control.id,
    file,
    url,
    name: file ? file.name || "pasted file" : url,
    size: file?.size ?? 0,
    sent: 0,
    word: "",
    trouble: "",
    isStopped: false,
    preview: isPicture ? URL.createObjectURL(file) : "",
  };
  jobs.set(control.id, job);
  part(control, "drop").removeAttribute("data-filled");
  if (file) part(control, "value").value = "";
  say(control, file ? `Uploading ${job.name}.` : "Fetching the file.");
  paint(control);
  job.done = work(job, control);
}

async function work(job, control) {
  try {
    const asset = await (job.url ? fetched(job) : uploaded(job, control));
    if (jobs.get(job.control) === job) jobs.delete(job.control);
    const here = document.getElementById(job.control);
    if (here) hold(here, asset);
  } catch (error) {
    if (error instanceof Stopped) return;
    job.trouble = error.message;
    const here = document.getElementById(job.control);
    if (here) {
      paint(here);
      say(here, `It did not work: ${job.trouble}`);
    }
  } finally {
    if (job.preview) setTimeout(() => URL.revokeObjectURL(job.preview), 5000);
  }
}

function stop(control) {
  const job = jobs.get(control.id);
  if (!job) return;
  job.isStopped = true;
  job.abort?.();
  job.wake?.();
  jobs.delete(control.id);
}

async function uploaded(job, control) {
  const most = Number(control.dataset.max);
  if (!job.size) throw new Error("The file is empty.");
  if (job.size > most) throw new Error(`The file has ${sized(job.size)}, and at most ${sized(most)} are taken.`);
  const accepted = control.dataset.file.split(",").filter(Boolean);
  const fits = (kind) => kind === job.file.type || (kind.endsWith("/*") && job.file.type.startsWith(kind.slice(0, -1)));
  const isKnown = job.file.type && job.file.type !== "application/octet-stream"; // else its bytes say what it is
  if (isKnown && accepted.length && !accepted.some(fits)) {
    throw new Error(`This field takes ${accepted.join(", ")}, not ${job.file.type}.`);
  }
  return job.size <= WHOLE_BYTES ? whole(job) : inParts(job);
}

async function whole(job) {
  const headers = { "Content-Type": job.file.type || "application/octet-stream", "X-Filename": encodeURIComponent(job.name) };
  return good(await persistently(job, () => send(job, "POST", API, job.file, headers, 0)));
}

async function fetched(job) {
  return good(await persistently(job, () => json(job, "POST", API, { url: job.url })));
}

async function inParts(job) {
  const known = `upload:${job.name}:${job.size}:${job.file.lastModified}`;
  let upload = await begun(job, known);
  for (let round = 0; ; round += 1) {
    const there = new Set(upload.parts.map((one) => one.number));
    const sentOf = (number) => Math.min(upload.part_size, job.size - (number - 1) * upload.part_size);
    let sent = upload.parts.reduce((sum, one) => sum + one.size, 0);
    for (let number = 1; number <= upload.part_count; number += 1) {
      if (there.has(number)) continue;
      const from = (number - 1) * upload.part_size;
      const piece = job.file.slice(from, from + sentOf(number));
      const path = `${API}/uploads/${upload.id}/parts/${number}`;
      const before = sent;
      good(await persistently(job, () => send(job, "PUT", path, piece, { "Content-Type": "application/octet-stream" }, before)));
      sent += piece.size;
    }
    job.sent = job.size;
    const answer = await persistently(job, () => json(job, "POST", `${API}/uploads/${upload.id}/complete`));
    if (answer.status === 409 && round < 2) {
      upload = good(await persistently(job, () => json(job, "GET", `${API}/uploads/${upload.id}`)));
      continue;
    }
    sessionStorage.removeItem(known);
    return good(answer);
  }
}

/** The upload that this file was left in the midst of, or a new one. */
async function begun(job, known) {
  const id = sessionStorage.getItem(known);
  if (id) {
    const answer = await persistently(job, () => json(job, "GET", `${API}/uploads/${id}`));
    if (answer.status === 200 && !answer.data.asset) return answer.data;
  }
  const wanted = { size: job.size, filename: job.name, content_type: job.file.type };
  const upload = good(await persistently(job, () => json(job, "POST", `${API}/uploads`, wanted)));
  sessionStorage.setItem(known, upload.id);
  return upload;
}

/* ---- Requests ------------------------------------------------------------------------------------------------- */

function good({ status, data }) {
  if (status >= 200 && status < 300) return data;
  if (status === 401) throw new Error("You are signed out. Sign in again, in another tab if you like, and try once more.");
  throw new Error(data?.detail || "The server did not take it. Try once more.");
}

/** Try until there is an answer that trying again would not change. */
async function persistently(job, attempt) {
  for (let n = 0; ; ) {
    if (job.isStopped) throw new Stopped();
    let answer = null;
    try {
      answer = await attempt();
      job.word = "";
    } catch (error) {
      if (!(error instanceof Away)) throw error;
    }
    if (job.isStopped) throw new Stopped();
    if (answer && (!AGAIN.has(answer.status) || n >= ATTEMPTS)) return answer;
    if (navigator.onLine) n += 1;
    if (!answer && n >= ATTEMPTS) throw new Error("The server does not answer. Try once more in a while.");
    job.word = navigator.onLine ? "Trying again…" : "The connection is away. It goes on by itself.";
    repaint(job);
    const seconds = Math.min(20, 2 ** n / 4) * (0.5 + Math.random() / 2);
    await rest(job, Math.max(seconds, Number(answer?.wait) || 0));
  }
}

function rest(job, seconds) {
  return new Promise((resolve) => {
    const timer = setTimeout(go, seconds * 1000);
    function go() {
      clearTimeout(timer);
      removeEventListener("online", go);
      resolve();
    }
    job.wake = go;
    addEventListener("online", go);
  });
}

function json(job, method, path, body) {
  return send(job, method, path, body === undefined ? null : JSON.stringify(body), { "Content-Type": "application/json" });
}

/** One request; `before` are the bytes of the file that are there already, and undefined if this brings none. */
function send(job, method, path, body, headers, before) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(method, path);
    const token = JSON.parse(document.body.getAttribute("hx-headers") || "{}")["X-CSRFToken"];
    for (const [name, value] of Object.entries({ ...headers, "X-CSRFToken": token })) request.setRequestHeader(name, value);
    if (before !== undefined) {
      request.upload.onprogress = ({ loaded }) => {
        job.sent = Math.min(before + loaded, job.size);
        job.word = "";
        repaint(job);
      };
    }
    request.onload = () => {
      let data = null;
      try {
        data = JSON.parse(request.responseText);
      } catch {
        /* an answer of something between us and the server */
      }
      resolve({ status: request.status, data, wait: request.getResponseHeader("Retry-After") });
    };
    request.onerror = () => reject(new Away());
    request.onabort = () => reject(new Stopped());
    job.abort = () => request.abort();
    request.send(body);
  });
}

function repaint(job) {
  const control = document.getElementById(job.control);
  if (control && jobs.get(job.control) === job) paint(control);
}

/* ---- Choosing, dropping, pasting ------------------------------------------------------------------------------- */

/** Several files into one control: the first here, the rest into the list that it is part of. */
async function spread(control, files) {
  const rows = control.closest(".rows-field")?.id;
  take(control, { file: files[0] });
  for (const file of files.slice(1)) {
    const next = rows ? await another(rows) : null;
    if (!next) {
      say(document.getElementById(control.id) ?? control, `Only ${files.indexOf(file)} of ${files.length} files have a place here.`);
      return;
    }
    take(next, { file });
  }
}

async function another(rows) {
  const free = () => [...document.getElementById(rows).querySelectorAll("[data-file]")].find(isFree);
  const add = document.getElementById(rows).querySelector('[name="form-act"][value^="add "]');
  if (free() || !add) return free() ?? null;
  const settled = new Promise((resolve) => {
    document.addEventListener("htmx:afterSettle", resolve, { once: true });
    setTimeout(resolve, 8000);
  });
  add.click();
  await settled;
  return free() ?? null;
}

document.addEventListener("change", ({ target }) => {
  const control = target.closest("[data-file]");
  if (!control) return;
  if (target.matches(".pick")) {
    const files = [...target.files];
    target.value = "";
    if (files.length) spread(control, files);
  } else if (target.matches("[data-value]")) named(control, target.value.trim());
});

/** An address is fetched at once, so that what is wrong with it shows here; an id is looked up. */
async function named(control, text) {
  stop(control);
  paint(control);
  if (picker(control).disabled || text.includes("/media/")) return;
  if (/^https?:\/\//i.test(text)) take(control, { url: text });
  else if (/^a_[0-9a-z]{26}$/i.test(text)) {
    const job = { isStopped: false };
    const answer = await persistently(job, () => json(job, "GET", `${API}/${text}`)).catch(() => null);
    if (answer?.status === 200 && part(control, "value").value.trim() === text) hold(control, answer.data);
  }
}

const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");

document.addEventListener("dragover", (event) => {
  if (!hasFiles(event) || !controls().length) return;
  event.preventDefault(); // a file dropped beside its place must not replace the page
  const over = event.target.closest?.("[data-drop]");
  const control = over?.closest("[data-file]");
  for (const one of controls()) part(one, "drop").toggleAttribute("data-over", one === control && !picker(one).disabled);
  event.dataTransfer.dropEffect = control && !picker(control).disabled ? "copy" : "none";
});
for (const gone of ["dragleave", "dragend", "drop"]) {
  document.addEventListener(gone, (event) => {
    if (gone === "dragleave" && event.relatedTarget) return;
    for (const one of controls()) part(one, "drop").removeAttribute("data-over");
  });
}
document.addEventListener("drop", (event) => {
  if (!hasFiles(event) || !controls().length) return;
  event.preventDefault();
  const control = event.target.closest?.("[data-drop]")?.closest("[data-file]");
  if (control && !picker(control).disabled) spread(control, [...event.dataTransfer.files]);
});

document.addEventListener("paste", (event) => {
  const files = [...(event.clipboardData?.files ?? [])];
  if (!files.length) return;
  const control = event.target.closest?.("[data-file]") ?? controls().find(isFree);
  if (!control || picker(control).disabled) return;
  event.preventDefault();
  spread(control, files);
});

document.addEventListener(
  "click",
  (event) => {
    const control = event.target.closest("[data-file]");
    if (control && event.target.closest("[data-cancel-upload]")) {
      empty(control);
      say(control, "Canceled.");
      picker(control).focus();
    } else if (control && event.target.closest("[data-remove-file]")) {
      empty(control);
      say(control, "Removed.");
      picker(control).focus();
    }
    const act = event.target.closest(".rows-field [name=form-act]:not([value^='add '])");
    const moving = act && [...act.closest(".rows-field").querySelectorAll("[data-file]")].find((one) => isBusy(jobs.get(one.id)));
    if (moving) {
      // Its place would be another one when the file is there.
      event.preventDefault();
      event.stopImmediatePropagation();
      say(moving, "Wait until the file is there, or cancel it.");
    }
  },
  true,
);

/* ---- The form around ------------------------------------------------------------------------------------------- */

/** Whoever runs while a file is on its way means with the file. */
document.addEventListener("htmx:confirm", async (event) => {
  if (event.target.id !== "input" || !busy().length) return;
  event.preventDefault();
  const run = event.target.querySelector(".run [data-kind=primary]");
  run?.setAttribute("aria-busy", "true");
  for (const job of busy()) {
    const control = document.getElementById(job.control);
    if (control) say(control, "It runs when the file is there.");
  }
  while (busy().length) await Promise.allSettled(busy().map((job) => job.done));
  run?.removeAttribute("aria-busy");
  const failed = [...jobs.values()].find((job) => job.trouble && document.getElementById(job.control));
  if (failed) picker(document.getElementById(failed.control)).focus();
  else event.detail.issueRequest(true);
});

document.addEventListener("htmx:configRequest", ({ detail }) => {
  for (const name of Object.keys(detail.parameters)) if (name.endsWith(".file")) delete detail.parameters[name];
});

addEventListener("beforeunload", (event) => {
  if (busy().length) event.preventDefault();
});

document.addEventListener("reset", () => setTimeout(() => controls().forEach(empty)));

function begin() {
  for (const control of controls()) {
    picker(control).removeAttribute("name"); // the id is what is sent
    if (!part(control, "drop").hasAttribute("data-filled") && /^a_[0-9a-z]{26}$/i.test(part(control, "value").value)) {
      named(control, part(control, "value").value);
    }
    paint(control);
  }
}
document.addEventListener("htmx:load", begin);
begin();
