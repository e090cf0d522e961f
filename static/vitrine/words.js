/* Prompt words: chips that put a word where it belongs, and show which of them stand in the prompt. */

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
    for (const chip of group.children) {
      chip.disabled = false; // without this module a word is a word
      chip.setAttribute("aria-pressed", String(chip.dataset.word === said));
    }
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
  field.dispatchEvent(new Event("input", { bubbles: true }));
}

document.addEventListener("click", (event) => {
  const chip = event.target.closest("[data-word], [data-prompt]");
  if (!chip || !promptField()) return;
  if (chip.dataset.word) useWord(chip);
  else if (!event.metaKey && !event.ctrlKey) {
    event.preventDefault();
    write(chip.dataset.prompt);
  }
});
document.addEventListener("input", ({ target }) => {
  if (target.name === "prompt") markWords();
});
document.addEventListener("htmx:load", markWords);
markWords();
