// Elements by hand. Text becomes text nodes, never markup, so a file's name can do nothing.

/** h("button", { class: "x", onclick: f, "aria-label": "…" }, "text", child, …) */
export function h(tag, props = {}, ...children) {
  const svg = SVG.has(tag);
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "data") Object.assign(node.dataset, value);
    else if (name === "value" || name === "checked") node[name] = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  add(node, children);
  return node;
}

const SVG = new Set(["svg", "path", "rect", "circle", "line"]);

function add(node, children) {
  for (const child of children.flat(3)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child);
  }
}

export function fill(node, ...children) {
  node.replaceChildren();
  add(node, children);
  return node;
}

const PATHS = {
  close: "M6 6l12 12M18 6L6 18",
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  check: "M5 12.5l4.5 4.5L19 7.5",
  left: "M14.5 5.5L8 12l6.5 6.5",
  right: "M9.5 5.5L16 12l-6.5 6.5",
  drop: "M12 4v11M7 10.5l5 5 5-5M4 19.5h16",
  similar: "M10.5 4.5a6 6 0 100 12 6 6 0 000-12zM15 15l5 5M8 12l2-2.5 2.5 3M8.5 8h.1",
  region: "M4 9V6a2 2 0 012-2h3M15 4h3a2 2 0 012 2v3M20 15v3a2 2 0 01-2 2h-3M9 20H6a2 2 0 01-2-2v-3",
  copy: "M9 9h9.5v11H9zM6 15H5V4h9.5v2",
  sun: "M12 8a4 4 0 100 8 4 4 0 000-8zM12 3v1.5M12 19.5V21M3 12h1.5M19.5 12H21M5.6 5.6l1.1 1.1M17.3 17.3l1.1 1.1M18.4 5.6l-1.1 1.1M6.7 17.3l-1.1 1.1",
  moon: "M20 14.5A8.2 8.2 0 019.5 4 8.2 8.2 0 1020 14.5z",
  half: "M12 4a8 8 0 100 16 8 8 0 000-16zM12 4v16M12 8h5M12 12h8M12 16h5",
  stop: "M7 7h10v10H7z",
  refresh: "M19 12a7 7 0 11-2.1-5M17.5 3.5V7.5H13.5",
  swap: "M7 8h12l-3.5-3.5M17 16H5l3.5 3.5",
  down: "M12 4.5v10M7.5 10.5L12 15l4.5-4.5M5 19.5h14",
  words: "M5 7.5V5h14v2.5M12 5v14M9 19h6",
  open: "M13 5h6v6M19 5l-8 8M10 5H5.5v13.5H19V14",
  picture: "M4 5.5h16v13H4zM4 16l5-5 4 4 2.5-2.5L20 17M15.5 9h.1",
  folder: "M3.5 7.5a2 2 0 012-2h4l2 2.5h7a2 2 0 012 2v7.5a2 2 0 01-2 2h-13a2 2 0 01-2-2z",
  filter: "M4 6.5h16M7 12h10M10 17.5h4",
  search: "M10.5 4.5a6 6 0 100 12 6 6 0 000-12zM15 15l5 5",
  camera: "M4 8.5a1.5 1.5 0 011.5-1.5H8l1.5-2.5h5L16 7h2.5A1.5 1.5 0 0120 8.5v9a1.5 1.5 0 01-1.5 1.5h-13A1.5 1.5 0 014 17.5zM12 10a3 3 0 100 6 3 3 0 000-6z",
  view: "M4 7h9M17 7h3M15 5v4M4 17h3M11 17h9M9 15v4",
  warning: "M12 4.5l8.5 15h-17zM12 10v4.5M12 17v.1",
  keys: "M3.5 7h17v10h-17zM7 10.5h.1M10.3 10.5h.1M13.6 10.5h.1M17 10.5h.1M8 14h8",
  picture: "M4 5.5h16v13H4zM4 16l5-5 4 4 2.5-2.5L20 17M15.5 9h.1",
  unplugged: "M8 4v4M16 4v4M6 8h12v3a6 6 0 01-12 0zM12 17v3.5",
};

export function icon(name) {
  return h("svg", { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true" }, h("path", { d: PATHS[name] }));
}

export function iconButton(name, label, onclick, more = {}) {
  return h("button", { type: "button", class: "icon-button", "aria-label": label, title: label, onclick, ...more }, icon(name));
}

export function button(text, onclick, more = {}, iconName = null) {
  return h("button", { type: "button", class: "button", onclick, ...more }, iconName && icon(iconName), h("span", {}, text));
}

/** A line that goes away by itself; what is wrong stays longer. */
export function toast(text, wrong = false) {
  const node = h("p", { class: wrong ? "toast wrong" : "toast" }, icon(wrong ? "warning" : "check"), h("span", {}, text));
  toasts().append(node);
  setTimeout(() => node.remove(), wrong ? 9000 : 3500);
}

let gone = () => {};
/** Who says that the server is gone, once for the whole page. */
export const onGone = (tell) => (gone = tell);

/** What went wrong, in one place: a server that does not answer is said once, by the page; anything else by a line. */
export function report(error) {
  if (error.name === "AbortError") return;
  if (error.code === "Gone") gone();
  else toast(error.text ?? error.message, true);
}

/** Where lines are shown: an open dialog covers everything else and is the only thing that is read aloud, so they move into it. */
export function toasts() {
  const box = document.getElementById("toasts");
  const place = document.querySelector("dialog[open]") ?? document.body;
  if (box.parentElement !== place) place.append(box);
  return box;
}

document.addEventListener("close", (event) => event.target.contains(document.getElementById("toasts")) && document.body.append(document.getElementById("toasts")), true);

/** The letter on the key, also while Korean is being written: "ㅡ" on the key M is m. */
export const letter = (event) => (/^Key[A-Z]$/.test(event.code) && (event.key > "\x7f" || event.key === "Process") ? event.code[3].toLowerCase() : event.key);

/** Is somebody writing? Then keys are letters, not commands. */
export function isWriting(target) {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName)) && target.type !== "range" && target.type !== "checkbox";
}

export const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");
