/* What the pages do beyond links and forms: the live card, sliders, prompt words, copying, keys. Everything here adds
   to pages that work without it. */

const root = document.documentElement;
root.dataset.js = "";
const skew = Date.now() / 1000 - Number(document.body.dataset.now || Date.now() / 1000);
const POLL_MS = 2000;
const OPEN = new Set(["queued", "running"]);

/* ---- The live card ------------------------------------------------------------------------------------------- */

/** Make `old` look like `fresh` with as few changes as can be, so that focus, pictures and the bar stay in place. */
function morph(old, fresh) {
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) return void old.replaceWith(fresh);
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  if (old.dataset?.since) return;
  const wanted = [...fresh.childNodes];
  const present = [...old.childNodes];
  wanted.forEach((child, at) => (present[at] ? morph(present[at], child) : old.append(child)));
  present.slice(wanted.length).forEach((child) => child.remove());
}

/** Show a card that came by socket, poll or answer. A closed card never opens again. */
function show(html) {
  const parsed = new DOMParser().parseFromString(html, "text/html");
  const fresh = document.adoptNode(parsed.querySelector("[data-prediction]"));
  const old = fresh && document.getElementById(fresh.id);
  if (!old || (!OPEN.has(old.dataset.status) && OPEN.has(fresh.dataset.status))) return;
  if (old.dataset.status === fresh.dataset.status) morph(old, fresh);
  else turn(old, fresh);
  htmx.process(document.getElementById(fresh.id));
  tick();
  settle();
}

/** From one face to another: the last preview stays under the result until that has arrived. */
function turn(old, fresh) {
  const held = old.contains(document.activeElement);
  const said = fresh.querySelector("[aria-live]");
  const words = said.textContent;
  const preview = old.querySelector(".seen");
  const made = fresh.querySelector(".made");
  if (preview && (made || fresh.dataset.status === "canceled")) (made ?? fresh.querySelector(".note")).before(preview);
  for (const picture of made?.querySelectorAll("img") ?? []) {
    picture.dataset.arriving = "";
    const arrived = () => requestAnimationFrame(() => delete picture.dataset.arriving);
    picture.addEventListener("load", arrived, { once: true });
    picture.addEventListener("error", arrived, { once: true });
    picture.addEventListener("transitionend", () => preview?.remove(), { once: true });
    setTimeout(() => preview?.remove(), 3000);
  }
  said.textContent = "";
  old.replaceWith(fresh);
  setTimeout(() => (said.textContent = words), 100);
  if (held) fresh.querySelector(".acts :is(a, button)")?.focus();
}

/** When a card has closed: its frame rests, and what shows balances and lists looks again. */
function settle() {
  for (const frame of document.querySelectorAll(".live[data-poll]")) {
    const card = frame.querySelector("[data-prediction]");
    if (card && OPEN.has(card.dataset.status)) continue;
    delete frame.dataset.poll;
    htmx.trigger(document.body, "prediction-closed");
    htmx.trigger(document.body, "balance-changed");
  }
}

async function poll(frame) {
  try {
    const answer = await fetch(frame.dataset.poll, { headers: { "HX-Request": "true" } });
    if (answer.redirected || answer.status === 404) delete frame.dataset.poll;
    else if (answer.ok) show(await answer.text());
  } catch {
    /* the network is away; the next round tries again */
  }
}

setInterval(() => {
  for (const frame of document.querySelectorAll(".live[data-poll]")) if (!frame.hasAttribute("data-connected")) poll(frame);
}, POLL_MS);

document.addEventListener("htmx:wsBeforeMessage", (event) => {
  event.preventDefault();
  show(event.detail.message);
});
document.addEventListener("htmx:wsOpen", (event) => event.target.setAttribute("data-connected", ""));
for (const gone of ["htmx:wsClose", "htmx:wsError"]) {
  document.addEventListener(gone, (event) => event.target.removeAttribute?.("data-connected"));
}
document.addEventListener("htmx:beforeSwap", (event) => {
  if (!event.detail.target?.matches("[data-prediction]") || !event.detail.shouldSwap) return;
  event.detail.shouldSwap = false;
  show(event.detail.xhr.responseText);
});
document.addEventListener("htmx:afterSettle", (event) => {
  tick();
  settle();
  if (event.detail.target?.id !== "result") return;
  const card = event.detail.target.querySelector("[data-prediction]");
  if (card && card.getBoundingClientRect().top > innerHeight * 0.7) card.scrollIntoView({ behavior: "smooth", block: "start" });
});

