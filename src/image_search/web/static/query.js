// The panel beside the results: the query large, its region, what it is combined with.

import { EMPTY, go, place } from "./address.js";
import { button, fill, h, icon, iconButton } from "./dom.js";
import { choose, ensureFull, nameOf } from "./upload.js";
import { makeRegion } from "./region.js";
import { t } from "./words.js";

export function makeQueryPanel() {
  const element = h("section", { class: "query", "aria-label": t("query") });
  let shownKey = "";
  let region = null;

  /** queries: as the server answered, in the order of place.parts. */
  function show(queries) {
    const key = JSON.stringify([queries.map((query) => [query.id, query.less]), place.parts[0]?.region ?? null]);
    if (key === shownKey || region?.busy()) return; // its own change brings the next answer
    const keepFocus = element.contains(document.activeElement) && document.activeElement.classList.contains("box");
    shownKey = key;
    const [first, ...others] = queries;
    const image = h("img", { src: first.view, alt: t("query"), width: first.width, height: first.height, draggable: "false" });
    const part = place.parts[0].region;
    region = makeRegion(image, first.width, first.height, part, (box) => setRegion(box));
    fill(
      element,
      h("h2", {}, part ? t("query_region") : t("query"), h("small", { title: nameOf(first) }, nameOf(first))),
      region.element,
      h("p", { class: "hint" }, t("region_hint")),
      h(
        "div",
        { class: "row" },
        part ? button(t("region_clear"), () => setRegion(null), {}, "close") : button(t("region"), () => region.begin(), {}, "region"),
        button(t("clear"), () => go({ ...EMPTY }), { class: "button quiet" }),
      ),
      others.length ? h("h3", {}, t("combined")) : null,
      others.length ? h("ul", { class: "parts" }, others.map((other, position) => chip(other, position + 1))) : null,
      h("div", { class: "row" }, button(t("add_like"), () => choose("like"), {}, "plus"), button(t("add_less"), () => choose("less"), {}, "minus")),
    );
    if (keepFocus) element.querySelector(".box")?.focus();
  }

  function chip(query, position) {
    return h(
      "li",
      { class: query.less ? "part less" : "part" },
      h("img", { src: query.view, alt: nameOf(query), width: 56, height: 56 }),
      h("span", { class: "sign", role: "img", "aria-label": query.less ? t("less") : t("like") }, icon(query.less ? "minus" : "plus")),
      iconButton("close", t("remove"), () => go({ parts: place.parts.filter((_, at) => at !== position) })),
    );
  }

  return {
    element,
    show,
    forget() {
      shownKey = "";
      region?.cancel();
      region = null;
      fill(element, h("h2", {}, t("query")), h("div", { class: "region waiting" }));
    },
  };
}

async function setRegion(region) {
  if (region) await ensureFull(place.parts[0].id); // a part needs more pixels than the whole
  go({ parts: place.parts.map((part, position) => (position ? part : { ...part, region })), open: null });
}
