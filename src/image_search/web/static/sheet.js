// A panel that opens below a button; where the window is narrow it is a sheet at the bottom, over everything else.

import { fill, h, iconButton } from "./dom.js";
import { t } from "./words.js";

export const narrow = matchMedia("(max-width: 899px)");

/** opener: the button that it belongs to. modal: also on a wide window. onClose: afterwards. */
export function makeSheet({ title, content, opener, kind = "", modal = false, onClose = null }) {
  const dialog = h(
    "dialog",
    { class: `sheet-panel ${kind}`, "aria-label": title, onclose: () => closed(), onkeydown: (event) => event.key === "Escape" && close(event) },
    h("div", { class: "sheet-head" }, h("h2", {}, title), iconButton("close", t("close"), () => close())),
    h("div", { class: "sheet-body" }, content),
  );
  opener.setAttribute("aria-expanded", "false");
  opener.setAttribute("aria-haspopup", "dialog");
  dialog.addEventListener("click", (event) => event.target === dialog && close()); // beside it, on what lies behind
  addEventListener("pointerdown", (event) => dialog.open && !dialog.matches(":modal") && !dialog.contains(event.target) && !opener.contains(event.target) && kind !== "region-panel" && close());

  function open() {
    if (dialog.open) return;
    document.body.append(dialog);
    if (modal || narrow.matches) dialog.showModal();
    else {
      const at = opener.getBoundingClientRect();
      dialog.style.top = `${Math.round(at.bottom + 8)}px`;
      dialog.style.setProperty("--room", `${Math.round(innerHeight - at.bottom - 24)}px`);
      dialog.show();
      const wide = dialog.getBoundingClientRect().width;
      dialog.style.left = `${Math.round(Math.max(8, Math.min(at.left, innerWidth - wide - 24)))}px`;
    }
    opener.setAttribute("aria-expanded", "true");
  }

  function close(event = null) {
    if (!dialog.open) return;
    event?.preventDefault();
    event?.stopPropagation();
    const inside = dialog.contains(document.activeElement);
    dialog.close();
    if (inside || event) opener.focus({ preventScroll: true });
  }

  function closed() {
    dialog.style.removeProperty("top");
    dialog.style.removeProperty("left");
    dialog.remove();
    opener.setAttribute("aria-expanded", "false");
    onClose?.();
  }

  return {
    open,
    close,
    toggle: () => (dialog.open ? close() : open()),
    get isOpen() {
      return dialog.open;
    },
    setContent: (...parts) => fill(dialog.querySelector(".sheet-body"), ...parts),
    body: () => dialog.querySelector(".sheet-body"),
  };
}
