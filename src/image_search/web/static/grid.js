// A grid of images: one tab stop, arrow keys inside, boxes of a fixed shape so that nothing jumps while pictures arrive.

import { h, icon, letter } from "./dom.js";
import { cosine, percent, t } from "./words.js";

/**
 * onOpen(item), onMore(item), onPick(item): what a card can do; without onPick there is no check mark.
 * isPicked(item), onRepeats(item): see results.
 */
export function makeGrid({ onOpen, onMore = null, onPick = null, isPicked = () => false, onRepeats = null, label }) {
  const list = h("ul", { class: "grid", "aria-label": label, onkeydown: keys, onfocusin: (event) => makeCurrent(event.target.closest(".card")) });
  let cards = new Map(); // id -> { node, item }

  function show(items) {
    const next = new Map();
    const nodes = items.map((item) => {
      const old = cards.get(item.id);
      const node = old && sameLook(old.item, item) ? old.node : card(item);
      next.set(item.id, { node, item });
      return node;
    });
    const focused = document.activeElement?.closest?.(".card")?.dataset.id;
    cards = next;
    list.replaceChildren(...nodes);
    marks();
    const open = focused && cards.get(focused);
    if (open) open.node.firstChild.focus({ preventScroll: true });
    makeCurrent(open?.node ?? list.querySelector(".card.current") ?? nodes[0]);
  }

  function append(items) {
    for (const item of items) {
      if (cards.has(item.id)) continue;
      const node = card(item);
      cards.set(item.id, { node, item });
      list.append(node);
    }
    if (!list.querySelector(".card.current")) makeCurrent(list.firstChild);
  }

  function card(item) {
    const name = item.name || t("nameless");
    const scored = item.similarity !== undefined;
    const picture = h("img", { src: item.thumbnail, alt: "", loading: "lazy", decoding: "async", width: item.width, height: item.height, draggable: "false" });
    picture.addEventListener("error", () => picture.closest(".frame").classList.add("gone"));
    const main = h(
      "button",
      {
        type: "button",
        class: "face",
        tabindex: "-1",
        "aria-label": scored ? null : `${name}, ${item.path.split("/").at(-1)}`,
        title: item.path,
        onclick: () => onOpen(item),
      },
      h("span", { class: "frame" }, picture),
      scored
        ? h(
            "span",
            { class: "caption" },
            h("span", { class: "name" }, name),
            h("span", { class: "score" }, h("span", { class: "unseen" }, `${t("similarity")} `), h("b", {}, cosine(item.similarity)), item.closeness === null ? null : h("small", { title: t("closeness_is", { x: percent(item.closeness) }) }, h("span", { class: "unseen" }, `${t("closeness")} `), percent(item.closeness))),
            h("span", { class: "bar" }, bar(item.similarity)),
          )
        : null,
    );
    const node = h(
      "li",
      { class: "card", data: { id: item.id }, draggable: "true", ondragstart: (event) => event.dataTransfer.setData("application/x-image-search", item.id) },
      main,
      item.identical ? h("span", { class: "pill identical" }, t("identical")) : item.offline || item.gone ? h("span", { class: "pill" }, t(item.gone ? "gone" : "offline")) : null,
      onPick ? h("button", { type: "button", class: "mark", tabindex: "-1", title: t("pick"), "aria-label": t("pick"), "aria-pressed": "false", onclick: () => onPick(item) }, icon("check")) : null,
      onMore ? h("button", { type: "button", class: "more", tabindex: "-1", title: t("more_like"), "aria-label": t("more_like"), onclick: () => onMore(item) }, icon("similar")) : null,
      item.repeats ? h("button", { type: "button", class: "repeats", tabindex: "-1", "aria-expanded": String(item.expanded), title: item.expanded ? t("repeats_hide") : t("repeats", { n: item.repeats }), "aria-label": item.expanded ? t("repeats_hide") : t("repeats", { n: item.repeats }), onclick: () => onRepeats(item) }, item.expanded ? "−" : `+${item.repeats}`) : null,
    );
    if (item.repeats) node.classList.add("stack");
    if (item.member) node.classList.add("member");
    return node;
  }

  /** The one card that Tab reaches. */
  function makeCurrent(node) {
    if (!node) return;
    for (const old of list.querySelectorAll(".card.current")) {
      if (old !== node) {
        old.classList.remove("current");
        for (const part of old.querySelectorAll("button")) part.tabIndex = -1;
      }
    }
    node.classList.add("current");
    for (const part of node.querySelectorAll("button")) part.tabIndex = 0;
  }

  function marks() {
    for (const { node, item } of cards.values()) {
      const picked = isPicked(item);
      node.classList.toggle("picked", picked);
      node.querySelector(".mark")?.setAttribute("aria-pressed", String(picked));
    }
  }

  function keys(event) {
    const here = event.target.closest(".card");
    if (!here || event.altKey || event.ctrlKey || event.metaKey) return;
    const item = cards.get(here.dataset.id).item;
    const all = [...list.children];
    const at = all.indexOf(here);
    const columns = all.findIndex((node) => node.offsetTop > all[0].offsetTop);
    const row = columns < 0 ? all.length : columns;
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, ArrowDown: at + row, ArrowUp: at - row, Home: 0, End: all.length - 1 }[event.key];
    if (to !== undefined) {
      event.preventDefault();
      const target = all[Math.max(0, Math.min(all.length - 1, to))];
      if (to >= 0 && (to < all.length || event.key === "ArrowDown")) {
        makeCurrent(target);
        target.firstChild.focus();
        target.scrollIntoView({ block: "nearest" });
      }
    } else if (letter(event) === "m" && onMore) onMore(item);
    else if (letter(event) === "x" && onPick) onPick(item);
    else if (letter(event) === "g" && item.repeats) onRepeats(item);
  }

  return { element: list, show, append, marks };
}

const sameLook = (a, b) => a.rank === b.rank && a.similarity === b.similarity && a.repeats === b.repeats && a.expanded === b.expanded && a.member === b.member && a.thumbnail === b.thumbnail;

export function bar(similarity) {
  const node = h("i", {});
  node.style.setProperty("--share", String(Math.max(0, Math.min(1, similarity))));
  return node;
}
