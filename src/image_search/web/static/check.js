// Labels that may be wrong, to be walked through by keyboard: what a picture is called, what its neighbours are called.

import * as api from "./api.js";
import { EMPTY, go, link, place } from "./address.js";
import { button, fill, h, icon, iconButton, letter, report } from "./dom.js";
import { makeLooking } from "./looking.js";
import * as order from "./tidyapi.js";
import { moreLike } from "./upload.js";
import { cosine, percent, t } from "./words.js";

const AT_ONCE = 100;
const NEIGHBOURS = 8; // shown
const PARTS = ["suspects", "outliers", "classes"];

export function makeCheck(server, tray) {
  const looking = makeLooking("check", server);
  const told = h("span", { role: "status" });
  const parts = h("div", { class: "check-parts" });
  const list = h("ul", { class: "walk", role: "listbox", "aria-label": t("check"), tabindex: "0" });
  const one = h("article", { class: "walked" });
  const columns = h("div", { class: "walking", hidden: true }, list, one);
  const tables = h("div", { class: "tables", hidden: true });
  const element = h("div", { class: "tidy" }, h("section", { class: "results" }, looking.element, parts, columns, tables));

  let answer = null; // numbers and classes of the look
  let rows = []; // of the part that is shown
  let total = 0;
  let asked = ""; // which part that is
  let loading = null;
  let drawn = null; // whom the article shows
  const known = new Map(); // id -> its neighbours

  const part = () => (PARTS.includes(place.part) ? place.part : "suspects");
  const filter = () => ({ ...(place.names[0] !== undefined ? { name: place.names[0] } : {}), ...(place.says ? { says: place.says } : {}) });
  const at = () => Math.max(0, rows.findIndex((row) => row.item.id === place.open));

  // --- what is there -----------------------------------------------------------------------------------------------------------

  async function show() {
    const now = server();
    const few = !now.library ? ["no_library", "no_library_hint"] : !now.library.images ? ["empty_library", "empty_hint"] : now.library.classes < 2 ? [now.library.classes ? "check_one" : "check_none", "check_none_hint"] : null;
    if (few) {
      forget();
      looking.say({ picture: "folder", title: t(few[0]), text: t(few[1]) });
      return;
    }
    if (!answer) await begin();
    else await paint();
  }

  function forget() {
    answer = null;
    asked = "";
    rows = [];
    known.clear();
    parts.replaceChildren();
    columns.hidden = tables.hidden = true;
    told.textContent = "";
  }

  async function begin() {
    forget();
    const run = await looking.need({}, () => void begin());
    if (run === null) return;
    try {
      answer = await order.labels(run);
      told.textContent = t("check_told", { n: answer.images, x: percent(answer.agree), k: answer.neighbours });
      await paint();
    } catch (error) {
      if (error.code === "Changed") void begin();
      else report(error);
    }
  }

  async function paint() {
    paintParts();
    const classes = part() === "classes";
    tables.hidden = !classes;
    if (classes) {
      columns.hidden = true;
      looking.say(null);
      paintTables();
      return;
    }
    const wanted = JSON.stringify([part(), filter()]);
    if (wanted !== asked) {
      asked = wanted;
      rows = [];
      total = 0;
      list.replaceChildren();
      drawn = null;
      await load(true);
    }
    while (place.open && !rows.some((row) => row.item.id === place.open) && rows.length < total) await load();
    columns.hidden = rows.length === 0;
    looking.say(rows.length ? null : { picture: "check", title: t(part() === "suspects" ? "suspects_none" : "outliers_none"), text: t("check_fine") });
    if (rows.length) choose(at());
  }

  function paintParts() {
    const counts = { suspects: answer.suspects, outliers: answer.outliers, classes: answer.classes.length };
    fill(
      parts,
      h("nav", { class: "ways", "aria-label": t("check") }, PARTS.map((name) => h("a", { href: link({ ...EMPTY, view: "check", part: name }), "aria-current": name === part() ? "page" : null, onclick: (event) => { event.preventDefault(); go({ ...EMPTY, view: "check", part: name }); } }, t(name), " ", h("small", {}, counts[name].toLocaleString())))),
      place.names.length > 0 && part() === "suspects" && button(`${place.names[0] || t("no_class")}${place.says ? ` → ${place.says}` : ""}`, () => go({ ...EMPTY, view: "check" }), { title: t("filters_clear") }, "close"),
    );
  }

  function load(first = false) {
    if (loading || (!first && rows.length >= total)) return loading ?? Promise.resolve();
    const mine = asked;
    const request = { start: taken, limit: AT_ONCE };
    if (first) request.start = taken = 0;
    loading = (part() === "outliers" ? order.outliers(answer.run, request) : order.suspects(answer.run, { ...request, ...filter() }))
      .then((found) => {
        if (mine !== asked) return;
        total = found.total;
        taken += found.items.length;
        const there = found.items.filter((row) => row.item); // the others have gone since
        total -= found.items.length - there.length;
        rows.push(...there);
        list.append(...there.map(drawRow));
      })
      .catch((error) => (error.code === "Changed" ? void begin() : Promise.reject(error)))
      .finally(() => (loading = null));
    return loading;
  }
  let taken = 0; // rows that the server was asked for

  function drawRow(row) {
    const { item } = row;
    return h(
      "li",
      { role: "option", id: `row-${item.id.slice(3)}`, "aria-selected": "false", data: { id: item.id }, class: tray.has(item) ? "picked" : "", onclick: () => go({ open: item.id }, { replace: true }) },
      h("img", { src: item.thumbnail, alt: "", loading: "lazy", decoding: "async" }),
      h("span", {}, h("b", {}, item.name || t("no_class")), row.says !== undefined && [" → ", row.says], h("small", {}, row.says === undefined ? t("mean_similarity", { x: cosine(row.similarity) }) : t("against", { x: percent(row.confidence) }))),
      h("span", { class: "tick" }, icon("check")),
    );
  }

  // --- one of them --------------------------------------------------------------------------------------------------------------

  function choose(index) {
    const row = rows[index];
    for (const node of list.querySelectorAll("[aria-selected=true]")) node.setAttribute("aria-selected", "false");
    const node = list.children[index];
    node.setAttribute("aria-selected", "true");
    list.setAttribute("aria-activedescendant", node.id);
    const box = list.getBoundingClientRect();
    const edge = node.getBoundingClientRect();
    if (edge.top < box.top || edge.bottom > box.bottom) list.scrollTop += edge.top - box.top - box.height / 3; // nothing but the list moves
    if (edge.left < box.left || edge.right > box.right) list.scrollLeft += edge.left - box.left - box.width / 3;
    if (rows.length - index < 20) void load().catch(report);
    if (drawn !== row) draw(row, index);
  }

  function draw(row, index) {
    drawn = row;
    const { item } = row;
    const where = h("p", { class: "position", role: "status" }, t("of", { n: index + 1, all: total }));
    const beside = h("ul", { class: "neighbours", "aria-label": t("its_neighbours") });
    const pick = button(t(tray.has(item) ? "chosen_it" : "choose_it"), () => tray.toggle(item), { class: "button pick", title: t("pick"), "aria-pressed": String(tray.has(item)) }, "check");
    fill(
      one,
      h("div", { class: "head" }, iconButton("left", t("walk_back"), () => step(-1), { disabled: index === 0 }), where, iconButton("right", t("walk_on"), () => step(1), { disabled: index >= total - 1 })),
      h("figure", { class: "it" }, h("img", { src: item.thumbnail.replace("/thumbnail?", "/view?"), alt: item.path, width: item.width, height: item.height })),
      h(
        "div",
        { class: "verdict" },
        h("p", {}, t("it_is_called"), " ", h("strong", {}, item.name || t("no_class"))),
        row.says === undefined
          ? h("p", {}, t("far_from_all", { x: cosine(row.similarity) }))
          : [h("p", { class: "says" }, t("neighbours_say"), " ", h("strong", {}, row.says), " ", h("small", {}, t("share_of_votes", { x: percent(row.share) }))), h("p", {}, t("against_label", { x: percent(row.confidence) }), h("meter", { min: "0", max: "1", value: row.confidence, "aria-label": t("against_label", { x: percent(row.confidence) }) }))],
        h("code", { tabindex: "0" }, item.path),
        h("div", { class: "row" }, pick, button(t("search_it"), () => moreLike(item.id), { title: "s" }, "similar"), row.like && button(t("compare_like"), () => compareLike(row), { title: "Enter" }, "swap")),
      ),
      h("h3", {}, t("its_neighbours")),
      beside,
    );
    void neighbours(row, beside).catch(report);
  }

  async function neighbours(row, beside) {
    const id = row.item.id;
    if (!known.has(id)) known.set(id, api.search({ queries: [{ id }], n: NEIGHBOURS, exclude_self: true }).then((found) => found.matches));
    try {
      const matches = await known.get(id);
      if (drawn !== row) return;
      fill(
        beside,
        matches.map((match) =>
          h("li", { class: match.name === row.item.name ? "same" : match.name === row.says ? "other" : "" }, h("button", { type: "button", class: "face", title: match.path, onclick: () => go({ ...EMPTY, parts: [{ id, less: false, region: null }], open: match.id }) }, h("img", { src: match.thumbnail, alt: "" })), h("b", {}, match.name || t("no_class")), h("small", {}, cosine(match.similarity))),
        ),
      );
    } catch (error) {
      known.delete(id);
      throw error;
    }
  }

  /** Beside the nearest picture of the class that its neighbours say. */
  const compareLike = (row) => go({ ...EMPTY, parts: [{ id: row.item.id, less: false, region: null }], open: row.like });

  function step(by) {
    const to = rows[at() + by];
    if (to) go({ open: to.item.id }, { replace: true });
  }

  // --- classes ----------------------------------------------------------------------------------------------------------------

  function paintTables() {
    const toPair = (name, says) => ({ href: link({ ...EMPTY, view: "check", names: [name], says }), onclick: (event) => { event.preventDefault(); go({ ...EMPTY, view: "check", names: [name], says }); } });
    const head = (...words) => h("thead", {}, h("tr", {}, words.map((word) => h("th", { scope: "col" }, word))));
    fill(
      tables,
      answer.mixed.length > 0 && h("section", {}, h("h2", {}, t("classes_mix")), h("ul", { class: "mixed" }, answer.mixed.map((pair) => h("li", {}, h("a", toPair(pair.name, pair.other), `${pair.name} → ${pair.other}`), " ", h("b", {}, percent(pair.share)), h("small", {}, pair.back > 0 ? ` ${t("mix_back", { x: percent(pair.back) })}` : ""))))),
      answer.copied > 0 && h("section", {}, h("h2", {}, t("copied_classes", { n: answer.copied })), h("ul", { class: "mixed" }, answer.copies.slice(0, 200).map((copy) => h("li", {}, h("button", { type: "button", class: "link", onclick: () => moreLike(copy.ids[0]) }, copy.names.join(" · ")))))),
      h(
        "section",
        {},
        h("h2", {}, t("classes")),
        h(
          "div",
          { class: "scrolled" },
          h("table", {}, head(t("facts_class"), t("images_head"), t("agree"), t("suspects"), t("outliers"), t("mixes_with")), h("tbody", {}, answer.classes.map((row) => h("tr", {}, h("th", { scope: "row" }, row.name), h("td", {}, row.images.toLocaleString()), h("td", {}, percent(row.agree)), h("td", {}, row.suspects ? h("a", toPair(row.name, ""), row.suspects.toLocaleString()) : "0"), h("td", {}, row.outliers.toLocaleString()), h("td", {}, row.mixes_with && row.share > 0.005 ? `${row.mixes_with} (${percent(row.share)})` : ""))))),
        ),
      ),
    );
  }

  // --- by keyboard --------------------------------------------------------------------------------------------------------------

  function keys(event) {
    if (columns.hidden || (["Enter", " "].includes(event.key) && event.target.closest("button, a"))) return false;
    const key = letter(event);
    if (["ArrowDown", "ArrowRight", "j", " "].includes(key)) step(1);
    else if (["ArrowUp", "ArrowLeft", "k"].includes(key)) step(-1);
    else if (key === "Home") rows[0] && go({ open: rows[0].item.id }, { replace: true });
    else if (key === "x" && drawn) tray.toggle(drawn.item);
    else if (key === "s" && drawn) moreLike(drawn.item.id);
    else if (key === "Enter" && drawn?.like) compareLike(drawn);
    else return false;
    return true;
  }

  tray.onChange(() => {
    for (const node of list.children) node.classList.toggle("picked", tray.has({ id: node.dataset.id }));
    const pick = one.querySelector(".pick");
    if (!pick || !drawn) return;
    pick.setAttribute("aria-pressed", String(tray.has(drawn.item)));
    pick.lastChild.textContent = t(tray.has(drawn.item) ? "chosen_it" : "choose_it");
  });

  return {
    element,
    told,
    tools: [],
    show,
    keys,
    enter: () => scrollTo({ top: 0, behavior: "instant" }),
    leave: () => looking.leave(),
    refresh() {
      answer = null;
    },
  };
}
