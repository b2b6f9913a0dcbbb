// The folders of the library, brought up to date from here, and what is known of the library itself.

import * as api from "./api.js";
import { button, fill, h, icon, report } from "./dom.js";
import { RUNNING, showSkipped } from "./job.js";
import { makeSheet } from "./sheet.js";
import { t } from "./words.js";

export function makeFolders(server) {
  const opener = h("button", { type: "button", class: "button", "aria-label": t("folders"), title: t("folders"), onclick: () => sheet.toggle() }, icon("folder"), h("span", { class: "words" }, t("folders")));
  const list = h("ul", { class: "folders" });
  const facts = h("dl", { class: "facts" });
  const allow = h("p", { class: "hint" }, t("allow_hint"), " ", h("code", {}, "image-search serve --allow ~/Pictures"));
  const sheet = makeSheet({ title: t("folders"), content: [list, allow, facts], opener, kind: "folders-panel" });

  function index(folder) {
    api.index(folder.number).catch(report);
    sheet.close();
  }

  function show() {
    const state = server();
    const busy = RUNNING.includes(state.job.state);
    const stopped = state.job.state === "stopped" ? state.job : null;
    fill(
      list,
      state.folders.map((folder) => {
        const part = stopped && stopped.folder === folder.path && stopped.total > stopped.done;
        const words = folder.offline ? t("folder_away") : part ? t("part_indexed", { done: stopped.done, total: stopped.total }) : folder.known ? t("images", { n: folder.images }) : t("new_folder");
        const act = part ? t("go_on") : folder.known ? t("update") : t("index");
        return h("li", {}, h("code", { title: folder.path }, folder.path), h("small", {}, words), folder.offline || state.read_only ? null : button(act, () => index(folder), { class: folder.known && !part ? "button" : "button primary", disabled: busy, "aria-label": `${act}: ${folder.path}` }, folder.known ? "refresh" : "plus"));
      }),
    );
    allow.hidden = Boolean(state.read_only);
    paintFacts(state.library);
  }

  function paintFacts(library) {
    const row = (name, ...value) => [h("dt", {}, name), h("dd", {}, value)];
    fill(
      facts,
      library && [
        row(t("model"), library.model, " ", h("small", {}, t("dimensions", { n: library.dimensions }))),
        row(t("store"), t(library.store_ready || library.store === library.path ? "store_ready" : "store_not", { x: library.store })),
        library.skipped ? row(t("skipped_label"), h("button", { type: "button", class: "link", onclick: () => { sheet.close(); showSkipped().catch(report); } }, t("skipped", { n: library.skipped }))) : null,
        library.missing ? row(t("missing_label"), t("missing", { n: library.missing })) : null,
        row(t("kept_at"), h("code", {}, library.path)),
      ],
    );
  }

  return { button: opener, show, open: sheet.open };
}
