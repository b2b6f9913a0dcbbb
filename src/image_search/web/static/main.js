// Starts the page: reads the address and the server's state, and shows the view that belongs to them.

import * as api from "./api.js";
import { EMPTY, forgetKey, go, keepPlace, link, onGo, onLeave, place } from "./address.js";
import { fill, h, icon, iconButton, isWriting, letter, onGone } from "./dom.js";
import { install } from "./upload.js";
import { showKeys } from "./help.js";
import { RUNNING, makeJob } from "./job.js";
import { makeLibrary } from "./library.js";
import { makeStart } from "./start.js";
import { makeState } from "./states.js";
import { makeTray } from "./tray.js";
import { language, switchLanguage, t } from "./words.js";

const main = document.getElementById("main");
const mark = h("img", { src: "static/icon.svg", alt: "", width: 24, height: 24 }); // one node: it is fetched once
// What only a search needs is fetched when somebody is about to begin one: all at once, not one after the other as they import each other.
const SEARCH = ["dates", "compare", "details", "filters", "querybar", "region", "results", "search", "stage", "zoom"];
const TIDY = ["tidywords", "tidy", "looking", "groups", "decisions", "check", "map", "points", "tidyapi"];
const TIDY_VIEWS = ["groups", "check", "map"];
const THEMES = ["auto", "light", "dark"];
const AGAIN_MS = 2000; // a server that is gone is asked again
let state = null;
let views = null;
let job = null;
let tray = null;
let shown = null;
let seen = ""; // the milestone of a run that was shown last
let turn = 0;
let waiting = 0; // for a server that is gone
let staying = 0;

document.documentElement.lang = language;
document.title = t("title");
document.querySelector(".skip").textContent = t("skip");
forgetKey();
drawHeader();
onGone(gone);
void start();

async function start() {
  try {
    state = await api.state();
  } catch (error) {
    if (error.code === "Gone") gone();
    else fill(main, makeState({ picture: "unplugged", title: error.text ?? error.message, actions: [[t("retry"), () => location.reload(), "refresh"]] }));
    return;
  }
  install(state);
  tray = makeTray();
  job = makeJob((run) => (state.read_only ? -1 : (state.folders.find((folder) => folder.path === run.folder)?.number ?? -1)), () => Boolean(state.read_only));
  views = { start: makeStart(() => state, job), library: makeLibrary(() => state, job, tray), search: null };
  for (const sign of ["pointermove", "pointerdown", "keydown", "dragenter"]) addEventListener(sign, () => void searching(), { once: true, passive: true });
  onGo(show);
  onLeave(stay);
  show();
  job.show(state.job);
  api.watchJob(watch);
}

/** The server does not answer: said once, until it does. */
function gone() {
  if (waiting) return;
  const note = h("div", { id: "gone", role: "alert" }, icon("unplugged"), h("span", {}, h("strong", {}, t("e_Gone")), " ", t("gone_hint")));
  document.body.prepend(note);
  waiting = setInterval(async () => {
    try {
      await api.state();
    } catch (error) {
      if (error.code === "Gone") return;
    }
    clearInterval(waiting);
    waiting = 0;
    note.remove();
    if (!state || document.querySelector(".state")) location.reload();
    else show();
  }, AGAIN_MS);
}

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
    for (const name of TIDY_VIEWS) views[name]?.refresh();
  }
  if (!running || (shown !== "search" && !TIDY_VIEWS.includes(shown))) show(); // an answer stays as it is until the run's end
}

const preload = (names) => names.forEach((name) => document.head.append(h("link", { rel: "modulepreload", href: `static/${name}.js` })));

const dressed = (name) => new Promise((go) => document.head.append(h("link", { rel: "stylesheet", href: `static/${name}`, onload: go, onerror: go })));

let tidying = null;
function tidy() {
  if (!tidying) {
    preload([...TIDY, ...SEARCH]);
    tidying = Promise.all([import("./tidywords.js"), dressed("tidy.css")]).then(() => import("./tidy.js")).then(({ makeTidy }) => Object.assign(views, makeTidy(() => state, tray)));
    tidying.catch(() => (tidying = null));
  }
  return tidying;
}

let loading = null;
function searching() {
  if (!loading) {
    preload(SEARCH);
    loading = import("./search.js").then(({ makeSearch }) => (views.search = makeSearch(() => state, tray)));
    loading.catch(() => (loading = null)); // the server was gone: again, when it is needed
  }
  return loading;
}

function show() {
  const name = TIDY_VIEWS.includes(place.view) ? place.view : place.view === "library" ? "library" : place.parts.length && state.library ? "search" : "start";
  if (name === "search" && !views.search) {
    searching().then(show, gone);
    return;
  }
  if (TIDY_VIEWS.includes(name) && !views[name]) {
    tidy().then(show, gone);
    return;
  }
  const view = views[name];
  const entered = shown !== name;
  if (entered) {
    views[shown]?.leave?.();
    shown = name;
    document.body.dataset.view = name;
    main.replaceChildren(view.element);
    drawHeader();
    if (name === "start") scrollTo({ top: 0, behavior: "instant" });
  }
  void view.show();
  if (entered) view.enter?.();
}

/** Where the window stands belongs to this step of the history. */
function stay() {
  const wall = views?.[shown]?.wall;
  if (wall?.count) keepPlace(wall.anchor());
}
addEventListener(
  "scroll",
  () => {
    clearTimeout(staying);
    staying = setTimeout(stay, 90);
  },
  { passive: true },
);
addEventListener("pagehide", stay);

function isIn(view) {
  return place.view === view || (view === "groups" && TIDY_VIEWS.includes(place.view));
}

function drawHeader() {
  const tab = (name, view) => h("a", { href: link({ ...EMPTY, view }), "aria-current": (isIn(view) && "page") || null, onclick: (event) => follow(event, view) }, t(name));
  const theme = currentTheme();
  fill(
    document.getElementById("top"),
    h("a", { class: "brand", href: "./", "aria-label": t("title"), onclick: (event) => follow(event, "search") }, mark, h("span", {}, t("title"))),
    h("nav", { "aria-label": t("title") }, tab("search", "search"), tab("library", "library"), tab("tidy", "groups")),
    h("a", { class: "progress-chip", id: "chip", href: link({ ...EMPTY, view: "library" }), hidden: true, onclick: (event) => follow(event, "library") }),
    h(
      "div",
      { class: "right" },
      h("button", { type: "button", class: "button quiet language", lang: language === "ko" ? "en" : "ko", onclick: switchLanguage }, t("language")),
      iconButton({ auto: "half", light: "sun", dark: "moon" }[theme], t(`theme_${theme}`), nextTheme, { id: "theme" }),
      iconButton("keys", t("help"), () => showKeys(views?.[shown]?.help), { id: "help" }),
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
  const key = letter(event);
  const view = views?.[shown];
  if (key === "?") showKeys(views?.[shown]?.help);
  else if (key === "/") {
    event.preventDefault();
    if (shown === "search") view.focusPath();
    else if (shown === "library") view.focusFind();
    else document.querySelector(".target")?.focus();
  } else if (key === "w" && (shown === "search" || shown === "start")) {
    event.preventDefault();
    view.write();
  } else if (key === "f") view?.toggleFilters?.();
  else if (view?.keys?.(event)) event.preventDefault();
  else if (key === "Escape" && tray?.size) tray.clear();
  else if (key === "Escape" && shown === "search") view.leaveOff();
  else if (key === "ArrowDown" && (event.target === document.body || event.target.tagName === "H1" || event.target === main)) {
    event.preventDefault();
    view?.wall?.focus();
  }
});
