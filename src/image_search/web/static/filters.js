// The filters, in one panel. The cut-off works on what is loaded, at once; all others ask the server.

import * as api from "./api.js";
import { go, place } from "./address.js";
import { makeClassList } from "./classlist.js";
import { dateRange, makeDates } from "./dates.js";
import { button, fill, h, report } from "./dom.js";
import { language, t } from "./words.js";

const BINS = 50;
const SIZES = [300_000, 1_000_000, 2_000_000, 5_000_000, 12_000_000, 24_000_000]; // pixels

/** What was typed, as the whole path's pattern: plain text may stand anywhere in it. */
export const pathPattern = (text) => (!text || /[*?]/.test(text) ? text : `*${text.replaceAll("[", "[[]")}*`);

/** What was typed as not wanted: words or patterns, apart by commas. */
const notPatterns = (text) => text.split(",").map((one) => one.trim()).filter(Boolean).slice(0, 20).map(pathPattern);

export const NONE = { names: [], path: "", not: "", since: "", until: "", formats: [], pixels: null, other: false, min: null };

/** The filters of files as the server takes them; without those that are not on. */
export function askedOfFiles(at) {
  const asked = { path: pathPattern(at.path), not_path: notPatterns(at.not), since: at.since, until: at.until, formats: at.formats, min_pixels: at.pixels };
  return Object.fromEntries(Object.entries(asked).filter(([, value]) => value !== null && value.length !== 0));
}

const megapixels = (pixels) => t("megapixels", { x: new Intl.NumberFormat(language, { maximumFractionDigits: 2 }).format(pixels / 1e6) });

/** Which filters are on, as words, each with what takes it away. */
export function filtersOn() {
  const on = place.names.map((name) => [t("on_class", { x: name || t("no_class") }), { names: place.names.filter((one) => one !== name), open: null }]);
  if (place.path) on.push([t("on_path", { x: place.path }), { path: "", open: null }]);
  if (place.not) on.push([t("on_not", { x: place.not }), { not: "", open: null }]);
  if (place.since || place.until) on.push([t("on_dates", { x: dateRange(place.since, place.until) }), { since: "", until: "", open: null }]);
  for (const format of place.formats) on.push([t("on_format", { x: format }), { formats: place.formats.filter((one) => one !== format), open: null }]);
  if (place.pixels !== null) on.push([t("on_pixels", { x: megapixels(place.pixels) }), { pixels: null, open: null }]);
  if (place.other) on.push([t("other_folders"), { other: false, open: null }]);
  if (place.min !== null) on.push([t("on_min", { x: place.min.toFixed(2) }), { min: null, open: null }]);
  return on;
}