function tick() {
  for (const clock of document.querySelectorAll("time[data-since]")) {
    const passed = Math.max(0, Date.now() / 1000 - skew - Number(clock.dataset.since));
    clock.textContent =
      passed < 60
        ? `${passed.toFixed(1)} s`
        : `${Math.floor(passed / 60)} min ${String(Math.floor(passed % 60)).padStart(2, "0")} s`;
  }
}
setInterval(tick, 100);
tick();

/* ---- The form ------------------------------------------------------------------------------------------------ */

function fill(range) {
  const span = range.max - range.min || 1;
  range.style.setProperty("--at", `${(100 * (range.value - range.min)) / span}%`);
}

function fillAll() {
  for (const range of document.querySelectorAll("[data-slides]")) {
    range.value = document.getElementById(range.dataset.slides)?.value || range.defaultValue;
    fill(range);
  }
}

function changed(field) {
  field.dispatchEvent(new Event("input", { bubbles: true }));
}

/** What was wrong with a field is no longer known once it changes. */
function forgive(field) {
  const frame = field.closest(".field");
  frame?.querySelector(".error")?.remove();
  for (const wrong of frame?.querySelectorAll("[aria-invalid]") ?? []) wrong.removeAttribute("aria-invalid");
}

document.addEventListener("input", ({ target }) => {
  forgive(target);
  if (target.dataset.slides) {
    document.getElementById(target.dataset.slides).value = target.value;
    fill(target);
  } else if (target.type === "number") {
    const range = document.querySelector(`[data-slides="${CSS.escape(target.id)}"]`);
    if (range) {
      range.value = target.value;
      fill(range);
    }
  } else if (target.name === "prompt") markWords();
});
document.addEventListener("change", ({ target }) => {
  if (target.hasAttribute("data-submit")) target.form.requestSubmit();
});
document.addEventListener("reset", ({ target }) => {
  setTimeout(() => {
    fillAll();
    markWords();
    changed(target);
  });
});
document.addEventListener("htmx:load", () => {
  fillAll();
  markWords();
});

/* ---- Prompt words -------------------------------------------------------------------------------------------- */

const promptField = () => document.querySelector("#input [name=prompt]");
const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
const place = (text, word) => text.search(new RegExp(`(?<![\\w-])${escaped(word)}(?![\\w-])`, "i"));
const wordsOf = (group) =>
  [...group.querySelectorAll("[data-word]")].map((chip) => chip.dataset.word).sort((a, b) => b.length - a.length);

/** The word of a group that stands in `text`, longest first, or nothing. */
const saidOf = (group, text) => wordsOf(group).find((word) => place(text, word) >= 0);

function markWords() {
  const text = promptField()?.value ?? "";
  for (const group of document.querySelectorAll("[data-group]")) {
    const said = saidOf(group, text);
    for (const chip of group.children) chip.setAttribute("aria-pressed", String(chip.dataset.word === said));
  }
}

/** Whether the examples of a topic begin with "a" or "an". */
function beginsWithArticle(groups) {
  const prompts = [...document.querySelectorAll("[data-prompt]")].map((chip) => chip.dataset.prompt);
  return /^an? /i.test(prompts.find((prompt) => groups.some((group) => saidOf(group, prompt))) ?? "");
}

