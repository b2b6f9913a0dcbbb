// What was decided of copies: a list, each with a way to undo it.

import { fill, h, iconButton, report } from "./dom.js";
import * as order from "./tidyapi.js";
import { day, t } from "./words.js";

/** onUndone(): afterwards, if one was undone. */
export async function showDecisions(readOnly, onUndone) {
  let undone = false;
  const list = h("ul", { class: "decisions" });
  const dialog = h(
    "dialog",
    { class: "small wide", "aria-label": t("decisions"), onclose: () => { dialog.remove(); if (undone) onUndone(); } },
    h("header", {}, h("h2", {}, t("decisions")), iconButton("close", t("close"), () => dialog.close())),
    list,
  );
  const paint = (items) =>
    fill(
      list,
      items.length === 0 && h("li", {}, h("p", { class: "hint" }, t("decisions_none"))),
      items.map((one) =>
        h(
          "li",
          {},
          h("div", { class: "faces" }, one.pictures.slice(0, 6).map((picture) => (picture.thumbnail ? h("img", { src: picture.thumbnail, alt: "", title: picture.path, loading: "lazy" }) : h("span", { class: "away", title: t("decision_away") }, "?"))), one.files > 6 && h("small", {}, `+${one.files - 6}`)),
          h("div", {}, h("strong", {}, t(one.word === "leave" ? "decided_leave" : "decided_differ")), h("small", {}, day(one.made))),
          !readOnly && h("button", { type: "button", class: "button", onclick: () => void undo(one.number) }, t("undo")),
        ),
      ),
    );
  async function undo(number) {
    try {
      paint((await order.undo(number)).items);
      undone = true;
    } catch (error) {
      report(error);
    }
  }
  paint((await order.decisions()).items);
  document.body.append(dialog);
  dialog.showModal();
}
