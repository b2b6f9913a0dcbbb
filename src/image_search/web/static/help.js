// The list of keys.

import { fill, h, iconButton } from "./dom.js";
import { t } from "./words.js";

export function showKeys() {
  document.getElementById("keys")?.remove();
  const rows = [
    [["/"], "key_slash"],
    [["←", "→", "↑", "↓"], "key_arrows"],
    [["Enter"], "key_enter"],
    [["m"], "key_m"],
    [["x"], "key_x"],
    [["g"], "key_g"],
    [["c"], "key_c"],
    [["+", "−", "0", "1"], "key_zoom"],
    [["Shift", "←", "→"], "key_move"],
    [["Ctrl", "V"], "key_paste"],
    [["Esc"], "key_esc"],
    [["?"], "key_help"],
  ];
  const dialog = h("dialog", { id: "keys", class: "small", "aria-label": t("help"), onclose: () => dialog.remove() });
  fill(
    dialog,
    h("header", {}, h("h2", {}, t("help")), iconButton("close", t("close"), () => dialog.close())),
    h("dl", {}, rows.map(([keys, words]) => [h("dt", {}, keys.map((key) => h("kbd", {}, key))), h("dd", {}, t(words))])),
  );
  document.body.append(dialog);
  dialog.showModal();
}