/** Put the word of `chip` into the prompt: instead of another of its group, or where its group belongs. */
function useWord(chip) {
  const word = chip.dataset.word;
  const topic = chip.closest("[data-topic]");
  const groups = [...topic.querySelectorAll("[data-group]")];
  const own = chip.closest("[data-group]");
  const text = promptField().value.trim();
  const now = saidOf(own, text);
  const others = [...document.querySelectorAll("[data-group]")].filter((group) => !groups.includes(group));
  const isOther = !groups.some((group) => saidOf(group, text)) && others.some((group) => saidOf(group, text));
  if (!text || isOther) return write(beginsWithArticle(groups) && !word.includes(" ") ? `a ${word}` : word);
  if (now) {
    const at = place(text, now);
    return write(text.slice(0, at) + word + text.slice(at + now.length));
  }
  const index = groups.indexOf(own);
  const next = groups.slice(index + 1).map((group) => saidOf(group, text)).find(Boolean);
  const last = groups.slice(0, index).map((group) => saidOf(group, text)).findLast(Boolean);
  if (last && /^(on|at|in) /.test(word)) {
    const at = place(text, last) + last.length;
    return write(`${text.slice(0, at)} ${word}${text.slice(at)}`);
  }
  if (next && !word.includes(" ") && !/^(on|at|in|light) /.test(next)) {
    const at = place(text, next);
    return write(`${text.slice(0, at)}${word} ${text.slice(at)}`);
  }
  return write(`${text.replace(/,\s*$/, "")}, ${word}`);
}

function write(text) {
  const field = promptField();
  field.value = text.replace(/\b(an?) (?=(\w))/gi, (_, article, first) => {
    const right = /[aeiou]/i.test(first) ? "an " : "a ";
    return article[0] === "A" ? right[0].toUpperCase() + right.slice(1) : right;
  });
  changed(field);
}

/* ---- Buttons and keys ---------------------------------------------------------------------------------------- */

let noticeTimer = 0;
function tell(text) {
  const notice = document.getElementById("notice");
  notice.textContent = text;
  notice.hidden = false;
  clearTimeout(noticeTimer);
  noticeTimer = setTimeout(() => (notice.hidden = true), 5000);
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    tell("Copied.");
  } catch {
    tell("The browser does not allow copying here. Select the text instead.");
  }
}

document.addEventListener("click", (event) => {
  const target = event.target.closest("[data-copy], [data-copy-from], [data-dice], [data-word], [data-prompt], [data-values]");
  if (!target) return;
  const { copy: text, copyFrom, dice, word, prompt } = target.dataset;
  if (text) copy(text);
  else if (copyFrom) copy(document.querySelector(copyFrom).textContent);
  else if (dice) {
    const field = document.getElementById(dice);
    const highest = Number(field.max || 2 ** 32 - 1);
    field.value = Math.floor(Math.random() * (highest + 1));
    changed(field);
  } else if (word) useWord(target);
  else if (prompt && promptField() && !event.metaKey && !event.ctrlKey) {
    event.preventDefault();
    write(prompt);
  } else if (target.hasAttribute("data-values") && document.getElementById("input")) {
    const values = [...new FormData(document.getElementById("input"))];
    const shown = values.filter(([name, value]) => name !== "csrfmiddlewaretoken" && typeof value === "string" && value);
    target.search = new URLSearchParams(shown).toString();
  }
});

document.addEventListener("keydown", (event) => {
  const isTyping = event.target.matches("input, textarea, select");
  if (event.key === "Enter" && (event.metaKey || event.ctrlKey)) {
    const form = document.getElementById("input");
    if (form && !form.querySelector(".run [data-kind=primary]").disabled) {
      event.preventDefault();
      form.requestSubmit();
    }
  } else if (event.key === "." && (event.metaKey || event.ctrlKey)) document.querySelector("[data-cancel]")?.click();
  else if (event.key === "/" && !isTyping && !event.metaKey && !event.ctrlKey && !event.altKey) {
    const search = document.querySelector("[data-search]");
    if (search) {
      event.preventDefault();
      search.focus();
      search.select();
    }
  }
});

document.addEventListener("htmx:beforeRequest", ({ target }) => {
  if (target.id === "input") target.querySelector(".run [data-kind=primary]").setAttribute("aria-busy", "true");
});
document.addEventListener("htmx:afterRequest", ({ target }) => {
  if (target.id === "input") target.querySelector(".run [data-kind=primary]").removeAttribute("aria-busy");
});
document.addEventListener("htmx:sendError", ({ target }) => {
  tell(
    target.id === "input"
      ? "No answer came. Look at History before you run it again: it may have been accepted."
      : "No answer came. The connection or the server may be away.",
  );
});
document.addEventListener("htmx:responseError", () => tell("That did not work. Reload the page and try once more."));

for (const hint of document.querySelectorAll("[data-run-key]")) {
  if (/Mac|iPhone|iPad/.test(navigator.platform)) hint.textContent = "⌘↵";
}
fillAll();
markWords();
