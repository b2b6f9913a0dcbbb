// The filters, in one panel. The cut-off works on what is loaded, at once; all others ask the server.

import * as api from "./api.js";
import { asked, go, place } from "./address.js";
import { makeClassList } from "./classlist.js";
import { dateRange, makeDates } from "./dates.js";
import { button, fill, h, report } from "./dom.js";
import { hasProbability } from "./scale.js";
import { language, percent, t } from "./words.js";

const BINS = 50;
const SIZES = [300_000, 1_000_000, 2_000_000, 5_000_000, 12_000_000, 24_000_000]; // pixels

/** What was typed, as the whole path's pattern: plain text may stand anywhere in it. */
export const pathPattern = (text) => (!text || /[*?]/.test(text) ? text : `*${text.replaceAll("[", "[[]")}*`);

/** What was typed as not wanted: words or patterns, apart by commas. */
const notPatterns = (text) => text.split(",").map((one) => one.trim()).filter(Boolean).slice(0, 20).map(pathPattern);

export const NONE = { names: [], path: "", not: "", where: "", since: "", until: "", formats: [], pixels: null, other: false, min: null, fits: null };

/** The filters of files as the server takes them; without those that are not on. */
export function askedOfFiles(at) {
  const files = { path: pathPattern(at.path), not_path: notPatterns(at.not), since: at.since, until: at.until, formats: at.formats, min_pixels: at.pixels, where: at.where };
  return Object.fromEntries(Object.entries(files).filter(([, value]) => value !== null && value.length !== 0));
}

const megapixels = (pixels) => t("megapixels", { x: new Intl.NumberFormat(language, { maximumSignificantDigits: 3 }).format(pixels / 1e6) });

/** Which filters are on, as words, each with what takes it away. */
export function filtersOn() {
  const on = place.names.map((name) => [t("on_class", { x: name || t("no_class") }), { names: place.names.filter((one) => one !== name), open: null }]);
  if (place.path) on.push([t("on_path", { x: place.path }), { path: "", open: null }]);
  if (place.not) on.push([t("on_not", { x: place.not }), { not: "", open: null }]);
  if (place.where) on.push([t("on_where", { x: place.where }), { where: "", open: null }]);
  if (place.since || place.until) on.push([t("on_dates", { x: dateRange(place.since, place.until) }), { since: "", until: "", open: null }]);
  for (const format of place.formats) on.push([t("on_format", { x: format }), { formats: place.formats.filter((one) => one !== format), open: null }]);
  if (place.pixels !== null) on.push([t("on_pixels", { x: megapixels(place.pixels) }), { pixels: null, open: null }]);
  if (place.other) on.push([t("other_folders"), { other: false, open: null }]);
  if (place.min !== null) on.push([t("on_min", { x: place.min.toFixed(2) }), { min: null, open: null }]);
  if (place.fits !== null) on.push([t("on_fits", { x: percent(place.fits) }), { fits: null, open: null }]);
  return on;
}