export function makeFilters() {
  const slider = h("input", { type: "range", min: "0", max: "1", step: "0.01", value: "0", id: "cut", oninput: () => cut(false), onchange: () => cut(true) });
  const value = h("output", { for: "cut" });
  const histogram = h("svg", { class: "histogram", viewBox: `0 0 ${BINS} 20`, preserveAspectRatio: "none", "aria-hidden": "true" });
  const path = h("input", { type: "search", id: "path", value: place.path, placeholder: t("path_hint"), maxlength: "500", autocomplete: "off", spellcheck: "false", oninput: later, onchange: later });
  const not = h("input", { type: "search", id: "not", value: place.not, placeholder: t("not_hint"), maxlength: "500", autocomplete: "off", spellcheck: "false", oninput: later, onchange: later });
  const pixels = h("select", { id: "pixels", onchange: () => go({ pixels: pixels.value ? Number(pixels.value) : null, open: null }) });
  const other = h("input", { type: "checkbox", id: "other", onchange: () => go({ other: other.checked, open: null }) });
  const dates = makeDates();
  const formats = makeClassList({ several: true, label: t("formats"), onChoose: (name, on) => go({ formats: on ? [...place.formats, name] : place.formats.filter((one) => one !== name), open: null }) });
  const classes = makeClassList({ several: true, onChoose: (name, on) => go({ names: on ? [...place.names, name] : place.names.filter((one) => one !== name), open: null }) });
  const cutBox = h("section", { class: "filter" }, h("label", { for: "cut" }, t("similarity"), value), histogram, slider);
  const classBox = h("section", { class: "filter" }, h("h3", {}, t("classes")), classes.element);
  const formatBox = h("section", { class: "filter" }, h("h3", {}, t("formats")), formats.element);
  const clear = button(t("filters_clear"), () => { take("", ""); go({ ...NONE, open: null }); }, { class: "button" });
  const element = h(
    "div",
    { class: "filters" },
    cutBox,
    classBox,
    h("section", { class: "filter" }, h("label", { for: "path" }, t("path")), path),
    h("section", { class: "filter" }, h("label", { for: "not" }, t("not_words")), not),
    dates.element,
    h("section", { class: "filter" }, h("label", { for: "pixels" }, t("min_size")), pixels),
    formatBox,
    h("label", { class: "check" }, other, h("span", {}, t("other_folders"))),
    clear,
  );
  let waiting = 0;
  let typed = [place.path, place.not]; // what the address has of what was written
  let kinds = []; // the formats that the other filters let through
  let all = null; // every class of the library
  let counted = ""; // for which other filters
  let running = null;
  let drawn = null;
  let counting = 0;

  function take(...texts) {
    clearTimeout(waiting);
    [path.value, not.value] = typed = texts;
  }

  function cut(final) {
    const min = Number(slider.value);
    go({ min: min > 0 ? min : null }, { replace: !final || place.min === (min || null) });
  }

  function later() {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      if (path.value === place.path && not.value === place.not) return;
      typed = [path.value, not.value];
      go({ path: typed[0], not: typed[1] });
    }, 250);
  }

  /** Each class with as many images as the other filters let through. */
  async function count() {
    const queries = place.min === null && !place.other ? [] : place.parts.map(({ id, less, region }) => (region ? { id, less, region } : { id, less }));
    const files = askedOfFiles(place);
    const request = { ...files, min_similarity: place.min, other_folders: place.other, queries };
    const key = JSON.stringify([request, place.names]);
    if (key === counted) return;
    counted = key;
    running?.abort();
    running = new AbortController();
    try {
      const [found, every, facets] = await Promise.all([api.counts(request, running.signal), all ?? api.classes(), api.facets({ ...files, names: place.names }, running.signal)]);
      if (key !== counted) return;
      kinds = facets.formats;
      dates.take(facets.dates);
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
    const chosen = place.formats.filter((name) => !kinds.some((one) => one.name === name)).map((name) => ({ name, images: 0 }));
    formats.show([...kinds, ...chosen], place.formats);
    formatBox.hidden = formats.element.hidden;
    dates.show();
    other.checked = place.other;
    const sizes = place.pixels === null || SIZES.includes(place.pixels) ? SIZES : [...SIZES, place.pixels].sort((a, b) => a - b);
    fill(pixels, h("option", { value: "" }, t("any")), sizes.map((size) => h("option", { value: String(size) }, t("at_least", { x: megapixels(size) }))));
    pixels.value = place.pixels === null ? "" : String(place.pixels);
  }

  return {
    element,
    path,
    leave() {
      clearTimeout(waiting);
      dates.leave();
    },
    /** The library has changed. */
    renew() {
      counted = "";
      all = null;
      if (place.parts.length) void count();
    },
    /** matches: all that are loaded. */
    show(matches) {
      slider.value = String(place.min ?? 0);
      const words = place.min === null ? t("any") : t("at_least", { x: place.min.toFixed(2) });
      slider.setAttribute("aria-valuetext", words);
      value.value = words;
      if (place.path !== typed[0] || place.not !== typed[1]) take(place.path, place.not); // by Back, or cleared: what is being written goes
      clear.hidden = !filtersOn().length;
      cutBox.hidden = !matches.length; // it can do nothing
      if (drawn?.matches !== matches || drawn.min !== place.min) draw(matches);
      drawn = { matches, min: place.min };
      clearTimeout(counting);
      counting = setTimeout(() => void count(), place.min === null ? 0 : 200); // not for each step of the slider
      show();
    },
  };

  function draw(matches) {
    const bins = new Array(BINS).fill(0);
    for (const match of matches) bins[Math.max(0, Math.min(BINS - 1, Math.floor(match.similarity * BINS)))] += 1;
    const top = Math.max(1, ...bins);
    fill(
      histogram,
      bins.map((n, at) => n > 0 && h("rect", { x: at + 0.1, width: 0.8, y: 20 - Math.max(1.5, 20 * Math.sqrt(n / top)), height: 20, class: place.min !== null && (at + 1) / BINS <= place.min ? "out" : "in" })),
    );
  }
}
