// The search: asks the server when the question changes, and shows what the filters let through.

import * as api from "./api.js";
import { EMPTY, asked as asPart, go, keptPlace, place } from "./address.js";
import { makeCompare } from "./compare.js";
import { button, fill, h, report } from "./dom.js";
import { askedOfFiles, filtersOn, makeFilters, NONE } from "./filters.js";
import { makePhrase, whyNoWords } from "./phrase.js";
import { makeQueryBar } from "./querybar.js";
import { makeResults } from "./results.js";
import { makeDrawer } from "./drawer.js";
import { makeState } from "./states.js";
import { choose, moreLike, take } from "./upload.js";
import { makeView } from "./view.js";
import { listed, makeWall } from "./wall.js";
import { cosine, fitting, percent, t } from "./words.js";

const FIRST = 60; // fills a screen at once; the rest follows
const ALL = 5000;
const ANSWERS = 6; // kept, some 200 KB each
const WORDS_WRONG = new Set(["Words", "NoWords"]);
const REST_MS = 250; // the first screen's pictures are fetched before it

/** server(): the state; tray: what was chosen. */
export function makeSearch(server, tray) {
  const results = makeResults(() => paint());
  const bar = makeQueryBar(server);
  const filters = makeFilters();
  const wall = makeWall({ label: t("search"), captions: true, act, isPicked: (match) => tray.has(match) });
  const compare = makeCompare({ selection: tray, onMore: moreLike, onLess: (id) => take([id], "less"), onLike: (id) => take([id], "like"), onThisMachine: Boolean(server().on_this_machine) });
  const view = makeView({ onSize: wall.resize, onCaption: wall.redraw });

  const title = h("h1", { tabindex: "-1", "aria-live": "polite" });
  const meta = h("p", { class: "meta" });
  const chips = h("div", { class: "chips" });
  const chooseAll = button(t("choose_all"), chooseEverything, { class: "button quiet", title: t("choose_all"), "aria-label": t("choose_all") }, "check");
  const drawer = makeDrawer({ title: t("filters"), content: filters.element, kept: "filters", picture: "filter" });
  const state = h("div", {});
  const frame = h("section", { class: "results", "aria-busy": "false" }, h("header", { class: "toolbar" }, h("div", {}, title, meta), chips, chooseAll), state, wall.element);
  const element = h("div", { class: "search" }, h("div", { class: "bar" }, bar.element, h("div", { class: "tools" }, drawer.button, view.button)), h("div", { class: "columns" }, drawer.element, frame));

  const answers = new Map(); // the last questions' answers: going back costs nothing
  let asked = "";
  let stale = false; // the library has changed since
  let running = null;
  let rest = 0; // the timer of what follows the first screen
  let shown = [];
  let back = null; // where the window stood, when we come back to this
  let compared = null; // whom the comparison showed last

  const question = (at) => ({ queries: at.parts.map(asPart), names: at.names, ...(at.other ? { other_folders: true } : {}), ...askedOfFiles(at) });

  function act(what, match, index) {
    if (!match || match.lazy) return;
    if (what === "open") go({ open: match.id });
    else if (what === "search") moreLike(match.id);
    else if (what === "more" || what === "less") take([match.id], what === "more" ? "like" : "less");
    else if (what === "choose") tray.toggle(match);
    else if (what === "range") tray.range(shown, match);
    else if (what === "unfold") unfold(match, index);
  }

  function unfold(match) {
    results.toggle(match);
    paint();
  }

  /** Also those that have not been scrolled to: their rows are asked for when they are taken along. */
  function chooseEverything() {
    tray.add(shown);
  }

  const whatOf = (parts) => JSON.stringify(parts.map(({ id, text }) => [id ?? "", text ?? ""]));

  async function show() {
    const wanted = JSON.stringify(question(place));
    if (wanted === asked && !stale) {
      if (results.answer) paint();
      return;
    }
    const same = asked && whatOf(JSON.parse(asked).queries) === whatOf(place.parts);
    asked = wanted;
    running?.abort();
    clearTimeout(rest);
    running = new AbortController();
    const renewing = stale && same && results.answer; // at once as many as are shown, so that the page does not jump
    back = keptPlace();
    stale = false;
    if (!same) begin();
    frame.setAttribute("aria-busy", "true");
    fill(state);
    try {
      const all = renewing || back || answers.has(wanted);
      await ask(all ? ALL : FIRST, wanted, !same);
      if (asked !== wanted) return;
      if (results.answer.complete || all) frame.setAttribute("aria-busy", "false");
      else rest = setTimeout(() => void more(wanted), REST_MS);
    } catch (error) {
      if (error.name === "AbortError" || asked !== wanted) return;
      frame.setAttribute("aria-busy", "false");
      fail(error);
    }
  }

  /** Another query: nothing of the last one stays but what was chosen. */
  function begin() {
    compare.close();
    results.clear();
    bar.forget();
    shown = [];
    wall.show(listed([]));
    frame.classList.add("waiting");
    title.textContent = t("searching");
    fill(meta);
    fill(chips);
    chooseAll.hidden = true;
    if (!back) scrollTo({ top: 0, behavior: "instant" });
  }

  async function ask(n, wanted, fresh) {
    const found = answers.get(wanted) ?? (await api.search({ ...JSON.parse(wanted), n, full: FIRST }, running.signal));
    if (asked !== wanted) return;
    if (n === ALL || found.complete) remember(wanted, found);
    results.take(found);
    frame.classList.remove("waiting");
    paint();
    if (back) wall.toAnchor(back);
    back = null;
    if (fresh && !place.open) headline();
  }

  function remember(wanted, found) {
    answers.delete(wanted);
    answers.set(wanted, found);
    if (answers.size > ANSWERS) answers.delete(answers.keys().next().value);
  }

  /** What follows the first screen. */
  async function more(wanted) {
    try {
      await ask(ALL, wanted, false);
    } catch (error) {
      if (asked === wanted) report(error);
    } finally {
      if (asked === wanted) frame.setAttribute("aria-busy", "false");
    }
  }

  /** The focus goes where the answer begins, unless somebody is busy elsewhere. */
  function headline() {
    const at = document.activeElement;
    if (!at || at === document.body || !at.isConnected || frame.contains(at) || at.closest("#main") === null) title.focus({ preventScroll: true });
  }

  function fail(error) {
    compare.close();
    results.clear();
    shown = [];
    frame.classList.remove("waiting");
    element.classList.add("failed");
    fill(title);
    fill(meta);
    wall.show(listed([]));
    if (error.code === "Gone") report(error);
    const lost = error.code === "UnknownId";
    const anew = [t("clear"), () => go({ ...EMPTY })];
    const words = place.parts.findLast((part) => part.text);
    if (words && WORDS_WRONG.has(error.code)) {
      wrongWords(error, words, anew);
      return;
    }
    if (lost) fill(state, makeState({ picture: "picture", title: t("e_Kept"), text: t("kept_hint"), actions: [[t("choose"), () => choose("new"), "drop"], anew] }));
    else fill(state, makeState({ picture: "warning", title: error.text ?? error.message, actions: [[t("retry"), retry, "refresh"], ...(place.where ? [[t("without", { x: place.where }), () => go({ where: "" })]] : []), anew] }));
  }

  /** These words are not searched with: why, the field to change them, and the way on without them. */
  function wrongWords(error, words, anew) {
    const others = place.parts.filter((part) => part !== words);
    const without = others.some((part) => !part.less) ? [[t("without", { x: words.text.slice(0, 40) }), () => go({ parts: others }), "close"]] : [];
    const change = (text) => go({ parts: place.parts.map((part) => (part === words ? { ...words, text } : part)) });
    const { text, code } = error.code === "NoWords" ? whyNoWords(server()) : { text: error.text ?? error.message, code: "" };
    const note = makeState({ picture: "words", title: text, code, actions: [...without, anew] });
    if (!code) note.querySelector(".row").before(makePhrase({ hint: t("words_hint"), value: words.text.slice(0, 500), act: change }).element);
    fill(state, note);
  }

  function retry() {
    answers.clear();
    asked = "";
    void show();
  }

  /** Nothing is shown: which filter let nothing through, and the way out of each. */
  function nothing() {
    const on = filtersOn();
    const best = results.matches[0];
    if (best) on.reverse(); // then it is the similarity, which stands last, that lets nothing through
    const away = on.map(([words, change]) => [t("without", { x: words }), () => go(change), "close"]);
    if (best && place.fits !== null) fill(state, makeState({ picture: "filter", title: t("none_fits", { x: percent(place.fits) }), text: t("none_fits_hint", { best: fitting(best.probability) }), actions: away }));
    else if (best && place.min !== null) fill(state, makeState({ picture: "filter", title: t("none_min", { x: place.min.toFixed(2) }), text: t("none_min_hint", { best: cosine(best.similarity) }), actions: away }));
    else if (place.path && on.length === 1) fill(state, makeState({ picture: "filter", title: t("none_path", { x: place.path }), text: t("none_path_hint"), actions: away }));
    else if (on.length) fill(state, makeState({ picture: "filter", title: t("none_filters"), text: on.map(([words]) => words).join(" · "), actions: [...away, ...(on.length > 1 ? [[t("filters_clear"), () => go({ ...NONE })]] : [])] }));
    else fill(state, makeState({ picture: "picture", title: t("none_at_all"), text: t("none_at_all_hint"), actions: [[t("library"), () => go({ ...EMPTY, view: "library" })]] }));
  }

  function paint() {
    const answer = results.answer;
    if (!answer) return;
    element.classList.remove("failed");
    shown = results.visible();
    bar.show(answer.queries);
    filters.show(results.matches);
    const folded = shown.reduce((sum, match) => sum + (match.expanded ? 0 : (match.repeats ?? 0)), 0);
    const words = shown.length ? t(answer.complete || place.min !== null || place.fits !== null ? "results" : "results_more", { n: shown.length }) : t("none");
    if (title.textContent !== words) title.textContent = words;
    fill(meta, [answer.exact ? null : t("by_store"), folded ? t("folded", { n: folded }) : null].filter(Boolean).join(" · "));
    fill(chips, filtersOn().map(([text, change]) => h("button", { type: "button", class: "chip", title: t("without", { x: text }), "aria-label": t("without", { x: text }), onclick: () => go(change) }, h("span", {}, text), "×")));
    drawer.count(filtersOn().length);
    view.group(results.matches.some((match) => match.same_as !== null));
    chooseAll.hidden = !shown.length;
    if (shown.length) fill(state);
    else nothing();
    wall.show({ ...listed(shown), want: (from, to, fast) => want(from, to, fast) });
    void openOne();
  }

  let wanting = 0;
  function want(from, to, fast) {
    clearTimeout(wanting);
    wanting = setTimeout(() => results.want(bases(shown.slice(from, to))).catch(report), fast ? 90 : 0);
  }

  /** A folded match is a copy of the one that the rows are put into. */
  const bases = (some) => some.map((match) => (Object.hasOwn(match, "id") ? match : Object.getPrototypeOf(match)));

  /** The comparison, if the address names one; it and its neighbours have to be known. */
  async function openOne() {
    const index = place.open ? shown.findIndex((match) => match.id === place.open) : -1;
    if (index >= 0) {
      const near = bases(shown.slice(Math.max(0, index - 5), index + 6));
      if (near[Math.min(index, 5)].lazy) {
        await results.want(near).catch(report); // paints, and comes here again
        return;
      }
      if (near.some((match) => match.lazy)) void results.want(near).catch(report);
    }
    compare.show(results.answer.queries, shown);
    const before = compared;
    compared = place.open;
    if (before && !place.open) {
      const last = shown.findIndex((match) => match.id === before);
      if (last >= 0) wall.focus(last); // the one seen last; the window moves only if it is outside
    }
  }

  tray.onChange(() => wall.marks());
  
  return {
    element,
    show,
    wall,
    focusPath() {
      drawer.open();
      filters.path.focus();
      filters.path.select();
    },
    write: () => bar.write(),
    toggleFilters: () => drawer.toggle(),
    /** Esc: what is open, then the choice, then the search. */
    leaveOff() {
      if (tray.size) tray.clear();
      else go({ ...EMPTY });
    },
    refresh() {
      stale = true;
      answers.clear();
      filters.renew();
    },
    leave() {
      filters.leave();
      bar.close();
      running?.abort();
      clearTimeout(rest);
      asked = results.answer && frame.getAttribute("aria-busy") === "false" ? asked : "";
      compare.close();
    },
    /** Come back to: the window where it was. */
    enter() {
      const kept = keptPlace();
      if (results.answer && kept) wall.toAnchor(kept);
      else if (results.answer) scrollTo({ top: 0, behavior: "instant" });
    },
  };
}
