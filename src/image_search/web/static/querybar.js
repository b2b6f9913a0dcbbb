// What is searched with, in one line: the query small, what is combined with it, ways to add more. It opens large to draw a region.

import { EMPTY, go, place } from "./address.js";
import { button, fill, h, icon, iconButton } from "./dom.js";
import { makeRegion } from "./region.js";
import { makeSheet } from "./sheet.js";
import * as giving from "./upload.js";
import { t } from "./words.js";

export function makeQueryBar() {
  const thumb = h("button", { type: "button", class: "query-thumb", title: t("region_open"), onclick: () => panel.toggle() });
  const name = h("span", { class: "query-name" });
  const parts = h("ul", { class: "parts", "aria-label": t("combined") });
  const element = h(
    "div",
    { class: "query", role: "group", "aria-label": t("query") },
    thumb,
    name,
    parts,
    tool("plus", t("add_like"), () => giving.choose("like"), "add"),
    tool("minus", t("add_less"), () => giving.choose("less"), "add"),
    tool("close", t("clear"), () => go({ ...EMPTY }), "new"),
  );
  const panel = makeSheet({ title: t("query"), content: [], opener: thumb, kind: "region-panel" });
  let shownKey = "";
  let region = null;

  /** queries: as the server answered, in the order of place.parts. */
  function show(queries) {
    const key = JSON.stringify([queries.map((query) => [query.id, query.less]), place.parts[0]?.region ?? null]);
    if (key === shownKey || region?.busy()) return; // its own change brings the next answer
    shownKey = key;
    const [first, ...others] = queries;
    const part = place.parts[0].region;
    element.classList.remove("waiting");
    fill(thumb, crop(first, part), icon("region"));
    thumb.setAttribute("aria-label", `${part ? t("query_region") : t("query")}: ${giving.nameOf(first)}. ${t("region_open")}`);
    fill(name, h("span", { class: "name", title: giving.nameOf(first) }, giving.nameOf(first)), h("small", {}, part ? t("part_of", { w: part.w, h: part.h }) : `${first.width} × ${first.height}`));
    fill(parts, others.map((other, position) => chip(other, position + 1)));
    parts.hidden = !others.length;
    paintPanel(first, part);
  }

  /** The searched part, filling the square. */
  function crop(query, part) {
    const image = h("img", { src: query.view, alt: "", draggable: "false" });
    if (part) {
      const scale = 48 / Math.min(part.w, part.h);
      Object.assign(image.style, { width: `${query.width * scale}px`, height: `${query.height * scale}px`, left: `${24 - (part.x + part.w / 2) * scale}px`, top: `${24 - (part.y + part.h / 2) * scale}px` });
      image.className = "cropped";
    }
    return image;
  }

  function paintPanel(first, part) {
    const keepFocus = panel.isOpen && document.activeElement?.classList.contains("box");
    const image = h("img", { src: first.view, alt: t("query"), width: first.width, height: first.height, draggable: "false" });
    region = makeRegion(image, first.width, first.height, part, (box) => setRegion(box));
    region.element.style.setProperty("--ratio", String(first.width / first.height));
    panel.setContent(
      h("p", { class: "hint" }, t("region_hint")),
      region.element,
      h("div", { class: "row" }, part ? button(t("region_clear"), () => setRegion(null), {}, "close") : button(t("region"), () => region.begin(), {}, "region"), button(t("done"), () => panel.close(), { class: "button primary" })),
    );
    if (keepFocus) panel.body().querySelector(".box")?.focus();
  }

  function chip(query, position) {
    const words = query.less ? t("less_like") : t("more_like");
    return h(
      "li",
      { class: query.less ? "part less" : "part", title: `${words}: ${giving.nameOf(query)}` },
      h("img", { src: query.view, alt: giving.nameOf(query), width: 48, height: 48 }),
      h("span", { class: "sign", role: "img", "aria-label": words }, icon(query.less ? "minus" : "plus")),
      iconButton("close", `${t("remove")}: ${giving.nameOf(query)}`, () => go({ parts: place.parts.filter((_, at) => at !== position), open: null })),
    );
  }

  return {
    element,
    show,
    close: () => panel.close(),
    forget() {
      shownKey = "";
      region?.cancel();
      region = null;
      panel.close();
      element.classList.add("waiting");
      fill(thumb);
      fill(name, h("span", { class: "name" }, t("searching")));
      fill(parts);
    },
  };
}

/** Words where there is room for them. */
const tool = (picture, words, act, kind) => h("button", { type: "button", class: `button quiet ${kind}`, "aria-label": words, title: words, onclick: act }, icon(picture), h("span", { class: "words" }, words));

async function setRegion(region) {
  if (region) await giving.ensureFull?.(place.parts[0].id); // a part may need more pixels than were sent
  go({ parts: place.parts.map((part, position) => (position ? part : { ...part, region })), open: null });
}
