/* The form of a model: sliders beside their numbers, dice, errors that are found and forgiven, the key that runs, and
   values that go along from tab to tab. What a row more or another view is, the server says. */

const form = () => document.getElementById("input");
const runButton = () => document.getElementById("run");
const OURS = new Set(["csrfmiddlewaretoken", "form-act", "form-was", "form-version", "form-since", "form-once"]);
const MAX_CARRIED = 4000;

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

/** What was wrong with a field is no longer known once it changes. */
function forgive(field) {
  const frame = field.closest(".field");
  if (!frame) return;
  frame.querySelector(":scope > .error")?.remove();
  for (const wrong of [frame, ...frame.querySelectorAll(":scope > [aria-invalid], :scope > * > [aria-invalid]")]) {
    wrong.removeAttribute("aria-invalid");
  }
}

document.addEventListener("input", ({ target }) => {
  if (!target.closest("#input")) return;
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
  }
});

document.addEventListener("click", ({ target }) => {
  const dice = target.closest("[data-dice]");
  if (!dice) return;
  const field = document.getElementById(dice.dataset.dice);
  const lowest = Number(field.min || 0);
  field.value = lowest + Math.floor(Math.random() * (Number(field.max || 2 ** 32 - 1) - lowest + 1));
  field.dispatchEvent(new Event("input", { bubbles: true }));
});

/** Go to the first thing that is wrong, or that was said about the whole. */
function showTrouble() {
  const wrong = form()?.querySelector("[data-focus], [aria-invalid=true]");
  if (!wrong) return;
  for (let box = wrong.closest("details"); box; box = box.parentElement.closest("details")) box.open = true;
  const field = wrong.matches("fieldset") ? (wrong.querySelector(":checked, input, select, textarea, button") ?? wrong) : wrong;
  field.focus();
  const said = document.getElementById("f-json-error");
  if (said && field.id === "f-json" && Number(said.dataset.line)) {
    const lines = field.value.split("\n").slice(0, said.dataset.line - 1);
    const at = lines.reduce((sum, line) => sum + line.length + 1, 0) + Number(said.dataset.column) - 1;
    field.setSelectionRange(at, Math.min(at + 1, field.value.length));
  }
}

document.addEventListener("htmx:load", fillAll);
document.addEventListener("htmx:afterSettle", ({ detail }) => {
  if (detail.target?.id === "input" || detail.elt?.id === "input") showTrouble();
});
document.addEventListener("htmx:beforeRequest", ({ target }) => {
  if (target.id === "input") runButton().setAttribute("aria-busy", "true");
});
document.addEventListener("htmx:afterRequest", ({ target }) => {
  if (target.id === "input") runButton()?.removeAttribute("aria-busy");
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !(event.metaKey || event.ctrlKey) || !form() || runButton().disabled) return;
  event.preventDefault();
  form().requestSubmit(runButton());
});

/** The values of the form as an address says them; never what is secret, nor what no address can hold. */
function query() {
  const secret = new Set([...form().querySelectorAll("[type=password]")].map((field) => field.name));
  const here = new URLSearchParams(location.search);
  const kept = [...new FormData(form())].filter(
    ([name, value]) =>
      !OURS.has(name) && !secret.has(name) && value && String(value).length <= MAX_CARRIED && value !== "form",
  );
  for (const name of ["run", "version"]) if (here.has(name)) kept.unshift([name, here.get(name)]);
  return new URLSearchParams(kept).toString();
}

document.addEventListener(
  "click",
  ({ target }) => {
    const link = target.closest("a[data-values]");
    if (link && form()) link.search = query();
  },
  true,
);
document.addEventListener("htmx:configRequest", ({ target, detail }) => {
  if (target.matches("a[data-values]") && form()) detail.path = target.pathname + target.search;
});

fillAll();
showTrouble();