export function makeFilters() {
  const slider = h("input", { type: "range", min: "0", max: "1", step: "0.01", value: "0", id: "cut", oninput: () => cut(false), onchange: () => cut(true) });
  const value = h("output", { for: "cut" });
  const histogram = h("svg", { class: "histogram", viewBox: `0 0 ${BINS} 20`, preserveAspectRatio: "none", "aria-hidden": "true" });
  const path = h("input", { type: "search", id: "path", value: place.path, placeholder: t("path_hint"), maxlength: "500", autocomplete: "off", spellcheck: "false", oninput: later, onchange: later });
  const not = h("input", { type: "search", id: "not", value: place.not, placeholder: t("not_hint"), maxlength: "500", autocomplete: "off", spellcheck: "false", oninput: later, onchange: later });
  const where = h("input", { type: "search", id: "where", placeholder: t("where_hint"), maxlength: "2000", autocomplete: "off", spellcheck: "false", "aria-describedby": "where-columns", onchange: () => void conditioned() });
  const columns = h("small", { id: "where-columns" });
  const whereBox = h("section", { class: "filter" }, h("label", { for: "where" }, t("where")), where, columns);
  const pixels = h("select", { id: "pixels", onchange: () => go({ pixels: pixels.value ? Number(pixels.value) : null, open: null }) });
  const other = h("input", { type: "checkbox", id: "other", onchange: () => go({ other: other.checked, open: null }) });
  const dates = makeDates();
  const formats = makeClassList({ several: true, label: t("formats"), onChoose: (name, on) => go({ formats: on ? [...place.formats, name] : place.formats.filter((one) => one !== name), open: null }) });
  const classes = makeClassList({ several: true, onChoose: (name, on) => go({ names: on ? [...place.names, name] : place.names.filter((one) => one !== name), open: null }) });
  const measured = h("span", {}, t("similarity"));
  const cutBox = h("section", { class: "filter" }, h("label", { for: "cut" }, measured, value), histogram, slider);
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
    whereBox,
    dates.element,
    h("section", { class: "filter" }, h("label", { for: "pixels" }, t("min_size")), pixels),
    formatBox,
    h("label", { class: "check" }, other, h("span", {}, t("other_folders"))),
    clear,
  );
  let waiting = 0;
  let typed = [place.path, place.not]; // what the address has of what was written
  let table = []; // columns of the user's own tables
  let kinds = []; // the formats that the other filters let through
  let all = null; // every class of the library
  let counted = ""; // for which other filters
  let running = null;
  let drawn = null;
  let counting = 0;
  let cutsBy = "min"; // what the slider sets: the least similarity, or of words the least probability ("fits")

  function take(...texts) {
    clearTimeout(waiting);
    [path.value, not.value] = typed = texts;
  }

  function cut(final) {
    const least = Number(slider.value) || null;
    go({ [cutsBy]: least }, { replace: !final || place[cutsBy] === least });
  }

  function later() {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      if (path.value === place.path && not.value === place.not) return;
      typed = [path.value, not.value];
      go({ path: typed[0], not: typed[1] });
    }, 250);
  }

  /** A condition that cannot be read is said under its field, and what is shown stays. */
  async function conditioned() {
    const text = where.value.trim();
    try {
      if (text) await api.facets({ where: text });
      where.removeAttribute("aria-invalid");
      if (where.value.trim() === text) go({ where: text, open: null });
    } catch (error) {
      where.setAttribute("aria-invalid", "true");
      columns.textContent = error.text ?? error.message;
    }
  }

  /** Each class with as many images as the other filters let through. */
  async function count() {
    const cut = place.min !== null || place.fits !== null;
    const files = askedOfFiles(place);
    const request = { ...files, min_similarity: place.min, min_probability: place.fits, other_folders: place.other, queries: cut || place.other ? place.parts.map(asked) : [] };
    const key = JSON.stringify([request, place.names]);
    if (key === counted) return;
    counted = key;
    running?.abort();
    running = new AbortController();
    try {
      const [found, every, facets] = await Promise.all([api.counts(request, running.signal), all ?? api.classes(), api.facets({ ...files, names: place.names }, running.signal)]);
      if (key !== counted) return;
      kinds = facets.formats;
      table = facets.columns;
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
    whereBox.hidden = !table.length && !place.where;
    if (document.activeElement !== where) where.value = place.where;
    if (!where.hasAttribute("aria-invalid")) columns.textContent = table.map((one) => one.name).join(", ");
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
      cutsBy = matches.some(hasProbability) ? "fits" : "min";
      const least = place[cutsBy];
      measured.textContent = t(cutsBy === "fits" ? "probability" : "similarity");
      slider.value = String(least ?? 0);
      const words = least === null ? t("any") : t("at_least", { x: cutsBy === "fits" ? percent(least) : least.toFixed(2) });
      slider.setAttribute("aria-valuetext", words);
      value.value = words;
      if (place.path !== typed[0] || place.not !== typed[1]) take(place.path, place.not); // by Back, or cleared: what is being written goes
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
