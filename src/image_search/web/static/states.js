// What is so and what to do, where there is nothing else to show: one form for all of them.

import { button, h, icon } from "./dom.js";

/** actions: [words, function, icon name] each; the first is the one most people want. */
export function makeState({ picture, title, text = "", actions = [], code = "" }) {
  return h(
    "div",
    { class: "state", role: "status" },
    icon(picture),
    h("h2", {}, title),
    text && h("p", {}, text),
    code && h("code", {}, code),
    actions.length > 0 && h("div", { class: "row" }, actions.map(([words, act, name], at) => button(words, act, { class: at === 0 ? "button primary" : "button" }, name))),
  );
}
