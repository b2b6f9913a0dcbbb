// The field for words: below the place for a picture, beside the picture in the bar, or in place of words that found nothing.

import { knownWords } from "./api.js";
import { h, icon } from "./dom.js";
import { say, url } from "./upload.js";
import { language, megabytes, t } from "./words.js";

const PAUSE = 150; // ms without a key, then a word is completed
let fields = 0;
let vocabulary = null; // a promise: does the library's model know only some words?

const MOST = 500; // letters; a model reads some 60 pieces of words, and the address has to hold them

/**
 * hint: what stands in the empty field. act(text, less): what is done with the words; less: there is a button for "less like them".
 * urls: an address that is typed here is fetched. focus: by what the rest of the page finds it.
 */
export function makePhrase({ hint, act = null, less = false, urls = false, value = "", id = null }) {
  const input = h("input", { type: "search", name: "words", id, placeholder: hint, "aria-label": t("words_label"), autocomplete: "off", enterkeyhint: "search", dir: "auto", value, oninput: typed });
  const known = h("datalist", { id: `known-${(fields += 1)}` });
  const words = less ? t("words_like") : t("search");
  const element = h(
    "form",
    { class: "phrase", role: "search", "aria-label": t("words_label"), novalidate: true },
    input,
    known,
    h("button", { type: "submit", class: less ? "button tight" : "button", "aria-label": words, title: words }, less ? icon("plus") : h("span", {}, words)),
    less && h("button", { type: "button", class: "button tight", "aria-label": t("words_less"), title: t("words_less"), onclick: () => take(true) }, icon("minus")),
  );
  element.addEventListener("submit", (event) => {
    event.preventDefault();
    take(false);
  });

  let pause = 0;
  function typed() {
    input.setCustomValidity("");
    clearTimeout(pause);
    pause = setTimeout(() => void complete(), PAUSE);
  }

  /** The last word, of a model that knows only some. The list is there only where something is in it: with one the field is a combobox. */
  async function complete() {
    const text = input.value;
    const begun = /\S*$/.exec(text)[0];
    vocabulary ??= knownWords("").then((words) => words.length > 0).catch(() => false);
    const words = begun && (await vocabulary) ? await knownWords(begun).catch(() => []) : [];
    if (text !== input.value) return; // typed on meanwhile
    known.replaceChildren(...words.map((word) => h("option", { value: text.slice(0, text.length - begun.length) + word })));
    if (words.length) input.setAttribute("list", known.id);
    else input.removeAttribute("list");
  }

  function take(against) {
    const text = input.value.trim();
    const wrong = !text ? t("words_none") : text.length > MOST ? t("words_long", { n: text.length, most: MOST }) : "";
    input.setCustomValidity(wrong);
    if (wrong) {
      input.reportValidity();
      input.focus();
      return;
    }
    if (urls && !against && /^https?:\/\/\S+$/i.test(text)) void url(text, "new");
    else (act ?? say)(text, against);
    input.value = "";
  }

  return {
    element,
    input,
    /** These words, to be changed. */
    put(text) {
      input.value = text;
      input.focus();
      input.select();
    },
  };
}

/** For a library whose model knows no words: the one line, with the models that do, and the command. */
export function whyNoWords(state) {
  const list = new Intl.ListFormat(language, { type: "disjunction" });
  const rows = list.format(state.words_models.map((row) => (row.megabytes === null ? row.name : `${row.name} (${megabytes(row.megabytes)})`)));
  const name = state.words_models[0]?.name ?? "NAME";
  return { text: t("no_words", { model: state.library.model, rows }), code: `image-search index FOLDER --model ${name} --library OTHER` };
}

export function noWords(state) {
  const { text, code } = whyNoWords(state);
  return h("p", { class: "no-words" }, icon("words"), h("span", {}, text, " ", h("code", {}, code)));
}
