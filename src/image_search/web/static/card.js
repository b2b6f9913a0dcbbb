// One picture of a wall, and what can be done with it.

import { h, icon } from "./dom.js";
import { caption, scoreTitle } from "./scale.js";
import { t } from "./words.js";

export const ACTIONS = [
  ["search", "similar", "search_with"],
  ["more", "plus", "more_like"],
  ["less", "minus", "less_like"],
];

/** item: a row of the server's, a match, or null for one that has not come yet. act(what, item): see wall.js. */
export function makeCard(item, { act, choosable, pictures }) {
  if (!item) return h("li", { class: "card coming" }, h("span", { class: "picture" }));
  const scored = item.similarity !== undefined;
  const name = item.name || t("nameless");
  const extreme = item.width > 3 * item.height || item.height > 3 * item.width;
  const image = h("img", { alt: "", decoding: "async", draggable: "false", width: item.width, height: item.height });
  image.addEventListener("error", () => image.getAttribute("src") && image.parentElement.classList.add("lost"));
  image.style.maxWidth = `${2 * item.width}px`; // small pictures are not blown up
  image.style.maxHeight = `${2 * item.height}px`;
  image.dataset.src = extreme ? item.thumbnail.replace("/thumbnail?", "/view?") : item.thumbnail; // of a panorama 256 pixels are too few
  if (pictures) showPicture(image);
  const file = item.path.split("/").at(-1);
  const face = h(
    "button",
    {
      type: "button",
      class: "face",
      tabindex: "-1",
      "aria-label": scored ? null : `${name}, ${file}`,
      title: scored ? `${item.path}\n${scoreTitle(item)}` : item.path,
      onclick: (event) => act(event.shiftKey && choosable ? "range" : "open", item),
    },
    h("span", { class: extreme ? "picture extreme" : "picture" }, image, extreme && h("span", { class: "pill wide", "aria-hidden": "true", title: t("extreme", { w: item.width, h: item.height }) }, item.width > item.height ? "↔" : "↕")),
    scored && h("span", { class: "caption" }, caption(item), item.name && h("span", { class: "name" }, item.name)),
  );
  const pill = item.identical ? h("span", { class: "pill identical" }, t("identical")) : item.state && item.state !== "here" ? h("span", { class: "pill" }, t(`state_${item.state}`)) : null;
  const repeats = item.repeats ? t(item.expanded ? "repeats_hide" : "repeats", { n: item.repeats }) : "";
  const node = h(
    "li",
    { class: "card", data: { id: item.id }, draggable: "true", ondragstart: (event) => event.dataTransfer.setData("application/x-image-search", item.id) },
    face,
    pill,
    choosable && h("button", { type: "button", class: "mark", tabindex: "-1", title: t("pick"), "aria-label": t("pick"), "aria-pressed": "false", onclick: (event) => act(event.shiftKey ? "range" : "choose", item) }, icon("check")),
    repeats && h("button", { type: "button", class: "repeats", tabindex: "-1", "aria-expanded": String(item.expanded), title: repeats, onclick: () => act("unfold", item) }, item.expanded ? "−" : `+${item.repeats}`, h("span", { class: "unseen" }, ` ${repeats}`)),
  );
  if (item.member) node.classList.add("member");
  return node;
}

export function showPicture(image) {
  if (image.dataset.src && !image.hasAttribute("src")) image.src = image.dataset.src;
}

/** What stops a picture that nobody will see from being fetched. */
export function forgetPicture(node) {
  const image = node.querySelector("img");
  if (image && !image.complete) image.removeAttribute("src");
}

/** The same to look at? Then its node can stay. */
export function sameLook(a, b) {
  return a === b || (a && b && a.id === b.id && a.similarity === b.similarity && a.repeats === b.repeats && a.expanded === b.expanded && a.member === b.member && a.thumbnail === b.thumbnail && a.state === b.state && a.identical === b.identical);
}
