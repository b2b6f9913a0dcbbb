// One match large beside the query, with its facts: a dialog that is stepped through with the arrow keys.

import * as api from "./api.js";
import { go, place } from "./address.js";
import { fill, h, iconButton, letter, toast } from "./dom.js";
import { makeDetails } from "./details.js";
import { WAYS, makeStage } from "./stage.js";
import { ensureFull } from "./upload.js";
import { t } from "./words.js";

/**
 * selection: has(match), toggle(match). onMore(id) searches with a match, onLike(id) and onLess(id) add it to the query.
 * onThisMachine: see details.js.
 */
export function makeCompare({ selection, onMore, onLike, onLess, onThisMachine = false }) {
  const stage = makeStage({ onStep: step });
  const details = makeDetails({ selection, onMore, onLike, onLess, onThisMachine });
  const tabs = h("div", { class: "ways", role: "radiogroup", "aria-label": t("compare") });
  const position = h("span", { class: "position" });
  const back = iconButton("left", t("previous"), () => step(-1));
  const forth = iconButton("right", t("next"), () => step(1));
  const dialog = h(
    "dialog",
    { class: "compare", "aria-label": t("compare"), tabindex: "-1", onkeydown: keys, onclose: closed },
    h("div", { class: "head" }, back, position, forth, tabs, iconButton("close", t("close"), () => dialog.close())),
    h("div", { class: "body" }, stage.element, details.element),
  );
  document.body.append(dialog);

  let way = "side";
  let query = null;
  let matches = [];
  let match = null;
  const known = new Map(); // id -> facts

  function show(queries, shown) {
    matches = shown;
    query = queries.find((one) => !one.text && !one.less) ?? queries[0];
    stage.element.classList.toggle("of-words", Boolean(query.text));
    const wanted = place.open && matches.find((one) => one.id === place.open);
    if (!wanted) {
      close();
      return;
    }
    if (match?.id === wanted.id && dialog.open) {
      details.marks();
      return;
    }
    match = wanted;
    paint(); // before it opens: it looks for a button that is not disabled to put the focus on
    if (!dialog.open) {
      dialog.showModal();
      paintStage(); // only now it has a size
    }
  }

  function close() {
    match = null;
    if (dialog.open) dialog.close();
  }

  function closed() {
    stage.end();
    stage.reset();
    if (match && place.open) go({ open: null });
  }

  function step(by) {
    const at = matches.findIndex((one) => one.id === match.id) + by;
    if (at >= 0 && at < matches.length) go({ open: matches[at].id }, { replace: true });
  }

  function paint() {
    const at = matches.findIndex((one) => one.id === match.id);
    position.textContent = t("of", { n: at + 1, all: matches.length });
    back.disabled = at === 0;
    forth.disabled = at === matches.length - 1;
    tabs.hidden = Boolean(query.text); // words are no picture to lay over another
    fill(
      tabs,
      WAYS.map((one) => h("button", { type: "button", role: "radio", "aria-checked": String(one === way), tabindex: one === way ? "0" : "-1", onclick: () => choose(one) }, t(one))),
    );
    paintStage();
    details.show(match, known.get(match.id));
    keepFocus();
    if (!known.has(match.id)) void learn(match.id);
  }

  async function learn(id) {
    try {
      const facts = await api.facts(id);
      known.set(id, facts);
      if (match?.id !== id) return;
      details.show(match, facts);
      stage.better("theirs", facts.view);
      keepFocus();
    } catch (error) {
      toast(error.text ?? error.message, true);
    }
  }

  /** The focused button was disabled or drawn anew: keys must not go elsewhere. */
  function keepFocus() {
    if (dialog.open && !dialog.querySelector(":focus:enabled, code:focus")) dialog.focus();
  }

  function choose(next) {
    way = next;
    paint();
    tabs.querySelector("[aria-checked=true]").focus();
  }

  function paintStage() {
    const ours = query.text ? { said: query.text, words: t("your_words") } : { view: query.view, called: query.called, words: query.called ?? t("query"), width: query.width, height: query.height };
    const theirs = { view: known.get(match.id)?.view ?? match.thumbnail, words: match.name || t("nameless"), width: match.width, height: match.height };
    stage.show(ours, theirs, query.text ? "side" : way);
    if (!query.text) void ensureFull(query.id).then((view) => view && stage.better("ours", view)); // a small copy is enough to search, not to look at
  }

  function keys(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return; // copying, going back
    if (event.target.type === "range" && event.key.startsWith("Arrow")) return;
    const key = letter(event);
    const aside = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (event.target.getAttribute("role") === "radio" && (event.key === "ArrowLeft" || event.key === "ArrowRight")) {
      choose(WAYS[(WAYS.indexOf(way) + (event.key === "ArrowRight" ? 1 : WAYS.length - 1)) % WAYS.length]);
    } else if (aside && event.shiftKey) stage.move(...aside);
    else if (event.key === "ArrowLeft") step(-1);
    else if (event.key === "ArrowRight") step(1);
    else if (key === "c" && !query.text) choose(WAYS[(WAYS.indexOf(way) + 1) % WAYS.length]);
    else if (key === "s") onMore(match.id);
    else if (key === "m") onLike(match.id);
    else if (key === "l") onLess(match.id);
    else if (key === "x") details.pick();
    else if (event.key === " " && way === "flicker" && !query.text && (event.target.tagName !== "BUTTON" || event.target.getAttribute("role") === "radio")) stage.swap();
    else if (!stage.key(event.key)) return;
    event.preventDefault();
    event.stopPropagation();
  }

  return { show, close };
}
