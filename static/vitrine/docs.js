/* The documentation's list follows what is read; on narrow screens it begins closed. */

const contents = document.querySelector("[data-contents]");
const narrow = matchMedia("(width < 60rem)");
const fit = () => (contents.open = !narrow.matches);
narrow.addEventListener("change", fit);
fit();
contents.addEventListener("click", (event) => {
  if (narrow.matches && event.target.closest("a")) contents.open = false;
});

const links = new Map([...contents.querySelectorAll("a")].map((link) => [link.hash.slice(1), link]));
const places = [...links.keys()].map((id) => document.getElementById(id)).filter(Boolean);
let marked = null;

/** Mark the last place that began above the upper third of the window. */
function follow() {
  const line = innerHeight / 3;
  let here = places[0];
  for (const place of places) {
    if (place.getBoundingClientRect().top > line) break;
    here = place;
  }
  const link = links.get(here.id);
  if (link === marked) return;
  marked?.removeAttribute("aria-current");
  link.setAttribute("aria-current", "true");
  marked = link;
  const list = contents.parentElement;
  const top = link.offsetTop - list.offsetTop;
  if (!narrow.matches && (top < list.scrollTop + 40 || top > list.scrollTop + list.clientHeight - 60)) {
    list.scrollTop = top - list.clientHeight / 2;
  }
}

let waiting = false;
document.addEventListener(
  "scroll",
  () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      follow();
    });
  },
  { passive: true },
);
follow();
