// The search: asks the server when the question changes, and shows what the filters let through.

import * as api from "./api.js";
import { EMPTY, go, place } from "./address.js";
import { makeCompare } from "./compare.js";
import { button, fill, h } from "./dom.js";
import { makeSelection } from "./export.js";
import { makeFilters } from "./filters.js";
import { moreLike, take } from "./upload.js";
import { makeGrid } from "./grid.js";
import { makeQueryPanel } from "./query.js";
import { cosine, t } from "./words.js";

const FIRST = 60; // fills a screen at once; the rest follows
const ALL = 500;

export function makeSearch() {
  const panel = makeQueryPanel();
  const filters = makeFilters();
  const selection = makeSelection(() => grid.marks());
  const grid = makeGrid({
    label: t("search"),
    onOpen: (match) => go({ open: match.id }),
    onMore: (match) => moreLike(match.id),
    onPick: (match) => selection.toggle(match),
    isPicked: (match) => selection.has(match),
    onRepeats: expand,
  });
  const compare = makeCompare({ selection, onMore: moreLike, onLess: (id) => take([id], "less"), onLike: (id) => take([id], "like") });

  const title = h("h1", { tabindex: "-1", "aria-live": "polite" });
  const meta = h("p", { class: "meta" });
  const group = h("input", { type: "checkbox", id: "group", onchange: () => go({ each: !group.checked }, { replace: true }) });
  const groupWords = h("span", {});
  const size = h("input", { type: "range", min: "104", max: "320", step: "8", "aria-label": t("size"), title: t("size"), class: "size", oninput: resize });
  const chooseAll = button(t("choose_all"), () => selection.add(visible()), { class: "button quiet" }, "check");
  const notice = h("div", { class: "notice", hidden: true, role: "status" });
  const results = h(
    "section",
    { class: "results", "aria-busy": "false" },
    h("header", { class: "toolbar" }, h("div", {}, title, meta), h("div", { class: "tools" }, h("label", { class: "check" }, group, groupWords), size, chooseAll)),
    notice,
    grid.element,
  );
  const element = h("div", { class: "search" }, h("aside", {}, panel.element, filters.element), results);

  let answer = null; // what the server said last
  let asked = "";
  let stale = false; // the library has changed since
  let running = null;
  const expanded = new Set(); // ids whose repetitions are shown

  const question = (at) => ({
    queries: at.parts.map(({ id, less, region }) => (region ? { id, less, region } : { id, less })),
    names: at.names,
    path: at.path,
  });

  async function show() {
    const wanted = JSON.stringify(question(place));
    if (wanted === asked && !stale) {
      if (answer) paint();
      return;
    }
    const same = asked && JSON.stringify(JSON.parse(asked).queries.map((q) => q.id)) === JSON.stringify(place.parts.map((p) => p.id));
    asked = wanted;
    running?.abort();
    running = new AbortController();
    const renewing = stale && same && answer; // at once as many as are shown, so that the page does not jump
    stale = false;
    if (!same) {
      compare.close();
      answer = null;
      expanded.clear();
      panel.forget();
      selection.clear();
      grid.show([]);
      results.classList.add("waiting");
      title.textContent = t("searching");
      meta.textContent = "";
      scrollTo({ top: 0 });
    }
    results.setAttribute("aria-busy", "true");
    notice.hidden = true;
    try {
      await ask(renewing ? ALL : FIRST, wanted);
      if (asked === wanted && !answer.complete) await ask(ALL, wanted);
    } catch (error) {
      if (error.name !== "AbortError" && asked === wanted) fail(error);
    } finally {
      if (asked === wanted) results.setAttribute("aria-busy", "false");
    }
  }

  async function ask(n, wanted) {
    const found = await api.search({ ...JSON.parse(wanted), n }, running.signal);
    if (asked !== wanted) return;
    answer = found;
    results.classList.remove("waiting");
    paint();
  }

  function fail(error) {
    compare.close();
    results.classList.remove("waiting");
    answer = null;
    title.textContent = "";
    meta.textContent = "";
    grid.show([]);
    const gone = error.code === "UnknownId" && error.message.includes("no longer kept");
    notify(gone ? t("e_Kept") : error.text, "", [button(t("retry"), retry), button(t("clear"), () => go({ ...EMPTY }))]);
  }

  function retry() {
    asked = "";
    void show();
  }

  function notify(words, more, buttons = []) {
    notice.hidden = false;
    fill(notice, h("strong", {}, words), more && h("p", {}, more), buttons.length ? h("div", { class: "row" }, buttons) : null);
  }

  /** The matches above the cut-off; repetitions behind the first of them unless they are wanted. */
  function visible() {
    const passing = place.min === null ? answer.matches : answer.matches.filter((match) => match.similarity >= place.min);
    if (place.each) return passing;
    const members = new Map();
    for (const match of passing) if (match.same_as !== null) members.set(match.same_as, [...(members.get(match.same_as) ?? []), match]);
    return passing.flatMap((match) => {
      if (match.same_as !== null) return [];
      const repeats = members.get(match.rank) ?? [];
      if (!repeats.length) return [match];
      const open = expanded.has(match.id);
      return [{ ...match, repeats: repeats.length, expanded: open }, ...(open ? repeats.map((one) => ({ ...one, member: true })) : [])];
    });
  }

  function expand(match) {
    if (!expanded.delete(match.id)) expanded.add(match.id);
    paint();
  }

  function paint() {
    const matches = answer.matches;
    const shown = visible();
    const passing = place.min === null ? matches.length : matches.filter((match) => match.similarity >= place.min).length;
    panel.show(answer.queries);
    filters.show(matches, passing, answer.complete);
    title.textContent = shown.length === 0 ? "" : passing === matches.length && !answer.complete ? t("results_more", { n: passing }) : t("results", { n: passing });
    title.textContent = title.textContent && title.textContent[0].toUpperCase() + title.textContent.slice(1);
    meta.textContent = shown.length ? `${answer.model} · ${answer.exact ? t("exact") : t("by_store")}` : "";
    group.checked = !place.each;
    group.parentElement.hidden = !matches.some((match) => match.same_as !== null);
    groupWords.textContent = answer.near_identical === null ? t("group_exact") : t("group");
    notice.hidden = shown.length > 0;
    if (!shown.length) {
      const clear = button(t("filters_clear"), () => go({ names: [], path: "", min: null }));
      if (matches.length) notify(t("results_filtered", { x: place.min.toFixed(2) }), t("results_filtered_hint", { best: cosine(matches[0].similarity) }), [clear]);
      else notify(t("results_none"), t("results_none_hint"), [clear]);
    }
    for (const tool of [size, chooseAll]) tool.hidden = !shown.length;
    grid.show(shown);
    compare.show(answer.queries, shown);
  }

  function resize() {
    element.style.setProperty("--card", `${size.value}px`);
    keepSize(size.value);
  }

  size.value = keptSize() ?? (matchMedia("(min-width: 900px)").matches ? "176" : "144");
  element.style.setProperty("--card", `${size.value}px`);
  api.classes().then(filters.setClasses, () => filters.setClasses([]));

  return {
    element,
    show,
    focusPath() {
      filters.element.open = true;
      filters.path.focus();
      filters.path.select();
    },
    /** Esc: the choice first, then the search. */
    leaveOff() {
      if (selection.size) selection.clear();
      else go({ ...EMPTY });
    },
    refresh() {
      stale = true;
      api.classes().then(filters.setClasses, () => {});
    },
    leave() {
      filters.leave();
      running?.abort();
      asked = answer && results.getAttribute("aria-busy") === "false" ? asked : "";
      compare.close();
      selection.clear();
    },
  };
}

function keptSize() {
  try {
    return localStorage.getItem("size");
  } catch {
    return null;
  }
}

function keepSize(value) {
  try {
    localStorage.setItem("size", value);
  } catch {
    // without storage it is good for this visit
  }
}
