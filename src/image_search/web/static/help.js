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

// Of the views of order: shown where one of them is looked at.
const KEYS_OF = {
  groups: [
    [["←", "→", "↑", "↓"], "key_groups_go"],
    [["Enter"], "key_groups_open"],
    [["n"], "key_groups_n"],
    [["v"], "key_groups_v"],
    [["u"], "key_groups_u"],
    [["x", "s"], "key_x_s"],
  ],
  check: [
    [["↓", "↑"], "key_check_go"],
    [["Enter"], "key_check_open"],
    [["x", "s"], "key_x_s"],
  ],
  map: [
    [["←", "→", "↑", "↓"], "key_map_go"],
    [["+", "−", "0"], "key_map_zoom"],
    [["o"], "key_map_loop"],
    [["Enter"], "key_map_enter"],
  ],
};

/** view: the one that is looked at. */
export function showKeys(view = "") {
  const lists = KEYS_OF[view] ? { [view]: KEYS_OF[view], keys_page: KEYS.keys_page } : KEYS;
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
