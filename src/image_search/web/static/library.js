// The library: what it holds, by class; its folders, brought up to date from here; how a run goes.

import * as api from "./api.js";
import { go, place } from "./address.js";
import { button, fill, h, iconButton, toast } from "./dom.js";
import { moreLike } from "./upload.js";
import { makeGrid } from "./grid.js";
import { RUNNING, showSkipped } from "./job.js";
import { t } from "./words.js";

export function makeLibrary(server, job) {
  const facts = h("dl", { class: "facts" });
  const folders = h("ul", { class: "folders" });
  const find = h("input", { type: "search", placeholder: t("find_class"), "aria-label": t("find_class"), oninput: () => paintClasses() });
  const names = h("ul", { class: "names", "aria-label": t("classes") });
  const title = h("h1", { tabindex: "-1" });
  const grid = makeGrid({ label: t("library"), onOpen: (item) => moreLike(item.id), onMore: (item) => moreLike(item.id) });
  const end = h("div", { class: "end", "aria-hidden": "true" });
  const element = h(
    "div",
    { class: "library" },
    h("aside", {}, h("section", { class: "classes" }, h("h2", {}, t("classes")), find, names), h("section", {}, h("h2", {}, t("folders")), folders), h("section", {}, facts)),
    h("section", { class: "results" }, job.element, h("header", { class: "toolbar" }, title), grid.element, end),
  );

  let classes = [];
  let next = 0;
  let loading = false;
  let of = undefined; // which class the grid shows; null: all
  let shownImages = -1;

  const observer = new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && void more(), { rootMargin: "1200px" });
  observer.observe(end);

  async function more() {
    if (loading || next === null || of === undefined || !element.isConnected) return;
    loading = true;
    const wanted = of;
    try {
      const page = await api.page(wanted, next);
      if (wanted !== of) return;
      grid.append(page.items);
      next = page.next;
    } catch (error) {
      next = null;
      toast(error.text, true);
    } finally {
      loading = false;
    }
    if (next !== null && end.getBoundingClientRect().top < innerHeight + 1200) void more();
  }

  function show() {
    const state = server();
    const name = place.names[0] ?? null;
    const images = state.library?.images ?? 0;
    // While a run goes on the grid stays as it is, once there is something in it.
    if (name !== of || (images !== shownImages && (shownImages <= 0 || !RUNNING.includes(state.job.state)))) {
      of = name;
      shownImages = images;
      next = state.library ? 0 : null;
      loading = false;
      grid.show([]);
      void more();
      if (state.library) api.classes().then((found) => { classes = found; paintClasses(); }, () => {});
    }
    paintFacts(state);
    paintFolders(state);
    paintClasses();
  }

  function paintClasses() {
    const state = server();
    const wanted = find.value.trim().toLowerCase();
    const fitting = classes.filter((one) => one.name.toLowerCase().includes(wanted));
    const entry = (name, words, images) => h("li", {}, h("button", { type: "button", "aria-pressed": String(of === name), onclick: () => go({ names: name === null ? [] : [name] }) }, h("span", { class: "name" }, words), h("small", {}, images.toLocaleString())));
    find.hidden = classes.length < 16;
    const focused = names.contains(document.activeElement) ? [...names.querySelectorAll("button")].indexOf(document.activeElement) : -1;
    fill(names, entry(null, t("all_images"), state.library?.images ?? 0), fitting.slice(0, 300).map((one) => entry(one.name, one.name || t("no_class"), one.images)), fitting.length > 300 ? h("li", { class: "hint" }, t("more_classes", { n: fitting.length - 300 })) : null);
    if (focused >= 0) names.querySelectorAll("button")[focused]?.focus();
    const count = of === null ? (state.library?.images ?? 0) : (classes.find((one) => one.name === of)?.images ?? 0);
    fill(title, of === null ? t("library") : of || t("no_class"), " ", h("small", {}, t("images", { n: count })));
  }

  function paintFacts(state) {
    const library = state.library;
    const row = (name, ...value) => [h("dt", {}, name), h("dd", {}, value)];
    if (!library) {
      fill(facts);
      return;
    }
    fill(
      facts,
      row(t("model"), library.model, " ", h("small", {}, t("dimensions", { n: library.dimensions }))),
      row(t("store"), library.store, " ", h("small", { title: library.store_note }, library.store_ready ? t("store_ready") : t("store_not"))),
      library.skipped ? row(t("skipped", { n: library.skipped }), h("button", { type: "button", class: "link", onclick: () => showSkipped().catch((error) => toast(error.text, true)) }, t("skipped_show"))) : null,
      library.missing ? row(t("missing", { n: library.missing }), "") : null,
      row(t("kept_at"), h("code", {}, library.path)),
    );
  }

  function paintFolders(state) {
    const busy = RUNNING.includes(state.job.state);
    fill(
      folders,
      state.folders.map((folder) =>
        h(
          "li",
          {},
          h("code", { title: folder.path }, folder.path),
          h("small", {}, folder.offline ? t("offline") : folder.known ? t("images", { n: folder.images }) : t("new_folder")),
          folder.known
            ? iconButton("refresh", `${t("update")}: ${folder.path}`, () => api.index(folder.number).catch((error) => toast(error.text, true)), { disabled: busy || folder.offline })
            : button(t("index"), () => api.index(folder.number).catch((error) => toast(error.text, true)), { disabled: busy || folder.offline }),
        ),
      ),
    );
  }

  /** The library has changed, perhaps in nothing but its classes. */
  function refresh() {
    shownImages = -1;
  }

  return { element, show, refresh, focusFind: () => find.focus() };
}
