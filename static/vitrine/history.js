/* The list of runs beyond links and forms: a drawer at each run's own address, rows that move while runs are open,
   choosing and walking by keys. Without it every row is a link and every act a form. */

const POLL_MS = 2000;
const list = document.getElementById("chosen");
const drawer = document.getElementById("drawer");
const rows = () => [...(list?.querySelectorAll("tbody tr") ?? [])];
const tick = (row) => row.querySelector(".tick input");

/* ---- The drawer ---------------------------------------------------------------------------------------------- */

let opener = null; // what had the focus before
const place = () => location.pathname + location.search;
const home = place();

async function open(address, { push = true } = {}) {
  if (!drawer) return;
  if (drawer.hidden) opener = document.activeElement;
  drawer.setAttribute("aria-busy", "true");
  let html = "";
  try {
    const answer = await fetch(address, { headers: { "HX-Request": "true", "HX-Target": "drawer" } });
    if (!answer.ok || answer.redirected) throw new Error(answer.status);
    html = await answer.text();
  } catch {
    location.assign(address); // its own page says what is wrong
    return;
  }
  htmx.swap(drawer, html, { swapStyle: "innerHTML" });
  drawer.removeAttribute("aria-busy");
  drawer.hidden = false;
  drawer.scrollTop = 0;
  drawer.focus({ preventScroll: true });
  if (push) history.pushState({ drawer: address }, "", address);
  else history.replaceState({ drawer: address }, "", address);
}

function shut() {
  if (!drawer || drawer.hidden) return;
  drawer.hidden = true;
  htmx.swap(drawer, "", { swapStyle: "innerHTML" }); // its socket goes with it
  opener?.focus({ preventScroll: true });
}

/** Leave the drawer as the Back button does, so that the address is the list's again. */
const leave = () => (history.state?.drawer ? history.back() : shut());

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-print]")) return print();
  if (event.target.closest("[data-close]")) return leave();
  const link = event.target.closest("a[data-drawer]");
  if (!link || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey || event.button) return;
  event.preventDefault();
  open(link.href, { push: drawer.hidden });
});
addEventListener("popstate", (event) => {
  if (event.state?.drawer && drawer) open(event.state.drawer, { push: false });
  else if (place() === home || (drawer && !drawer.hidden)) shut();
  else if (!event.state?.htmx) location.reload(); // the page was loaded anew at a run's own address
});

/* ---- Choosing ------------------------------------------------------------------------------------------------ */

function count() {
  const chosen = rows().filter((row) => tick(row).checked).length;
  list.querySelector("[data-chosen]").textContent = chosen;
  const all = list.querySelector("[data-all]");
  all.checked = chosen > 0 && chosen === rows().length;
  all.indeterminate = chosen > 0 && !all.checked;
}

list?.addEventListener("change", ({ target }) => {
  if (target.matches("[data-all]")) for (const row of rows()) tick(row).checked = target.checked;
  count();
});
list?.addEventListener("reset", () => setTimeout(count));

let last = null; // the row that was ticked before, for Shift
list?.addEventListener("click", (event) => {
  const box = event.target.closest("tbody .tick input");
  if (!box) return;
  const at = rows().indexOf(box.closest("tr"));
  if (event.shiftKey && last !== null) {
    for (const row of rows().slice(Math.min(at, last), Math.max(at, last) + 1)) tick(row).checked = box.checked;
    count();
  }
  last = at;
});
for (const field of document.querySelectorAll("[data-select]")) field.addEventListener("focus", () => field.select());

/* ---- Keys ---------------------------------------------------------------------------------------------------- */

let here = null; // the id of the row that j and k have come to

function walk(step) {
  const all = rows();
  const at = all.findIndex((row) => row.id === here);
  const next = all[Math.max(0, Math.min(all.length - 1, at < 0 ? 0 : at + step))];
  if (!next) return;
  for (const row of all) row.toggleAttribute("data-at", row === next);
  here = next.id;
  const link = next.querySelector("a[data-drawer]");
  link.focus({ preventScroll: true });
  next.scrollIntoView({ block: "nearest" });
  if (!drawer.hidden) {
    opener = link;
    open(link.href, { push: false });
  }
}

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && drawer && !drawer.hidden && !document.querySelector(":popover-open, dialog[open]")) return leave();
  if (!list || event.metaKey || event.ctrlKey || event.altKey) return;
  if (event.target.matches("input:not([type=checkbox]), textarea, select")) return;
  const row = here && document.getElementById(here);
  if (event.key === "j") walk(1);
  else if (event.key === "k") walk(-1);
  else if (event.key === "x" && row) {
    tick(row).checked = !tick(row).checked;
    count();
  } else if (event.key === "Enter" && row && event.target === document.body) row.querySelector("a[data-drawer]").click();
  else return;
  event.preventDefault();
});

/* ---- Rows of open runs --------------------------------------------------------------------------------------- */

async function look() {
  const open = [...list.querySelectorAll("tr[data-open]")];
  if (!open.length || document.hidden) return;
  const ids = open.map((row) => `id=${row.id.slice(4)}`).join("&");
  try {
    const answer = await fetch(`${list.dataset.rows}?${ids}`, { headers: { "HX-Request": "true" } });
    if (!answer.ok || answer.redirected) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const row of open) renew(row, fresh.getElementById(row.id));
  } catch {
    /* the network is away; the next round tries again */
  }
}

/** Put what is new of a row into it, and leave what has the focus or is ticked. */
function renew(row, fresh) {
  if (!fresh) return row.remove(); // it was deleted meanwhile
  row.toggleAttribute("data-open", fresh.hasAttribute("data-open"));
  [...fresh.cells].forEach((cell, at) => {
    const old = row.cells[at];
    if (at && old.innerHTML !== cell.innerHTML && !old.contains(document.activeElement)) old.replaceWith(document.adoptNode(cell));
  });
}

if (list) {
  count(); // a browser may bring back ticks with the page
  setInterval(look, POLL_MS);
}
