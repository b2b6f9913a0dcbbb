// How the wall looks: how large, what is written under a picture, whether what looks the same is folded.

import { go, place } from "./address.js";
import { h, icon } from "./dom.js";
import { setShows, showsWords } from "./scale.js";
import { makeSheet } from "./sheet.js";
import { t } from "./words.js";

const [SMALL, LARGE] = [90, 360]; // heights of a row, CSS pixels

export function makeView({ onSize, onCaption = null }) {
  const opener = h("button", { type: "button", class: "button", "aria-label": t("view"), title: t("view"), onclick: () => sheet.toggle() }, icon("view"), h("span", { class: "words" }, t("view")));
  const size = h("input", { type: "range", min: SMALL, max: LARGE, step: "10", id: "size", value: "190", oninput: () => resize() });
  const group = h("input", { type: "checkbox", id: "group", onchange: () => go({ each: !group.checked }, { replace: true }) });
  const groupWords = h("span", {});
  const folding = h("label", { class: "check", hidden: true }, group, groupWords);
  const choice = (value, words) => h("label", { class: "check" }, h("input", { type: "radio", name: "caption", value, checked: showsWords() === (value === "words"), onchange: () => { setShows(value); onCaption(); } }), h("span", {}, words));
  const content = [
    h("section", { class: "filter" }, h("label", { for: "size" }, t("size")), size),
    onCaption && h("fieldset", { class: "filter" }, h("legend", {}, t("under_pictures")), choice("words", t("under_words")), choice("number", t("under_number"))),
    folding,
  ];
  const sheet = makeSheet({ title: t("view"), content, opener, kind: "view-panel" });

  function resize() {
    onSize(Number(size.value));
    try {
      localStorage.setItem("row", size.value);
    } catch {
      // without storage it is good for this visit
    }
  }

  size.value = kept() ?? (innerWidth < 900 ? "130" : innerWidth > 2400 ? "240" : "190");
  onSize(Number(size.value));

  return {
    button: opener,
    group(there) {
      folding.hidden = !there;
      group.checked = !place.each;
      groupWords.textContent = t("group");
    },
  };
}

function kept() {
  try {
    return localStorage.getItem("row");
  } catch {
    return null;
  }
}
