// What was chosen: it stays through new searches until it is cleared, and leaves as a list, a table, JSON or copies.

import * as api from "./api.js";
import { button, fill, h, icon, iconButton, report, toast } from "./dom.js";
import { t } from "./words.js";

const ROWS = 500; // asked for together
const COPIES = 2000; // one zip takes so many
const SEEN = 12; // thumbnails in the tray

export function makeTray() {
  const chosen = new Map(kept().map((one) => [one.id, one])); // id -> what is known of it
  const element = document.getElementById("selection");
  const listeners = [];
  let last = null; // whom a range begins with

  function changed() {
    try {
      sessionStorage.setItem("chosen", JSON.stringify([...chosen.values()]));
    } catch {
      // without storage they are kept until the page is left
    }
    paint();
    for (const listener of listeners) listener();
  }

  function paint() {
    const n = chosen.size;
    element.hidden = n === 0;
    document.body.classList.toggle("choosing", n > 0);
    if (!n) {
      fill(element);
      return;
    }
    const item = (words, act) => button(words, () => act().catch(report), {});
    const newest = [...chosen.values()].filter((one) => one.thumbnail).slice(-SEEN).reverse();
    fill(
      element,
      h(
        "div",
        { class: "tray", role: "region", "aria-label": t("chosen", { n }) },
        h("strong", { role: "status" }, t("chosen", { n })),
        h("ul", { class: "tray-pictures" }, newest.map((one) => h("li", {}, h("button", { type: "button", title: `${t("unchoose_one")}: ${one.name || t("nameless")}`, "aria-label": `${t("unchoose_one")}: ${one.name || t("nameless")}`, onclick: () => toggle(one) }, one.thumbnail ? h("img", { src: one.thumbnail, alt: "" }) : null, icon("close"))))),
        h("div", { class: "tray-ways" }, h("span", { class: "words" }, t("take_along")), item(t("export_list"), asList), item(t("export_csv"), asCsv), item(t("export_json"), asJson), item(t("export_zip"), asZip)),
        iconButton("close", t("unchoose"), clear),
      ),
    );
  }

  const light = ({ id, name, thumbnail, rank, similarity, closeness, probability, identical }) => ({ id, name, thumbnail, rank: rank ?? null, similarity: similarity ?? null, closeness: closeness ?? null, probability: probability ?? null, identical: identical ?? false });
  /** A folded match stands for all that look the same: with it go the others. */
  const whole = (match) => [match, ...(match.repeats && !match.expanded ? match.members : [])];

  function put(matches) {
    for (const match of matches) for (const one of whole(match)) chosen.set(one.id, light({ ...light(one), thumbnail: one.thumbnail ?? match.thumbnail }));
  }

  function toggle(match) {
    last = match.id;
    if (chosen.has(match.id)) for (const one of whole(match)) chosen.delete(one.id);
    else {
      put([match]);
      if (match.repeats && !match.expanded) toast(t("chosen_whole", { n: match.repeats + 1 }));
    }
    changed();
  }

  function clear() {
    chosen.clear();
    changed();
  }

  /** What the server knows of them now; those that it no longer has are told, and left out. */
  async function rows() {
    const ids = [...chosen.keys()];
    const found = new Map();
    for (let from = 0; from < ids.length; from += ROWS) for (const row of await api.rows(ids.slice(from, from + ROWS))) found.set(row.id, row);
    const lost = ids.filter((id) => !found.has(id));
    if (lost.length) toast(t("left_library", { n: lost.length }), true);
    return ids.filter((id) => found.has(id)).map((id) => ({ ...chosen.get(id), ...found.get(id) }));
  }

  const asList = async () => save("images.txt", "text/plain", `${(await rows()).map((row) => row.uri).join("\n")}\n`);
  const asJson = async () => {
    const fields = ({ id, name, similarity, closeness, probability, uri, identical, width, height, state }) => ({ id, name, similarity, closeness, probability, uri, identical, width, height, state });
    save("images.json", "application/json", `${JSON.stringify((await rows()).map(fields), null, 2)}\n`);
  };
  const asCsv = async () => {
    const head = ["rank", "name", "similarity", "closeness", "probability", "identical", "width", "height", "state", "path"];
    const lines = (await rows()).map((row) => [row.rank ?? "", row.name, row.similarity ?? "", row.closeness ?? "", row.probability ?? "", row.identical, row.width, row.height, row.state, row.uri]);
    save("images.csv", "text/csv", `\ufeff${[head, ...lines].map((line) => line.map(cell).join(",")).join("\r\n")}\r\n`);
  };

  /** What cannot be copied is said before anything is sent; the zip holds the same list. */
  async function asZip() {
    const all = await rows();
    const there = all.filter((row) => row.state === "here" || row.state === "changed");
    const some = there.slice(0, COPIES);
    const notes = [];
    const count = (state) => all.filter((row) => row.state === state).length;
    for (const state of ["gone", "away", "changed"]) if (count(state)) notes.push(t(`zip_${state}`, { n: count(state) }));
    if (there.length > COPIES) notes.push(t("zip_most", { n: COPIES }));
    if (notes.length) tellLeftOut(all, some.length, notes);
    if (some.length) download(`api/images.zip?${all.slice(0, COPIES).map((row) => `id=${row.id}`).join("&")}`, "images.zip");
  }

  function tellLeftOut(all, copied, notes) {
    const wrong = all.filter((row) => row.state !== "here");
    const dialog = h("dialog", { class: "small wide", "aria-label": t("export_zip"), onclose: () => dialog.remove() });
    fill(
      dialog,
      h("header", {}, h("h2", {}, t("zip_copied", { n: copied, all: all.length })), iconButton("close", t("close"), () => dialog.close())),
      notes.map((note) => h("p", {}, note)),
      h("ul", { class: "paths" }, wrong.slice(0, 100).map((row) => h("li", {}, h("code", {}, row.path), h("small", {}, t(`state_${row.state}`))))),
    );
    document.body.append(dialog);
    dialog.showModal();
  }

  paint();

  return {
    toggle,
    clear,
    add(matches) {
      put(matches);
      changed();
    },
    /** From the one chosen last to this one. */
    range(shown, match) {
      const [from, to] = [shown.findIndex((one) => one.id === last), shown.findIndex((one) => one.id === match.id)];
      if (from < 0) {
        toggle(match);
        return;
      }
      put(shown.slice(Math.min(from, to), Math.max(from, to) + 1));
      changed();
    },
    has: (match) => chosen.has(match.id),
    onChange: (listener) => listeners.push(listener),
    get size() {
      return chosen.size;
    },
  };
}

function kept() {
  try {
    return JSON.parse(sessionStorage.getItem("chosen")) ?? [];
  } catch {
    return [];
  }
}

// What a spreadsheet takes for a formula: these signs, also in full width, at the beginning of a cell. One of another country parts cells by
// other letters than commas and does not see our quotes: for it a cell begins after each of these as well.
// https://owasp.org/www-community/attacks/CSV_Injection
const BEGINS = /^([\t\r\n]|[\s"']*[=+\-@\uff1d\uff0b\uff0d\uff20])/;
const WITHIN = /([;|\t\r\n])(?=[\s"']*[=+\-@\uff1d\uff0b\uff0d\uff20])/g;

/** A cell that no spreadsheet takes for a formula. */
export function cell(value) {
  if (typeof value !== "string") return String(value);
  const text = `${BEGINS.test(value) ? "'" : ""}${value.replace(WITHIN, "$1'")}`;
  return /[",;|\t\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function save(name, type, text) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  download(address, name);
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

function download(address, name) {
  const link = h("a", { href: address, download: name, hidden: true });
  document.body.append(link);
  link.click();
  link.remove();
}
