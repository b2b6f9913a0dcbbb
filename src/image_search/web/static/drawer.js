// What stands beside the pictures on a wide window, and is a sheet on a narrow one.

import { h, icon } from "./dom.js";
import { makeSheet, narrow } from "./sheet.js";

/** kept: under which name it is remembered whether it is open. */
export function makeDrawer({ title, content, kept, picture }) {
  const number = h("b", { class: "number", hidden: true });
  const opener = h("button", { type: "button", class: "button", "aria-label": title, title, onclick: () => toggle() }, icon(picture), h("span", { class: "words" }, title), " ", number);
  const sheet = makeSheet({ title, content: [], opener });
  const element = h("aside", { class: "drawer", "aria-label": title });
  let open = remembered(kept);

  function put() {
    if (narrow.matches) {
      element.hidden = true;
      sheet.body().replaceChildren(content);
    } else {
      sheet.close();
      element.hidden = !open;
      if (content.parentElement !== element) element.replaceChildren(content);
      opener.setAttribute("aria-expanded", String(open));
      opener.removeAttribute("aria-haspopup");
    }
  }

  function set(on) {
    open = on;
    try {
      localStorage.setItem(kept, on ? "open" : "closed");
    } catch {
      // without storage it is good for this visit
    }
    put();
  }

  function toggle() {
    if (narrow.matches) sheet.toggle();
    else set(!open);
  }

  narrow.addEventListener("change", put);
  put();

  return {
    element,
    button: opener,
    toggle,
    close: () => narrow.matches && sheet.close(),
    open() {
      if (narrow.matches) sheet.open();
      else set(true);
    },
    /** How many are on. */
    count(n) {
      number.hidden = n === 0;
      number.textContent = String(n);
      opener.setAttribute("aria-label", n ? `${title} ${n}` : title);
    },
  };
}

function remembered(kept) {
  try {
    const found = localStorage.getItem(kept);
    if (found) return found === "open";
  } catch {
    // no storage: as the window is
  }
  return innerWidth >= 1200;
}
