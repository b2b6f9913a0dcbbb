// A list of classes: one tab stop, arrows inside, several or one chosen. Shows the first of them, and the others when asked to.

import { fill, h } from "./dom.js";
import { t } from "./words.js";

const FEW = 14; // fit beside the pictures without a scroll bar
const MOST = 500;

/** several: of them may be chosen. onChoose(name, on). all: words for "no class in particular", or null. */
export function makeClassList({ several, onChoose, all = null, label = t("classes") }) {
  const find = h("input", { type: "search", placeholder: t("find_class"), "aria-label": t("find_class"), oninput: () => paint(), onkeydown: (event) => event.key === "ArrowDown" && (event.preventDefault(), options()[0]?.focus()) });
  const list = h("ul", { class: "names", role: "listbox", "aria-label": label, "aria-multiselectable": several ? "true" : null, onkeydown: keys, onclick: (event) => choose(event.target.closest("[role=option]")) });
  const more = h("button", { type: "button", class: "link", onclick: () => { open = !open; paint(); } });
  const element = h("div", { class: "class-list" }, find, list, more);
  let classes = [];
  let chosen = [];
  let total = 0;
  let open = false;
  let at = null; // the name that has the tab stop

  const options = () => [...list.querySelectorAll("[role=option]")];

  function paint() {
    const wanted = find.value.trim().toLowerCase();
    const fitting = classes.filter((one) => one.name.toLowerCase().includes(wanted));
    if (several) fitting.sort((a, b) => chosen.includes(b.name) - chosen.includes(a.name) || (b.images > 0) - (a.images > 0));
    const most = open || wanted ? MOST : FEW;
    const rows = fitting.slice(0, most);
    const focused = list.contains(document.activeElement);
    const nodes = rows.map((one) => option(one.name, one.name || t("no_class"), one.images, chosen.includes(one.name)));
    if (all && !wanted) nodes.unshift(option(null, all, total, chosen.length === 0));
    fill(list, nodes);
    find.hidden = classes.length <= FEW;
    more.hidden = Boolean(wanted) || classes.length <= FEW;
    more.textContent = open ? t("classes_fewer") : t("classes_all", { n: classes.length });
    const here = nodes.find((node) => node.dataset.name === at) ?? nodes.find((node) => node.getAttribute("aria-selected") === "true") ?? nodes[0];
    for (const node of nodes) node.tabIndex = node === here ? 0 : -1;
    if (focused) here?.focus({ preventScroll: true });
  }

  function option(name, words, images, on) {
    return h("li", { role: "option", class: images === 0 ? "none" : "", "aria-selected": String(on), data: { name: name === null ? "\n" : name }, title: words }, several && h("span", { class: "tick" }), h("span", { class: "name" }, words), h("small", {}, images.toLocaleString()));
  }

  function choose(node) {
    if (!node) return;
    at = node.dataset.name;
    onChoose(at === "\n" ? null : at, node.getAttribute("aria-selected") !== "true");
  }

  function keys(event) {
    const all = options();
    const here = all.indexOf(document.activeElement);
    const to = { ArrowDown: here + 1, ArrowUp: here - 1, Home: 0, End: all.length - 1 }[event.key];
    if (to !== undefined) {
      const target = all[Math.max(0, Math.min(all.length - 1, to))];
      if (here === 0 && event.key === "ArrowUp" && !find.hidden) find.focus();
      else if (target) {
        for (const node of all) node.tabIndex = node === target ? 0 : -1;
        at = target.dataset.name;
        target.focus();
      }
    } else if (event.key === "Enter" || event.key === " ") choose(document.activeElement.closest("[role=option]"));
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  return {
    element,
    find,
    /** names: the chosen ones. count: of all images together. */
    show(found, names, count = 0) {
      [classes, chosen, total] = [found, names, count];
      element.hidden = found.length < 2 && !names.length;
      paint();
    },
    focus() {
      if (find.hidden) (options().find((node) => node.tabIndex === 0) ?? options()[0])?.focus();
      else find.focus();
    },
  };
}
