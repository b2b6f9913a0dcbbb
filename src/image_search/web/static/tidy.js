// Order in the library: three views and the way between them. Loaded when one of them is first wanted.

import { EMPTY, go, link, place } from "./address.js";
import { fill, h } from "./dom.js";
import { makeCheck } from "./check.js";
import { makeGroups } from "./groups.js";
import { makeMap } from "./map.js";
import { t } from "./words.js";

const VIEWS = ["groups", "check", "map"];

// Their keys.
const KEYS = {
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

export function makeTidy(server, tray) {
  const made = { groups: makeGroups(server, tray), check: makeCheck(server, tray), map: makeMap(server, tray) };
  for (const name of VIEWS) {
    const view = made[name];
    view.help = { [name]: KEYS[name] };
    const tabs = h("nav", { class: "ways", "aria-label": t("tidy") });
    const title = h("h1", { tabindex: "-1", class: "unseen" }, t(name));
    view.element.prepend(h("div", { class: "bar tidy-bar" }, title, tabs, h("p", { class: "here told" }, view.told), h("div", { class: "tools" }, view.tools)));
    fill(tabs, VIEWS.map((one) => h("a", { href: link({ ...EMPTY, view: one }), "aria-current": one === name ? "page" : null, onclick: (event) => follow(event, one) }, t(one))));
  }
  return made;
}

function follow(event, view) {
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return; // a new tab is wanted
  event.preventDefault();
  if (view !== place.view) go({ ...EMPTY, view });
}
