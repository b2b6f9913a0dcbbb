// Starts the page: reads the address and the server's state, and shows the view that belongs to them.

import * as api from "./api.js";
import { EMPTY, forgetKey, go, link, onGo, place } from "./address.js";
import { button, fill, h, iconButton, isWriting } from "./dom.js";
import { install } from "./upload.js";
import { showKeys } from "./help.js";
import { RUNNING, makeJob } from "./job.js";
import { makeLibrary } from "./library.js";
import { makeSearch } from "./search.js";
import { makeStart } from "./start.js";
import { language, switchLanguage, t } from "./words.js";

const main = document.getElementById("main");
const THEMES = ["auto", "light", "dark"];
let state = null;
let views = null;
let job = null;
let shown = null;

document.documentElement.lang = language;
document.title = t("title");
document.querySelector(".skip").textContent = t("skip");
forgetKey();
drawHeader();
void start();

async function start() {
  try {
    state = await api.state();
  } catch (error) {
    fill(main, h("div", { class: "notice" }, h("strong", {}, error.text ?? error.message), button(t("retry"), () => location.reload())));
    return;
  }
  install(state);
  job = makeJob();
  views = { start: makeStart(() => state, job), library: makeLibrary(() => state, job), search: null };
  onGo(show);
  show();
  job.show(state.job);
  api.watchJob(watch);
}

let seen = "";
let turn = 0;
async function watch(now) {
  const before = state.job.state;
  state.job = now;
  job.show(now);
  chip(now);
  const milestone = `${now.run} ${now.state} ${now.state === "indexing" ? Math.floor(now.done / Math.max(1, now.total / 10)) : ""}`;
  if (milestone === seen || (now.state === "none" && before === "none")) return;
  seen = milestone;
  const mine = ++turn;
  try {
    const fresh = await api.state();
    if (mine !== turn) return; // a later one asked since
    state = { ...fresh, job: state.job };
  } catch {
    if (mine !== turn) return;
    seen = "";
    setTimeout(() => void watch(state.job), 3000); // no event may follow the last one
    return;
  }
  const running = RUNNING.includes(now.state);
  if (!running) {
    views.search?.refresh();
    views.library.refresh();
  }
  if (!running || shown !== "search") show(); // an answer stays as it is until the run's end
}

function show() {
  const name = place.view === "library" ? "library" : place.parts.length && state.library ? "search" : "start";
  if (name === "search" && !views.search) views.search = makeSearch({ onThisMachine: state.on_this_machine });
  const view = views[name];
  if (shown !== name) {
    if (shown === "search") views.search.leave();
    shown = name;
    document.body.dataset.view = name;
    if (name !== "search") {
      const holder = name === "library" ? view.element.querySelector(".results") : view.element;
      holder.prepend(job.element);
    }
    main.replaceChildren(view.element);
    drawHeader();
  }
  void view.show();
}

function drawHeader() {
  const tab = (name, view) => h("a", { href: link({ ...EMPTY, view }), "aria-current": (place.view === view && "page") || null, onclick: (event) => follow(event, view) }, t(name));
  const theme = currentTheme();
  fill(
    document.getElementById("top"),
    h("a", { class: "brand", href: "./", "aria-label": t("title"), onclick: (event) => follow(event, "search") }, h("img", { src: "static/icon.svg", alt: "", width: 28, height: 28 }), h("span", {}, t("title"))),
    h("nav", { "aria-label": t("title") }, tab("search", "search"), tab("library", "library")),
    h("a", { class: "chip", id: "chip", href: link({ ...EMPTY, view: "library" }), hidden: true, onclick: (event) => follow(event, "library") }),
    h(
      "div",
      { class: "right" },
      h("button", { type: "button", class: "button quiet language", lang: language === "ko" ? "en" : "ko", onclick: switchLanguage }, t("language")),
      iconButton({ auto: "half", light: "sun", dark: "moon" }[theme], t(`theme_${theme}`), nextTheme, { id: "theme" }),
      iconButton("help", t("help"), showKeys, { id: "help" }),
    ),
  );
  if (state) chip(state.job);
}

function chip(now) {
  const node = document.getElementById("chip");
  const running = RUNNING.includes(now.state);
  node.hidden = !running || shown !== "search";
  if (running) fill(node, h("span", { class: "spinner" }), now.total ? `${Math.floor((100 * now.done) / now.total)} %` : "…");
}

function follow(event, view) {
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return; // a new tab is wanted
  event.preventDefault();
  go({ ...EMPTY, view });
  drawHeader();
}

function currentTheme() {
  return document.documentElement.dataset.theme ?? "auto";
}

function nextTheme() {
  const theme = THEMES[(THEMES.indexOf(currentTheme()) + 1) % THEMES.length];
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem("theme", theme);
  } catch {
    // without storage it is good for this visit
  }
  drawHeader();
  document.getElementById("theme").focus();
}

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || isWriting(event.target) || document.querySelector("dialog[open]")) {
    if (event.key === "Escape" && isWriting(event.target)) event.target.blur();
    return;
  }
  if (event.key === "?") showKeys();
  else if (event.key === "/") {
    event.preventDefault();
    if (shown === "search") views.search.focusPath();
    else if (shown === "library") views.library.focusFind();
    else document.querySelector(".target")?.focus();
  } else if (event.key === "Escape" && shown === "search") views.search.leaveOff();
  else if (event.key === "ArrowDown" && (event.target === document.body || event.target.tagName === "H1")) {
    event.preventDefault();
    main.querySelector(".card.current .face")?.focus();
  }
});
