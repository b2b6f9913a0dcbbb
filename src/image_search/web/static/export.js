// The images that were chosen, and the ways to take them along.

import { fill, h, icon, iconButton } from "./dom.js";
import { t } from "./words.js";

export function makeSelection(onChange) {
  const chosen = new Map(); // id -> match
  const element = document.getElementById("selection");

  function changed() {
    element.hidden = chosen.size === 0;
    document.body.classList.toggle("choosing", chosen.size > 0);
    if (chosen.size) {
      const item = (words, action) => h("button", { type: "button", class: "button", onclick: action }, icon("down"), h("span", {}, words));
      fill(
        element,
        h("div", { class: "selection", role: "region", "aria-label": t("chosen", { n: chosen.size }) }, h("strong", {}, t("chosen", { n: chosen.size })), item(t("export_list"), asList), item(t("export_csv"), asCsv), item(t("export_json"), asJson), item(t("export_zip"), asZip), iconButton("close", t("unchoose"), clear)),
      );
    } else fill(element);
    onChange();
  }

  function toggle(match) {
    if (!chosen.delete(match.id)) chosen.set(match.id, match);
    changed();
  }

  function clear() {
    chosen.clear();
    changed();
  }

  const rows = () => [...chosen.values()];
  const asList = () => save("images.txt", "text/plain", `${rows().map((row) => row.uri).join("\n")}\n`);
  const asJson = () => {
    const fields = ({ id, name, similarity, closeness, uri, identical, width, height }) => ({ id, name, similarity, closeness, uri, identical, width, height });
    save("images.json", "application/json", `${JSON.stringify(rows().map(fields), null, 2)}\n`);
  };
  const asCsv = () => {
    const head = ["rank", "name", "similarity", "closeness", "identical", "width", "height", "path"];
    const lines = rows().map((row) => [row.rank, row.name, row.similarity, row.closeness ?? "", row.identical, row.width, row.height, row.uri]);
    save("images.csv", "text/csv", `\ufeff${[head, ...lines].map((line) => line.map(cell).join(",")).join("\r\n")}\r\n`);
  };
  const asZip = () => download(`api/images.zip?${new URLSearchParams(rows().slice(0, 500).map((row) => ["id", row.id]))}`, "images.zip");

  return {
    toggle,
    clear,
    add(matches) {
      for (const match of matches) chosen.set(match.id, match);
      changed();
    },
    has: (match) => chosen.has(match.id),
    get size() {
      return chosen.size;
    },
  };
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
