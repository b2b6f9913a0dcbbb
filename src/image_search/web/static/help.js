// The list of keys: all of them.

import { fill, h, iconButton } from "./dom.js";
import { t } from "./words.js";

const KEYS = {
  keys_wall: [
    [["←", "→", "↑", "↓", "Home", "End"], "key_arrows"],
    [["Enter"], "key_enter"],
    [["s"], "key_s"],
    [["m"], "key_m"],
    [["l"], "key_l"],
    [["x"], "key_x"],
    [["Shift", "→"], "key_range"],
    [["g"], "key_g"],
  ],
  keys_compare: [
    [["←", "→"], "key_step"],
    [["c"], "key_c"],
    [["Space"], "key_swap"],
    [["+", "−", "0", "1"], "key_zoom"],
    [["Shift", "←", "→"], "key_move"],
    [["s", "m", "l", "x"], "key_same"],
  ],
  keys_page: [
    [["/"], "key_slash"],
    [["f"], "key_f"],
    [["w"], "key_w"],
    [["Ctrl", "V"], "key_paste"],
    [["Esc"], "key_esc"],
    [["?"], "key_help"],
  ],
};

/** own: those of the view that is looked at, under its name; null: those of the walls. */
export function showKeys(own = null) {
  const lists = own ? { ...own, keys_page: KEYS.keys_page } : KEYS;
  document.getElementById("keys")?.remove();
  const dialog = h("dialog", { id: "keys", class: "small wide", "aria-label": t("help"), onclose: () => dialog.remove() });
  fill(
    dialog,
    h("header", {}, h("h2", {}, t("help")), iconButton("close", t("close"), () => dialog.close())),
    h(
      "div",
      { class: "key-lists" },
      Object.entries(lists).map(([group, rows]) => h("section", {}, h("h3", {}, t(group)), h("dl", {}, rows.map(([keys, words]) => [h("dt", {}, keys.map((key) => h("kbd", {}, key === "Space" ? t("space") : key))), h("dd", {}, t(words))])))),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
}
