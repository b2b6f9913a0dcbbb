// Before the first query: a place to drop an image, and images of the library to begin with. Without a library: how to get one.

import * as api from "./api.js";
import { button, fill, h, icon, toast } from "./dom.js";
import { choose, moreLike, url } from "./upload.js";
import { makeGrid } from "./grid.js";
import { RUNNING } from "./job.js";
import { t } from "./words.js";

export function makeStart(server, job) {
  const element = h("div", { class: "start" });
  let drawn = "";

  function show() {
    const state = server();
    const busy = RUNNING.includes(state.job.state);
    const key = busy && state.library?.images ? "running" : JSON.stringify([state.library?.images ?? -1, state.folders, busy]); // drawn once while a run goes on
    if (key === drawn) return;
    drawn = key;
    if (!state.library || state.library.images === 0) first(state, busy);
    else begin(state);
  }

  function begin(state) {
    const strip = makeGrid({ label: t("from_library"), onOpen: (item) => moreLike(item.id) });
    strip.element.classList.add("strip");
    fill(
      element,
      h(
        "section",
        { class: "intake" },
        h("h1", { class: "unseen", tabindex: "-1" }, t("title")),
        h("button", { type: "button", class: "target", onclick: () => choose("new") }, icon("drop"), h("strong", {}, t("drop_title")), h("span", { class: "button primary" }, t("choose")), h("small", {}, t("drop_more", { keys: /Mac/.test(navigator.platform) ? "⌘V" : "Ctrl+V" }))),
        state.urls_allowed ? addressForm() : null,
      ),
      h("section", { class: "samples" }, h("h2", {}, t("from_library")), strip.element),
    );
    api.sample(24).then((items) => strip.show(items), (error) => toast(error.text, true));
  }

  function first(state, busy) {
    const act = (work) => () => work().catch((error) => toast(error.text, true));
    fill(
      element,
      h(
        "section",
        { class: "intake first" },
        h("h1", {}, state.library ? t("empty_library") : t("no_library")),
        h("p", {}, t("no_library_hint")),
        h(
          "div",
          { class: "first-steps" },
          h("button", { type: "button", class: "button primary", disabled: busy, onclick: act(api.demo) }, icon("similar"), h("span", {}, t("build_demo"))),
          h("small", {}, t("build_demo_hint")),
          state.folders.map((folder) => button(t("index_folder", { path: folder.path }), act(() => api.index(folder.number)), { disabled: busy || folder.offline }, "folder")),
        ),
        h("p", { class: "hint" }, t("allow_hint"), h("br"), h("code", {}, "image-search serve --allow ~/Pictures")),
      ),
    );
  }

  return { element: h("div", {}, job.element, element), show };
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
