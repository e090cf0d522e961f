/* The live card: one card of one run, brought by socket, poll or answer, and how its result is looked at. */

const skew = Date.now() / 1000 - Number(document.body.dataset.now || Date.now() / 1000);
const POLL_MS = 2000;
const OPEN = new Set(["queued", "running"]);
const VIEW = "vitrine.result"; // Preview, JSON or Logs, as it was chosen last

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
  const follows = isAtEnd(old);
  if (old.dataset.status === fresh.dataset.status) morph(old, fresh);
  else turn(old, fresh);
  if (follows) follow(document.getElementById(fresh.id));
  htmx.process(document.getElementById(fresh.id));
  tick();
  settle();
}

/** Whether the end of the log is in sight; who has scrolled up to read is left there. */
function isAtEnd(card) {
  const log = card.querySelector('[data-pane="logs"]');
  return log.scrollHeight - log.scrollTop - log.clientHeight < 24;
}

function follow(card) {
  const log = card.querySelector('[data-pane="logs"]');
  log.scrollTop = log.scrollHeight;
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
    tellPolling(frame, false);
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
  for (const frame of document.querySelectorAll(".live[data-poll]")) {
    if (frame.hasAttribute("data-connected")) continue;
    poll(frame);
    // One round without a socket is how every page begins; the second one is worth a word.
    tellPolling(frame, frame.hasAttribute("data-polled"));
    frame.setAttribute("data-polled", "");
  }
}, POLL_MS);

/** Say, or stop saying, that the card is looked at again and again, as no socket brings it. */
function tellPolling(frame, isPolled) {
  const line = frame.querySelector(".polling");
  if (line) line.hidden = !isPolled;
}

document.addEventListener("htmx:wsBeforeMessage", (event) => {
  event.preventDefault();
  show(event.detail.message);
});
document.addEventListener("htmx:wsOpen", ({ target }) => {
  target.setAttribute("data-connected", "");
  tellPolling(target, false);
});
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
  remember();
  if (event.detail.target?.id !== "result") return;
  announce(event.detail.target);
  const card = event.detail.target.querySelector("[data-prediction]");
  mark(card?.dataset.prediction);
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

/** A card that came as a whole is read aloud like one that changed: an empty line that gets its words. */
function announce(place) {
  const said = place.querySelector("[aria-live]");
  if (!said) return;
  const words = said.textContent;
  said.textContent = "";
  setTimeout(() => (said.textContent = words), 100);
}

/** In the strip of last runs, the one that is shown. */
function mark(uid) {
  for (const link of document.querySelectorAll("#strip [data-run]")) {
    if (link.dataset.run === uid) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}

/** Show the result as it was looked at last. */
function remember() {
  const wanted = localStorage.getItem(VIEW);
  for (const choice of document.querySelectorAll(".shows input")) if (choice.value === wanted) choice.checked = true;
}
document.addEventListener("change", ({ target }) => {
  if (!target.closest(".shows")) return;
  localStorage.setItem(VIEW, target.value);
  document.querySelectorAll("[data-prediction]").forEach(follow);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "." && (event.metaKey || event.ctrlKey)) document.querySelector("[data-cancel]")?.click();
});
remember();
