// What is searched with, in one line: the query small, what is combined with it, ways to add more. It opens large to draw a region.

import { EMPTY, go, place } from "./address.js";
import { button, fill, h, icon, iconButton } from "./dom.js";
import { makePhrase, noWords } from "./phrase.js";
import { makeRegion } from "./region.js";
import { makeSheet, narrow } from "./sheet.js";
import * as giving from "./upload.js";
import { t } from "./words.js";

/** server(): the state. */
export function makeQueryBar(server) {
  const thumb = h("button", { type: "button", class: "query-thumb", title: t("region_open"), onclick: () => panel.toggle() });
  const name = h("span", { class: "query-name" });
  const out = h("span", { class: "query-out" });
  const parts = h("ul", { class: "parts", "aria-label": t("combined") });
  const speak = h("button", { type: "button", class: "button quiet speak", "aria-label": t("words_label"), title: t("words_label"), onclick: () => sheet.toggle() }, icon("words"));
  const phrase = makePhrase({ hint: t("words_more"), less: true, act: said, id: "words" });
  const slot = h("div", { class: "phrase-slot" });
  const element = h(
    "div",
    { class: "query", role: "group", "aria-label": t("query") },
    thumb,
    name,
    out,
    parts,
    slot,
    speak,
    tool("plus", t("add_like"), () => giving.choose("like"), "add"),
    tool("minus", t("add_less"), () => giving.choose("less"), "add"),
    tool("close", t("clear"), () => go({ ...EMPTY }), "new"),
  );
  const panel = makeSheet({ title: t("query"), content: [], opener: thumb, kind: "region-panel" });
  const sheet = makeSheet({ title: t("words_label"), content: [], opener: speak, kind: "words-panel" });
  let shownKey = "";
  let region = null;
  let changing = null; // the part whose words are in the field

  /** In the bar where there is room for it, else in a sheet; of a model without words the sheet says so. */
  function settle() {
    const known = server().library?.words ?? false;
    if (!known) sheet.setContent(noWords(server()));
    else if (narrow.matches && !sheet.body().contains(phrase.element)) sheet.setContent(phrase.element);
    else if (!narrow.matches && !slot.contains(phrase.element)) {
      sheet.close();
      slot.replaceChildren(phrase.element);
    }
    speak.hidden = known && !narrow.matches;
    slot.hidden = !speak.hidden;
    element.classList.toggle("speaks", !slot.hidden);
  }
  narrow.addEventListener("change", settle);
  settle();

  function said(text, less) {
    sheet.close();
    const old = changing;
    changing = null;
    if (!old || !place.parts.includes(old)) giving.say(text, less);
    else {
      const against = (less || old.less) && place.parts.some((part) => part !== old && !part.less); // one has to count for
      go({ parts: place.parts.map((part) => (part === old ? { text, less: against } : part)), open: null });
    }
  }

  function change(position) {
    changing = place.parts[position];
    open();
    phrase.put(changing.text);
  }

  function open() {
    if (slot.hidden) sheet.open();
    phrase.input.focus();
  }

  /** queries: as the server answered, in the order of place.parts. */
  function show(queries) {
    settle();
    const key = JSON.stringify([queries.map((query) => [query.id, query.text, query.less]), place.parts[0]?.region ?? null]);
    if (key === shownKey || region?.busy()) return; // its own change brings the next answer
    shownKey = key;
    changing = null;
    const [first, ...others] = queries;
    element.classList.remove("waiting");
    element.classList.toggle("of-words", Boolean(first.text));
    thumb.hidden = Boolean(first.text);
    if (first.text) showWords(first);
    else showPicture(first);
    fill(out, others.some((other) => !other.less) && iconButton("close", `${t("remove")}: ${giving.nameOf(first)}`, () => leaveOut(0)));
    fill(parts, others.map((other, position) => chip(other, position + 1)));
    parts.hidden = !others.length;
  }

  /** Where the picture stands: the words. */
  function showWords(first) {
    panel.close();
    region = null;
    fill(name, spoken(first, 0), h("small", {}, first.read === null ? t("your_words") : t("words_cut", { n: first.read })));
  }

  const spoken = (query, position) => h("button", { type: "button", class: "spoken", dir: "auto", title: query.read === null ? t("words_change") : t("words_cut", { n: query.read }), "aria-label": `${t("words_change")}: ${query.text}`, onclick: () => change(position) }, t("quoted", { x: query.text }));

  function showPicture(first) {
    const part = place.parts[0].region;
    fill(thumb, crop(first, part), icon("region"));
    thumb.setAttribute("aria-label", `${part ? t("query_region") : t("query")}: ${giving.nameOf(first)}. ${t("region_open")}`);
    fill(name, h("span", { class: "name", title: giving.nameOf(first) }, giving.nameOf(first)), h("small", {}, part ? t("part_of", { w: part.w, h: part.h }) : `${first.width} × ${first.height}`));
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
    const shown = query.text ? spoken(query, position) : h("img", { src: query.view, alt: giving.nameOf(query), width: 48, height: 48 });
    return h(
      "li",
      { class: `part${query.less ? " less" : ""}${query.text ? " words" : ""}`, title: query.text ? null : `${words}: ${giving.nameOf(query)}` },
      shown,
      h("span", { class: "sign", role: "img", "aria-label": words }, icon(query.less ? "minus" : "plus")),
      iconButton("close", `${t("remove")}: ${giving.nameOf(query)}`, () => leaveOut(position)),
    );
  }

  const leaveOut = (position) => go({ parts: place.parts.filter((_, at) => at !== position), open: null });

  return {
    element,
    show,
    /** The field for words, to write in; where the model knows none, why. */
    write: open,
    close() {
      panel.close();
      sheet.close();
    },
    forget() {
      shownKey = "";
      region?.cancel();
      region = null;
      panel.close();
      element.classList.add("waiting");
      fill(thumb);
      fill(name, h("span", { class: "name" }, t("searching")));
      fill(out);
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
