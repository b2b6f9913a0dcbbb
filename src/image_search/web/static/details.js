// What is known of a match, and what can be done with it: beside the two pictures.

import * as api from "./api.js";
import { button, fill, h, iconButton, toast } from "./dom.js";
import { hasProbability, nearness } from "./scale.js";
import { sharpest } from "./upload.js";
import { bytes, cosine, day, fitting, percent, t, wallClock } from "./words.js";

const LOCAL = new Set(["127.0.0.1", "localhost", "[::1]"]);

/** onThisMachine: files may be opened, and shown in their folders, where the page is looked at. Other parameters: see compare.js. */
export function makeDetails({ selection, onMore, onLike, onLess, onThisMachine }) {
  const element = h("div", { class: "sheet" });
  let match = null;

  /** facts: of the server; undefined while they are on their way. */
  function show(shown, facts) {
    match = shown;
    const path = h("code", { class: "path", tabindex: "0" }, facts?.path ?? match.path);
    fill(
      element,
      h("div", { class: "big" }, h("strong", {}, cosine(match.similarity)), h("span", {}, t("similarity"))),
      hasProbability(match) ? h("p", { class: "hint" }, t("probability_is", { x: fitting(match.probability) })) : null,
      match.closeness === null ? null : h("p", { class: "hint" }, h("b", {}, nearness(match)), ` · ${t("closeness_is", { x: percent(match.closeness) })}`),
      h(
        "div",
        { class: "actions" },
        button(t("drop_new"), () => onMore(match.id), { class: "button primary", title: `${t("drop_new")} (s)` }, "similar"),
        h("div", { class: "halves" }, button(t("like"), () => onLike(match.id), { title: `${t("like")} (m)` }, "plus"), button(t("less"), () => onLess(match.id), { title: `${t("less")} (l)` }, "minus")),
        button(t("choose_it"), () => pick(), { class: "button pick", title: t("pick") }, "check"),
      ),
      listOf(facts),
      h("div", { class: "where" }, path, iconButton("copy", t("copy_path"), () => copyPath(facts?.uri ?? match.uri, path))),
      facts && h("div", { class: "file", role: "group", "aria-label": t("facts_file") }, fileActions(facts)),
    );
    marks();
  }

  function listOf(facts) {
    const row = (name, value) => value && [h("dt", {}, name), h("dd", {}, value)];
    return h(
      "dl",
      {},
      row(t("facts_class"), match.name),
      row(t("facts_size"), `${match.width} × ${match.height}`),
      facts && row(t("facts_file"), `${facts.format}, ${bytes(facts.bytes)}`),
      facts?.captured ? row(t("facts_taken"), wallClock(facts.captured)) : facts?.modified && row(t("facts_date"), day(facts.modified)),
      Object.entries(facts?.annotations ?? {}).map(([name, value]) => row(name, value)),
      facts?.copies ? row(t("facts_copies"), t("copies", { n: facts.copies })) : null,
      facts && stateOf(facts) !== "here" ? row(t("facts_state"), t(`state_${stateOf(facts)}`)) : null,
    );
  }

  /** Nothing is offered that cannot be done: a file that is gone is neither opened nor sent. */
  function fileActions(facts) {
    const there = stateOf(facts) === "here";
    const here = onThisMachine && LOCAL.has(location.hostname);
    const done = (work, words = null) => () => work().then(() => words && toast(t(words)), (error) => error.name !== "AbortError" && toast(error.text ?? error.message, true));
    return [
      there && here && button(t("open_file"), done(() => api.open(match.id, "open"), "opened"), {}, "open"),
      there && here && button(t("show_in_folder"), done(() => api.open(match.id, "reveal"), "opened"), {}, "folder"),
      there && button(t("download"), done(() => download(match)), {}, "down"),
      globalThis.ClipboardItem && navigator.clipboard?.write && button(t("copy_picture"), done(() => copyPicture(facts), "picture_copied"), {}, "picture"),
    ];
  }

  function marks() {
    const node = element.querySelector(".pick");
    if (!node || !match) return;
    const on = selection.has(match);
    node.setAttribute("aria-pressed", String(on));
    node.lastChild.textContent = on ? t("chosen_it") : t("choose_it");
  }

  function pick() {
    selection.toggle(match);
    marks();
  }

  return { element, show, marks, pick };
}

/** "here", "gone", "away" or "changed"; of a server that says less, whether it is there. */
const stateOf = (facts) => facts.state ?? (facts.gone ? "gone" : facts.offline ? "away" : "here");

/** Asked for first, so that what is wrong is said here and not in the file that is saved. */
async function download(match) {
  const address = URL.createObjectURL(await api.blob(`api/images/${encodeURIComponent(match.id)}/file`));
  const link = h("a", { href: address, download: match.path.split(/[\\/]/).at(-1), hidden: true });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

/** As PNG, which every program takes, with all the pixels that the server shows. */
async function copyPicture(facts) {
  const png = async () => {
    const picture = await createImageBitmap(await api.blob(await sharpest(facts.view)));
    const canvas = document.createElement("canvas");
    Object.assign(canvas, { width: picture.width, height: picture.height });
    canvas.getContext("2d").drawImage(picture, 0, 0);
    return new Promise((done) => canvas.toBlob(done, "image/png"));
  };
  await navigator.clipboard.write([new ClipboardItem({ "image/png": png() })]);
}

async function copyPath(text, node) {
  try {
    await navigator.clipboard.writeText(text);
    toast(t("copied"));
  } catch {
    getSelection().selectAllChildren(node);
    toast(t("copy_by_hand"));
  }
}
