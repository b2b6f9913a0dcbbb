// Before the first query: a place to drop an image, and images of the library to begin with. Without a library: how to get one.

import * as api from "./api.js";
import { EMPTY, go, link } from "./address.js";
import { button, fill, h, icon, report } from "./dom.js";
import { RUNNING } from "./job.js";
import { clamped } from "./layout.js";
import { makePhrase, noWords } from "./phrase.js";
import { choose, moreLike, url } from "./upload.js";
import { listed, makeWall } from "./wall.js";
import { t } from "./words.js";

const SAMPLES = 14; // a little more than two rows take: some 11 are shown, 70 KB

export function makeStart(server, job) {
  const element = h("div", { class: "start" });
  const samples = makeWall({ label: t("from_library"), choosable: false, rows: 2, act: (what, item) => (what === "open" || what === "search") && moreLike(item.id) });
  samples.element.classList.add("strip");
  let drawn = "";
  let field = null; // for words

  function show() {
    const state = server();
    const busy = RUNNING.includes(state.job.state);
    const key = busy && state.library?.images ? "running" : JSON.stringify([state.library?.images ?? -1, state.library?.words, state.folders, busy]); // drawn once while a run goes on
    whole.prepend(job.element);
    if (key === drawn) return;
    drawn = key;
    if (!state.library || state.library.images === 0) first(state, busy);
    else begin(state);
  }

  function begin(state) {
    const touch = matchMedia("(pointer: coarse)").matches;
    const library = state.library;
    field = makePhrase({ hint: t("words_hint"), urls: state.urls_allowed });
    fill(
      element,
      h(
        "section",
        { class: "intake" },
        h("h1", { class: "unseen", tabindex: "-1" }, t("title")),
        h(
          "div",
          { class: "drop-zone" },
          h("button", { type: "button", class: "target", onclick: () => choose("new") }, icon("drop"), h("strong", {}, touch ? t("choose_title") : t("drop_title")), h("span", { class: "button primary" }, touch ? t("choose_photo") : t("choose")), touch ? null : h("small", {}, t("drop_more", { keys: /Mac/.test(navigator.platform) ? "⌘V" : "Ctrl+V" }))),
          touch ? button(t("camera"), () => choose("new", { camera: true }), { class: "button" }, "camera") : null,
        ),
        library.words ? field.element : noWords(state),
        state.urls_allowed ? addressForm() : null,
        h(
          "p",
          { class: "holds" },
          h("a", { href: link({ ...EMPTY, view: "library" }), onclick: (event) => { if (event.ctrlKey || event.metaKey || event.shiftKey) return; event.preventDefault(); go({ ...EMPTY, view: "library" }); } }, t("holds", { n: library.images, classes: t("class_count", { n: library.classes }) })),
        ),
      ),
      h("section", { class: "samples" }, h("h2", {}, t("from_library")), samples.element),
    );
    samples.resize(innerWidth < 900 ? 104 : innerWidth > 2400 ? 240 : 190);
    api.sample(SAMPLES).then((items) => samples.show(listed(items.map((item) => ({ ...item, ratio: clamped(item.width / item.height) })))), (error) => { drawn = ""; report(error); });
  }

  function first(state, busy) {
    const act = (work) => () => work().catch(report);
    const own = state.folders.filter((folder) => !folder.offline);
    const demo = h("div", { class: "first-step" }, h("button", { type: "button", class: own.length ? "button" : "button primary", disabled: busy, onclick: act(api.demo) }, icon("similar"), h("span", {}, t("build_demo"))), h("small", {}, t("build_demo_hint")));
    const mine = own.map((folder, at) => h("div", { class: "first-step" }, button(t("index_folder", { path: folder.path }), act(() => api.index(folder.number)), { disabled: busy, class: at === 0 ? "button primary" : "button" }, "folder")));
    fill(
      element,
      busy
        ? h("section", { class: "intake first" }, h("h1", {}, t("making")), h("p", {}, t("making_hint")))
        : h(
            "section",
            { class: "intake first" },
            h("h1", {}, state.library ? t("empty_library") : t("no_library")),
            h("p", {}, t("no_library_hint")),
            state.read_only ? null : h("div", { class: "first-steps" }, mine, own.length ? h("p", { class: "hint" }, t("or")) : null, demo),
            own.length || state.read_only ? null : h("p", { class: "hint" }, t("allow_hint"), h("br"), h("code", {}, "image-search serve --allow ~/Pictures")),
          ),
    );
  }

  const whole = h("div", { class: "start-view" }, element);
  return { element: whole, show, wall: samples, write: () => field?.input.focus() };
}

function addressForm() {
  const input = h("input", { type: "url", placeholder: t("address"), "aria-label": t("address"), required: true });
  const form = h("form", { class: "address" }, input, h("button", { type: "submit", class: "button" }, t("address_go")));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void url(input.value, "new");
  });
  return form;
}
