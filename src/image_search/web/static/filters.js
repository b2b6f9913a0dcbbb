// Similarity, class and path. The cut-off works on what is loaded, at once; class and path ask the server.

import { go, place } from "./address.js";
import { button, fill, h } from "./dom.js";
import { t } from "./words.js";

const BINS = 50;
const CLASSES_SHOWN = 40;

export function makeFilters() {
  const slider = h("input", { type: "range", min: "0", max: "1", step: "0.01", value: "0", id: "cut", oninput: () => cut(false), onchange: () => cut(true) });
  const value = h("output", { for: "cut" });
  const count = h("p", { class: "hint", "aria-live": "polite" });
  const histogram = h("svg", { class: "histogram", viewBox: `0 0 ${BINS} 20`, preserveAspectRatio: "none", "aria-hidden": "true" });
  const path = h("input", { type: "search", id: "path", value: place.path, placeholder: t("path_hint"), maxlength: "500", autocomplete: "off", spellcheck: "false", oninput: later, onchange: later });
  const find = h("input", { type: "search", class: "find", placeholder: t("find_class"), "aria-label": t("find_class"), oninput: () => list() });
  const names = h("ul", { class: "names" });
  const clear = button(t("filters_clear"), () => { takePath(""); go({ names: [], path: "", min: null }); }, { class: "button quiet" });
  const classBox = h("fieldset", {}, h("legend", {}, t("classes")), find, names);
  const element = h(
    "details",
    { class: "filters", open: matchMedia("(min-width: 900px)").matches },
    h("summary", {}, t("filters")),
    h("div", { class: "filter" }, h("label", { for: "cut" }, t("similarity"), value), histogram, slider, count),
    classBox,
    h("div", { class: "filter" }, h("label", { for: "path" }, t("path")), path),
    clear,
  );
  let classes = [];
  let waiting = 0;
  let typed = place.path; // what the address has of what was written

  function takePath(text) {
    clearTimeout(waiting);
    path.value = typed = text;
  }

  function cut(final) {
    const min = Number(slider.value);
    go({ min: min > 0 ? min : null }, { replace: !final || place.min === (min || null) });
  }

  function later() {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      if (path.value === place.path) return;
      typed = path.value;
      go({ path: typed });
    }, 250);
  }

  function list() {
    const wanted = find.value.trim().toLowerCase();
    const chosen = new Set(place.names);
    const fitting = classes.filter((one) => chosen.has(one.name) || one.name.toLowerCase().includes(wanted));
    fitting.sort((a, b) => chosen.has(b.name) - chosen.has(a.name));
    const focused = names.contains(document.activeElement) ? document.activeElement.value : null;
    fill(
      names,
      fitting.slice(0, CLASSES_SHOWN).map((one) =>
        h(
          "li",
          {},
          h(
            "label",
            {},
            h("input", { type: "checkbox", value: one.name, checked: chosen.has(one.name), onchange: (event) => toggle(one.name, event.target.checked) }),
            h("span", { class: "name" }, one.name || t("no_class")),
            h("small", {}, one.images.toLocaleString()),
          ),
        ),
      ),
      fitting.length > CLASSES_SHOWN ? h("li", { class: "hint" }, t("more_classes", { n: fitting.length - CLASSES_SHOWN })) : null,
    );
    if (focused !== null) [...names.querySelectorAll("input")].find((input) => input.value === focused)?.focus();
  }

  const toggle = (name, on) => go({ names: on ? [...place.names, name] : place.names.filter((one) => one !== name), open: null });

  return {
    element,
    path,
    leave: () => clearTimeout(waiting),
    setClasses(found) {
      classes = found;
      classBox.hidden = found.length < 2;
      find.hidden = found.length < 16;
      list();
    },
    /** matches: all that are loaded; shown: how many of them pass; complete: there are no others. */
    show(matches, shown, complete) {
      slider.value = String(place.min ?? 0);
      slider.setAttribute("aria-valuetext", place.min === null ? t("any") : t("at_least", { x: place.min.toFixed(2) }));
      value.value = place.min === null ? t("any") : t("at_least", { x: place.min.toFixed(2) });
      count.textContent = t("cut_count", { n: shown, all: complete ? matches.length : `${matches.length}+` });
      if (place.path !== typed) takePath(place.path); // by Back, or cleared: what is being written goes
      clear.hidden = !(place.names.length || place.path || place.min !== null);
      draw(matches);
      list();
    },
  };

  function draw(matches) {
    const bins = new Array(BINS).fill(0);
    for (const match of matches) bins[Math.max(0, Math.min(BINS - 1, Math.floor(match.similarity * BINS)))] += 1;
    const top = Math.max(1, ...bins);
    fill(
      histogram,
      bins.map((n, at) => n > 0 && h("rect", { x: at + 0.1, width: 0.8, y: 20 - Math.max(1.5, (20 * n) / top), height: 20, class: place.min !== null && (at + 1) / BINS <= place.min ? "out" : "in" })),
    );
  }
}

