/* Media: a face for what does not load, and a light box that goes through what a run made. Without this, a picture is a
   link to itself. */

/** Put a face in the place of a medium that did not load; Retry puts the medium back. */
function give(target) {
  const medium = target.closest?.("[data-medium]");
  if (!medium || medium.closest("dialog")) return;
  const face = document.createElement("div");
  face.className = "medium broken";
  face.setAttribute("role", "status");
  const text = document.createElement("b");
  text.textContent = "This file did not load.";
  const retry = document.createElement("button");
  retry.type = "button";
  retry.className = "button";
  retry.dataset.size = "s";
  retry.textContent = "Retry";
  retry.addEventListener("click", () => {
    delete target.dataset.arriving;
    face.replaceWith(medium);
    target.src = target.getAttribute("src");
    target.load?.();
  });
  face.append(text, retry);
  medium.replaceWith(face);
}
document.addEventListener("error", ({ target }) => give(target), true);

/** Those that failed before anybody listened. */
function look() {
  for (const one of document.querySelectorAll("[data-medium] :is(img, video, audio)")) {
    if (one.error || (one.localName === "img" && one.complete && !one.naturalWidth && one.currentSrc)) give(one);
  }
}
document.addEventListener("htmx:load", look);
look();

let box = null;
let shown = [];
let at = 0;

function button(label, act, text) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = "button";
  made.ariaLabel = label;
  made.textContent = text;
  made.addEventListener("click", act);
  return made;
}

/** The one light box of the page, made when it is first asked for. */
function lightbox() {
  if (box?.isConnected) return box;
  box = document.createElement("dialog");
  box.className = "lightbox";
  box.ariaLabel = "Results";
  const image = document.createElement("img");
  const place = document.createElement("span");
  place.setAttribute("aria-live", "polite");
  const save = document.createElement("a");
  save.className = "button";
  save.textContent = "Download";
  save.download = "";
  const bar = document.createElement("div");
  bar.className = "row";
  const back = button("Previous", () => go(at - 1), "←");
  const on = button("Next", () => go(at + 1), "→");
  bar.append(back, place, on, save, button("Close", () => box.close(), "Close"));
  box.append(image, bar);
  box.addEventListener("click", ({ target }) => target === box && box.close());
  box.addEventListener("keydown", ({ key }) => {
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: shown.length - 1 }[key];
    if (to !== undefined) go(to);
  });
  box.parts = { image, place, save, back, on };
  document.body.append(box);
  return box;
}

function go(to) {
  at = Math.min(Math.max(to, 0), shown.length - 1);
  const { image, place, save, back, on } = box.parts;
  const picture = shown[at].querySelector("img");
  image.src = shown[at].href;
  image.alt = picture.alt;
  image.toggleAttribute("data-small", Math.max(picture.width, picture.naturalWidth) <= 320);
  save.href = shown[at].href;
  place.textContent = shown.length > 1 ? `${at + 1} of ${shown.length}` : "";
  back.hidden = on.hidden = shown.length < 2;
  back.disabled = at === 0;
  on.disabled = at === shown.length - 1;
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-zoom]");
  if (!link || event.metaKey || event.ctrlKey || event.shiftKey || event.button) return;
  event.preventDefault();
  shown = [...(link.closest(".made, .cards") ?? link.parentElement).querySelectorAll("a[data-zoom]")];
  lightbox();
  go(shown.indexOf(link));
  box.showModal();
});
