// The library: all of it as one wall, by class; its folders are a button away; how a run goes.

import * as api from "./api.js";
import { go, keptPlace, place } from "./address.js";
import { makeClassList } from "./classlist.js";
import { makeDrawer } from "./drawer.js";
import { fill, h, report } from "./dom.js";
import { makeFolders } from "./folders.js";
import { RUNNING } from "./job.js";
import { limitsOf, ratiosOf } from "./layout.js";
import { makeState } from "./states.js";
import { moreLike, take } from "./upload.js";
import { makeView } from "./view.js";
import { listed, makeWall } from "./wall.js";
import { t } from "./words.js";

const ROWS = 100; // asked for together

export function makeLibrary(server, job, tray) {
  const wall = makeWall({ label: t("library"), act, isPicked: (item) => tray.has(item), onSection: (section) => (here.textContent = section && place.names.length === 0 ? section.name || t("no_class") : "") });
  const classes = makeClassList({ several: false, all: t("all_images"), onChoose: (name) => { drawer.close(); go({ names: name === null ? [] : [name] }); } });
  const drawer = makeDrawer({ title: t("classes"), content: classes.element, kept: "classes", picture: "filter" });
  const folders = makeFolders(server);
  const view = makeView({ onSize: wall.resize });
  const title = h("h1", { tabindex: "-1" });
  const here = h("p", { class: "here", "aria-hidden": "true" });
  const runs = h("div", { class: "runs" });
  const state = h("div", {});
  const element = h(
    "div",
    { class: "library" },
    h("div", { class: "bar" }, h("div", { class: "where-am-i" }, title, here), h("div", { class: "tools" }, drawer.button, folders.button, view.button)),
    h("div", { class: "columns" }, drawer.element, h("section", { class: "results" }, runs, state, wall.element)),
  );

  let of; // which class the wall shows; null: all; undefined: nothing yet
  let shownImages = -1;
  let found = []; // the classes
  let turn = 0;

  function act(what, item) {
    if (!item) return;
    if (what === "open" || what === "search") moreLike(item.id);
    else if (what === "more" || what === "less") take([item.id], what === "more" ? "like" : "less");
    else if (what === "choose" || what === "range") tray.toggle(item);
  }

  /** The wall's shapes at once, its rows as they are scrolled to. */
  async function load(name) {
    const mine = ++turn;
    const back = keptPlace();
    try {
      const shape = await api.wall(name);
      if (mine !== turn) return;
      const rows = new Array(shape.images);
      const asked = new Set();
      const places = new Map();
      const fetchPart = async (part) => {
        asked.add(part);
        try {
          const items = await api.rowsOfWall(shape.generation, name, part * ROWS, ROWS);
          if (mine !== turn) return;
          items.forEach((item, at) => {
            rows[part * ROWS + at] = item ?? undefined;
            if (item) places.set(item.id, part * ROWS + at);
          });
          wall.draw();
        } catch (error) {
          asked.delete(part);
          if (error.code === "Changed") void load(name);
          else report(error);
        }
      };
      let waiting = 0;
      wall.show({
        count: shape.images,
        ratios: ratiosOf(shape.shapes),
        limits: limitsOf(shape.heights),
        sections: shape.sections.length > 1 || (shape.sections[0]?.name && name === null) ? (name === null ? shape.sections : []) : [],
        at: (index) => rows[index] ?? null,
        key: (index) => rows[index]?.id ?? `#${index}`,
        indexOf: (id) => places.get(id) ?? -1,
        want(from, to, fast) {
          clearTimeout(waiting);
          waiting = setTimeout(() => {
            for (let part = Math.floor(from / ROWS); part * ROWS < to; part += 1) if (!asked.has(part)) void fetchPart(part);
          }, fast ? 60 : 0);
        },
      });
      if (back) wall.toAnchor(back);
      fill(state, shape.images ? null : makeState({ picture: "folder", title: t("empty_library"), text: t("empty_hint"), actions: [[t("folders"), () => folders.open(), "folder"]] }));
    } catch (error) {
      if (mine === turn) report(error);
    }
  }

  function show() {
    const now = server();
    const name = place.names[0] ?? null;
    const images = now.library?.images ?? 0;
    runs.append(job.element);
    element.classList.toggle("without", !now.library);
    if (!now.library) {
      of = undefined;
      shownImages = -1;
      wall.show(listed([]));
      fill(state, job.running() ? null : makeState({ picture: "folder", title: t("no_library"), text: t("no_library_hint"), actions: [[t("folders"), () => folders.open(), "folder"]] }));
    } else if (name !== of || (images !== shownImages && (shownImages <= 0 || !RUNNING.includes(now.job.state)))) {
      // While a run goes on the wall stays as it is, once there is something in it.
      if (name !== of && of !== undefined) scrollTo({ top: 0, behavior: "instant" });
      of = name;
      shownImages = images;
      void load(name);
      api.classes().then((all) => { found = all; paint(); }, () => {});
    }
    folders.show();
    paint();
  }

  function paint() {
    const images = server().library?.images ?? 0;
    const count = of === null || of === undefined ? images : (found.find((one) => one.name === of)?.images ?? 0);
    fill(title, of === null || of === undefined ? t("library") : of || t("no_class"), " ", h("small", {}, t("images", { n: count })));
    classes.show(found, place.names.slice(0, 1), images);
    drawer.element.classList.toggle("empty", found.length < 2);
    drawer.button.hidden = found.length < 2;
  }

  tray.onChange(() => wall.marks());

  return {
    element,
    show,
    wall,
    /** The library has changed, perhaps in nothing but its classes. */
    refresh: () => (shownImages = -1),
    focusFind() {
      drawer.open();
      classes.focus();
    },
    toggleFilters: () => drawer.toggle(),
    enter() {
      if (of !== (place.names[0] ?? null)) return; // loads, and goes there by itself
      const kept = keptPlace();
      if (kept) wall.toAnchor(kept);
    },
  };
}
