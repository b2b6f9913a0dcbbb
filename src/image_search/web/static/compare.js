// One match large beside the query: side by side, under a slider, or flickering; with its facts.

import * as api from "./api.js";
import { go, place } from "./address.js";
import { button, reducedMotion, fill, h, iconButton, letter, toast } from "./dom.js";
import { bytes, cosine, day, percent, t } from "./words.js";

const WAYS = ["side", "slider", "flicker"];
const FLICKER_MS = 700; // under three changes a second, which is what is safe to look at

export function makeCompare({ selection, onMore, onLike, onLess }) {
  const stage = h("div", { class: "stage" });
  const tabs = h("div", { class: "ways", role: "radiogroup", "aria-label": t("compare") });
  const position = h("span", { class: "position" });
  const sheet = h("div", { class: "sheet" });
  const dialog = h(
    "dialog",
    { class: "compare", "aria-label": t("compare"), tabindex: "-1", onkeydown: keys, onclose: () => match && place.open && go({ open: null }) },
    h("div", { class: "head" }, iconButton("left", t("previous"), () => step(-1)), position, iconButton("right", t("next"), () => step(1)), tabs, iconButton("close", t("close"), () => dialog.close())),
    h("div", { class: "body" }, stage, sheet),
  );
  document.body.append(dialog);

  let way = "side";
  let query = null;
  let matches = [];
  let match = null;
  let timer = 0;
  const known = new Map(); // id -> facts

  function show(queries, shown) {
    matches = shown;
    query = queries[0];
    const wanted = place.open && matches.find((one) => one.id === place.open);
    if (!wanted) {
      close();
      return;
    }
    if (match?.id === wanted.id && dialog.open) {
      marks();
      return;
    }
    match = wanted;
    paint(); // before it opens: it looks for a button that is not disabled to put the focus on
    if (!dialog.open) dialog.showModal();
  }

  function close() {
    clearInterval(timer);
    match = null;
    if (dialog.open) dialog.close();
  }

  function step(by) {
    const at = matches.findIndex((one) => one.id === match.id) + by;
    if (at >= 0 && at < matches.length) go({ open: matches[at].id }, { replace: true });
  }

  function paint() {
    const at = matches.findIndex((one) => one.id === match.id);
    position.textContent = t("of", { n: at + 1, all: matches.length });
    dialog.querySelector(".head > .icon-button").disabled = at === 0;
    dialog.querySelectorAll(".head > .icon-button")[1].disabled = at === matches.length - 1;
    fill(
      tabs,
      WAYS.map((one) => h("button", { type: "button", role: "radio", "aria-checked": String(one === way), tabindex: one === way ? "0" : "-1", onclick: () => choose(one) }, t(one))),
    );
    paintStage();
    paintSheet(known.get(match.id));
    if (!known.has(match.id)) {
      const id = match.id;
      api.facts(id).then(
        (facts) => {
          known.set(id, facts);
          if (match?.id === id) {
            paintSheet(facts);
            const large = stage.querySelector(".theirs img");
            if (large) large.src = facts.view;
          }
        },
        (error) => toast(error.text ?? error.message, true),
      );
    }
    keepFocus();
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
    clearInterval(timer);
    const ours = figure("ours", query.view, t("query"), query);
    const theirs = figure("theirs", known.get(match.id)?.view ?? match.thumbnail, match.name || t("nameless"), match);
    stage.className = `stage ${way}`;
    if (way === "side") fill(stage, ours, theirs);
    else if (way === "slider") {
      const cut = h("input", { type: "range", min: "0", max: "100", value: "50", "aria-label": t("slider_label"), oninput: () => stage.style.setProperty("--cut", `${cut.value}%`) });
      stage.style.setProperty("--cut", "50%");
      fill(stage, h("div", { class: "overlaid" }, theirs, ours, h("div", { class: "divider" }), cut));
    } else {
      const words = h("span", { class: "which", "aria-live": "off" }, t("showing_query"));
      const overlaid = h("div", { class: "overlaid" }, theirs, ours, words);
      fill(stage, overlaid, button(t("swap"), swap, {}, "swap"));
      if (!reducedMotion.matches) timer = setInterval(() => flip(), FLICKER_MS);
    }
  }

  function flip() {
    const overlaid = stage.querySelector(".overlaid");
    const theirs = overlaid.classList.toggle("flipped");
    overlaid.querySelector(".which").textContent = theirs ? t("showing_match") : t("showing_query");
  }

  /** By hand from here on. */
  function swap() {
    clearInterval(timer);
    flip();
  }

  function figure(kind, source, words, of) {
    const image = h("img", { src: source, alt: words, width: of.width, height: of.height });
    image.style.setProperty("--ratio", String(of.width / of.height));
    return h("figure", { class: kind }, image, h("figcaption", {}, kind === "ours" ? t("query") : words));
  }

  function paintSheet(facts) {
    const row = (name, value) => value && [h("dt", {}, name), h("dd", {}, value)];
    const pathText = h("code", { class: "path", tabindex: "0" }, facts?.path ?? match.path);
    fill(
      sheet,
      h("div", { class: "big" }, h("strong", {}, cosine(match.similarity)), h("span", {}, t("similarity"))),
      match.closeness === null ? null : h("p", { class: "hint" }, `${t("closeness")} ${percent(match.closeness)}: ${t("closeness_is", { x: percent(match.closeness) })}`),
      h(
        "dl",
        {},
        row(t("facts_class"), match.name),
        row(t("facts_size"), `${match.width} × ${match.height}`),
        facts && row(t("facts_file"), `${facts.format}, ${bytes(facts.bytes)}`),
        facts?.modified && row(t("facts_date"), day(facts.modified)),
        facts?.copies ? row(t("facts_copies"), t("copies", { n: facts.copies })) : null,
        facts?.offline && row("", t("offline")),
      ),
      h("div", { class: "where" }, pathText, iconButton("copy", t("copy_path"), () => copy(facts?.uri ?? match.uri, pathText))),
      h(
        "div",
        { class: "actions" },
        button(t("drop_new"), () => onMore(match.id), { class: "button primary" }, "similar"),
        button(t("drop_like"), () => onLike(match.id), {}, "plus"),
        button(t("less"), () => onLess(match.id), {}, "minus"),
        button(t("choose_it"), () => pick(), { class: "button pick" }, "check"),
      ),
    );
    marks();
    keepFocus();
  }

  function marks() {
    const node = sheet.querySelector(".pick");
    if (!node || !match) return;
    const on = selection.has(match);
    node.setAttribute("aria-pressed", String(on));
    node.lastChild.textContent = on ? t("chosen_it") : t("choose_it");
  }

  function pick() {
    selection.toggle(match);
    marks();
  }

  function keys(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return; // copying, going back
    if (event.target.type === "range" && event.key.startsWith("Arrow")) return;
    const key = letter(event);
    if (event.target.getAttribute("role") === "radio" && (event.key === "ArrowLeft" || event.key === "ArrowRight")) {
      choose(WAYS[(WAYS.indexOf(way) + (event.key === "ArrowRight" ? 1 : WAYS.length - 1)) % WAYS.length]);
    } else if (event.key === "ArrowLeft") step(-1);
    else if (event.key === "ArrowRight") step(1);
    else if (key === "c") choose(WAYS[(WAYS.indexOf(way) + 1) % WAYS.length]);
    else if (key === "m") onMore(match.id);
    else if (key === "x") pick();
    else if (event.key === " " && way === "flicker" && (event.target.tagName !== "BUTTON" || event.target.getAttribute("role") === "radio")) swap();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  return { show, close };
}

async function copy(text, node) {
  try {
    await navigator.clipboard.writeText(text);
    toast(t("copied"));
  } catch {
    getSelection().selectAllChildren(node);
    toast(t("copy_by_hand"));
  }
}
