// Similarity, class and path, in one panel. The cut-off works on what is loaded, at once; class and path ask the server.

import * as api from "./api.js";
import { asked, go, place } from "./address.js";
import { makeClassList } from "./classlist.js";
import { button, fill, h, report } from "./dom.js";
import { hasProbability } from "./scale.js";
import { percent, t } from "./words.js";

const BINS = 50;

/** What was typed, as the whole path's pattern: plain text may stand anywhere in it. */
export const pathPattern = (text) => (!text || /[*?]/.test(text) ? text : `*${text.replaceAll("[", "[[]")}*`);

export const NONE = { names: [], path: "", min: null, fits: null };

/** Which filters are on, as words, each with what takes it away. */
export function filtersOn() {
  const on = place.names.map((name) => [t("on_class", { x: name || t("no_class") }), { names: place.names.filter((one) => one !== name), open: null }]);
  if (place.path) on.push([t("on_path", { x: place.path }), { path: "", open: null }]);
  if (place.min !== null) on.push([t("on_min", { x: place.min.toFixed(2) }), { min: null, open: null }]);
  if (place.fits !== null) on.push([t("on_fits", { x: percent(place.fits) }), { fits: null, open: null }]);
  return on;
}

export function makeFilters() {
  const slider = h("input", { type: "range", min: "0", max: "1", step: "0.01", value: "0", id: "cut", oninput: () => cut(false), onchange: () => cut(true) });
  const value = h("output", { for: "cut" });
  const histogram = h("svg", { class: "histogram", viewBox: `0 0 ${BINS} 20`, preserveAspectRatio: "none", "aria-hidden": "true" });
  const path = h("input", { type: "search", id: "path", value: place.path, placeholder: t("path_hint"), maxlength: "500", autocomplete: "off", spellcheck: "false", oninput: later, onchange: later });
  const classes = makeClassList({ several: true, onChoose: (name, on) => go({ names: on ? [...place.names, name] : place.names.filter((one) => one !== name), open: null }) });
  const measured = h("span", {}, t("similarity"));
  const cutBox = h("section", { class: "filter" }, h("label", { for: "cut" }, measured, value), histogram, slider);
  const classBox = h("section", { class: "filter" }, h("h3", {}, t("classes")), classes.element);
  const clear = button(t("filters_clear"), () => { takePath(""); go({ ...NONE, open: null }); }, { class: "button" });
  const element = h(
    "div",
    { class: "filters" },
    cutBox,
    classBox,
    h("section", { class: "filter" }, h("label", { for: "path" }, t("path")), path),
    clear,
  );
  let waiting = 0;
  let typed = place.path; // what the address has of what was written
  let all = null; // every class of the library
  let counted = ""; // for which other filters
  let running = null;
  let drawn = null;
  let counting = 0;
  let cutsBy = "min"; // what the slider sets: the least similarity, or of words the least probability ("fits")

  function takePath(text) {
    clearTimeout(waiting);
    path.value = typed = text;
  }

  function cut(final) {
    const least = Number(slider.value) || null;
    go({ [cutsBy]: least }, { replace: !final || place[cutsBy] === least });
  }

  function later() {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      if (path.value === place.path) return;
      typed = path.value;
      go({ path: typed });
    }, 250);
  }

  /** Each class with as many images as the other filters let through. */
  async function count() {
    const cut = place.min !== null || place.fits !== null;
    const request = { path: pathPattern(place.path), min_similarity: place.min, min_probability: place.fits, queries: cut ? place.parts.map(asked) : [] };
    const key = JSON.stringify(request);
    if (key === counted) return;
    counted = key;
    running?.abort();
    running = new AbortController();
    try {
      const [found, every] = await Promise.all([api.counts(request, running.signal), all ?? api.classes()]);
      if (key !== counted) return;
      const images = new Map(found.map((one) => [one.name, one.images]));
      all = every.map((one) => ({ name: one.name, images: images.get(one.name) ?? 0 }));
      show();
    } catch (error) {
      counted = "";
      report(error);
    }
  }

  function show() {
    classes.show(all ?? [], place.names);
    classBox.hidden = classes.element.hidden;
  }

  return {
    element,
    path,
    leave: () => clearTimeout(waiting),
    /** The library has changed. */
    renew() {
      counted = "";
      all = null;
      if (place.parts.length) void count();
    },
    /** matches: all that are loaded. */
    show(matches) {
      cutsBy = matches.some(hasProbability) ? "fits" : "min";
      const least = place[cutsBy];
      measured.textContent = t(cutsBy === "fits" ? "probability" : "similarity");
      slider.value = String(least ?? 0);
      const words = least === null ? t("any") : t("at_least", { x: cutsBy === "fits" ? percent(least) : least.toFixed(2) });
      slider.setAttribute("aria-valuetext", words);
      value.value = words;
      if (place.path !== typed) takePath(place.path); // by Back, or cleared: what is being written goes
      clear.hidden = !filtersOn().length;
      cutBox.hidden = !matches.length; // it can do nothing
      if (drawn?.matches !== matches || drawn.least !== least) draw(matches, least);
      drawn = { matches, least };
      clearTimeout(counting);
      counting = setTimeout(() => void count(), least === null ? 0 : 200); // not for each step of the slider
      show();
    },
  };

  function draw(matches, least) {
    const bins = new Array(BINS).fill(0);
    const measure = cutsBy === "fits" ? "probability" : "similarity";
    for (const match of matches) bins[Math.max(0, Math.min(BINS - 1, Math.floor(match[measure] * BINS)))] += 1;
    const top = Math.max(1, ...bins);
    fill(
      histogram,
      bins.map((n, at) => n > 0 && h("rect", { x: at + 0.1, width: 0.8, y: 20 - Math.max(1.5, 20 * Math.sqrt(n / top)), height: 20, class: least !== null && (at + 1) / BINS <= least ? "out" : "in" })),
    );
  }
}
