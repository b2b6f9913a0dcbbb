// The field for words: below the place for a picture, beside the picture in the bar, or in place of words that found nothing.

import { h, icon } from "./dom.js";
import { say, url } from "./upload.js";
import { language, megabytes, t } from "./words.js";

const MOST = 500; // letters; a model reads some 60 pieces of words, and the address has to hold them

/**
 * hint: what stands in the empty field. act(text, less): what is done with the words; less: there is a button for "less like them".
 * urls: an address that is typed here is fetched. focus: by what the rest of the page finds it.
 */
export function makePhrase({ hint, act = null, less = false, urls = false, value = "", id = null }) {
  const input = h("input", { type: "search", name: "words", id, placeholder: hint, "aria-label": t("words_label"), autocomplete: "off", enterkeyhint: "search", dir: "auto", value, oninput: () => input.setCustomValidity("") });
  const words = less ? t("words_like") : t("search");
  const element = h(
    "form",
    { class: "phrase", role: "search", "aria-label": t("words_label"), novalidate: true },
    input,
    h("button", { type: "submit", class: less ? "button tight" : "button", "aria-label": words, title: words }, less ? icon("plus") : h("span", {}, words)),
    less && h("button", { type: "button", class: "button tight", "aria-label": t("words_less"), title: t("words_less"), onclick: () => take(true) }, icon("minus")),
  );
  element.addEventListener("submit", (event) => {
    event.preventDefault();
    take(false);
  });

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
