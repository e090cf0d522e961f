/* What every page does beyond links and forms: notices, copying, the search key, the list of keys. Modules of single
   pages stand beside this one; they say something to the reader by a "tell" event on the document. */

document.documentElement.dataset.js = "";

let noticeTimer = 0;
document.addEventListener("tell", ({ detail }) => {
  const notice = document.getElementById("notice");
  notice.textContent = detail;
  notice.hidden = false;
  clearTimeout(noticeTimer);
  noticeTimer = setTimeout(() => (notice.hidden = true), 5000);
});
const tell = (text) => document.dispatchEvent(new CustomEvent("tell", { detail: text }));

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    tell("Copied.");
  } catch {
    tell("The browser does not allow copying here. Select the text instead.");
  }
}

document.addEventListener("click", ({ target }) => {
  const asked = target.closest("[data-copy], [data-copy-from], [data-keys]");
  if (!asked) return;
  const { copy: text, copyFrom } = asked.dataset;
  if (text) copy(text);
  else if (copyFrom) copy(document.querySelector(copyFrom).textContent);
  else document.getElementById("keys").showModal();
});
document.addEventListener("change", ({ target }) => {
  if (target.hasAttribute("data-submit")) target.form.requestSubmit();
});

document.addEventListener("keydown", (event) => {
  if (event.metaKey || event.ctrlKey || event.altKey || event.target.matches("input, textarea, select")) return;
  if (event.key === "/") {
    const search = document.querySelector("[data-search]");
    event.preventDefault();
    if (search) {
      search.focus();
      search.select();
    } else location.href = document.querySelector(".brand").href;
  } else if (event.key === "?") document.getElementById("keys")?.showModal();
});

document.addEventListener("htmx:sendError", ({ target }) =>
  tell(
    target.id === "input"
      ? "No answer came. Look at History before you run it again: it may have been accepted."
      : "No answer came. The connection or the server may be away.",
  ),
);
document.addEventListener("htmx:responseError", () => tell("That did not work. Reload the page and try once more."));

if (/Mac|iPhone|iPad/.test(navigator.platform)) {
  const rename = () => {
    for (const hint of document.querySelectorAll("[data-run-key]")) hint.textContent = "⌘↵";
    for (const hint of document.querySelectorAll("[data-mod]")) hint.textContent = "⌘";
  };
  rename();
  document.addEventListener("htmx:load", rename);
}
