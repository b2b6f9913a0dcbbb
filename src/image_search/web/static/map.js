// The library as a map: points in the colours of their classes, their pictures where there is room, a loop to choose with.

import * as api from "./api.js";
import { EMPTY, go, place } from "./address.js";
import { button, fill, h, iconButton, letter, report } from "./dom.js";
import { clamped } from "./layout.js";
import { makeLooking } from "./looking.js";
import { css, makePoints, palette } from "./points.js";
import * as order from "./tidyapi.js";
import { moreLike } from "./upload.js";
import { listed, makeWall } from "./wall.js";
import { watchZoom } from "./zoom.js";
import { t } from "./words.js";

const ROWS = 500; // asked for together
const MOST_SHOWN = 2000; // of the chosen, as a wall
const FEW = 24; // classes of the legend at first
const REST_MS = 140; // after which pictures are asked for
const LINK_MS = 500; // after which the address says where we are
const PICTURES = 8; // on their way at once

export function makeMap(server, tray) {
  const looking = makeLooking("map", server);
  const told = h("span", { role: "status" });
  const canvas = h("canvas", { class: "map", tabindex: "0", role: "img", "aria-label": t("map_keys"), "aria-describedby": "map-here" });
  const here = h("p", { class: "map-here", id: "map-here", role: "status" });
  const loop = iconButton("region", t("lasso"), () => setLoop(!looping), { "aria-pressed": "false", class: "icon-button loop" });
  const controls = h("div", { class: "map-controls" }, loop, iconButton("plus", t("closer"), () => points.zoomAt(1.6)), iconButton("minus", t("farther"), () => points.zoomAt(1 / 1.6)), iconButton("view", t("whole_map"), () => points.go({ x: 0.5, y: 0.5, zoom: 1 })));
  const legend = h("ul", { class: "legend", "aria-label": t("classes") });
  const more = h("button", { type: "button", class: "link", onclick: () => { open = !open; paintLegend(); } });
  const port = h("div", { class: "map-port" }, canvas, here, controls);
  const chosenHead = h("div", { class: "row" });
  const wall = makeWall({ label: t("chosen_here"), act, isPicked: (item) => tray.has(item) });
  const chosenBox = h("section", { class: "chosen-here", hidden: true }, chosenHead, wall.element);
  const whole = h("div", { class: "map-view", hidden: true }, h("div", { class: "map-columns" }, port, h("aside", {}, h("h2", {}, t("classes")), legend, more)), chosenBox);
  const again = button(t("map_anew"), () => void begin({ fresh: true }), { title: t("map_anew_hint"), hidden: true }, "refresh");
  const element = h("div", { class: "tidy" }, h("section", { class: "results" }, looking.element, whole));

  let ids = null; // numbers, by point; null: there is no map yet
  let codes = null;
  let classes = [];
  let sizes = [];
  let colours = new Uint32Array(0);
  let open = false;
  let looping = false;
  let path = null; // of the loop that is being drawn
  let waiting = 0;
  let writing = 0;
  let wantedNow = [];
  let inWork = 0;
  const rows = new Map(); // point -> row
  const asked = new Set();

  const points = makePoints({ canvas, wanted, onMove: moved });

  // --- what is there -----------------------------------------------------------------------------------------------------------

  async function show() {
    const now = server();
    if (!now.library?.images) {
      forget();
      looking.say({ picture: "folder", title: t(now.library ? "empty_library" : "no_library"), text: t("no_library_hint") });
      return;
    }
    if (!ids) await begin({});
    else paint();
  }

  function forget() {
    ids = null;
    whole.hidden = true;
    again.hidden = true;
    told.textContent = "";
    rows.clear();
    asked.clear();
  }

  async function begin(wish) {
    forget();
    const run = await looking.need(wish, () => void begin(wish));
    if (run === null) return;
    try {
      await load(run);
    } catch (error) {
      if (error.code === "Changed") void begin({});
      else report(error);
    }
  }

  /** All points, part by part. */
  async function load(run) {
    const first = await order.points(run, 0);
    const all = { x: new Float32Array(first.images), y: new Float32Array(first.images), codes: new Uint16Array(first.images) };
    const numbers = [];
    for (let part = first; ; part = await order.points(run, numbers.length)) {
      const at = numbers.length;
      for (const [key, by] of [["x", 65535], ["y", 65535], ["codes", 1]]) unpacked(part[key]).forEach((value, n) => (all[key][at + n] = value / by));
      numbers.push(...part.ids);
      if (numbers.length >= first.images || !part.ids.length) break;
    }
    [ids, codes, classes, sizes] = [numbers, all.codes, first.classes, first.sizes];
    whole.hidden = false;
    again.hidden = Boolean(server().read_only);
    told.textContent = t("map_told", { n: numbers.length });
    points.show(all);
    const [x, y, zoom] = place.spot.split(",").map(Number);
    if ([x, y].every(Number.isFinite) && zoom > 0) points.go({ x, y, zoom });
    dress();
    paint();
  }

  function paint() {
    const on = place.names.length ? new Set(place.names) : null;
    points.light(on && Uint8Array.from(classes, (name) => (on.has(name) ? 1 : 0)));
    paintLegend();
  }

  function dress() {
    if (!classes) return;
    const style = getComputedStyle(document.documentElement);
    const value = (name) => parsed(style.getPropertyValue(name).trim());
    const ground = value("--surface");
    const dark = (ground & 255) < 128;
    colours = palette(classes.length, dark);
    if (classes.length === 1) colours[0] = value("--accent");
    classes.forEach((name, n) => name === "" && (colours[n] = value("--edge")));
    points.paint({ colours, quiet: value("--line"), ground, accent: value("--accent") });
    paintLegend();
  }

  function paintLegend() {
    const shown = classes.slice(0, open ? classes.length : FEW);
    fill(
      legend,
      shown.map((name, n) => {
        const on = place.names.includes(name);
        const dot = h("svg", { class: "dot", viewBox: "0 0 10 10", "aria-hidden": "true" }, h("circle", { cx: 5, cy: 5, r: 5, fill: css(colours[n] ?? 0) }));
        return h("li", {}, h("button", { type: "button", "aria-pressed": String(on), onclick: () => go({ names: on ? place.names.filter((one) => one !== name) : [...place.names, name] }, { replace: true }) }, dot, h("span", {}, name || t("no_class")), h("small", {}, sizes[n].toLocaleString())));
      }),
    );
    more.hidden = classes.length <= FEW;
    more.textContent = open ? t("classes_fewer") : t("classes_all", { n: classes.length });
  }

  // --- pictures ------------------------------------------------------------------------------------------------------------------

  function wanted(indices) {
    wantedNow = indices.filter((n) => !asked.has(n));
    clearTimeout(waiting);
    if (wantedNow.length) waiting = setTimeout(() => void fetchPictures(), REST_MS);
  }

  /** Their rows together, then their thumbnails, a few at once: what is no longer wanted when its turn comes is left out. */
  async function fetchPictures() {
    const mine = ids;
    try {
      await learn(wantedNow);
    } catch (error) {
      report(error);
      return;
    }
    if (mine !== ids) return;
    const next = () => {
      const n = wantedNow.find((one) => !asked.has(one) && rows.has(one));
      if (n === undefined || inWork >= PICTURES) return;
      asked.add(n);
      inWork += 1;
      const image = new Image();
      image.onload = image.onerror = () => {
        inWork -= 1;
        if (mine !== ids) return;
        if (image.naturalWidth) points.put(n, image);
        next();
      };
      image.src = rows.get(n).thumbnail;
      next();
    };
    next();
  }

  async function learn(indices) {
    const unknown = indices.filter((n) => !rows.has(n));
    const at = new Map(unknown.map((n) => [`id:${ids[n]}`, n]));
    for (let from = 0; from < unknown.length; from += ROWS) {
      for (const row of await api.rows([...at.keys()].slice(from, from + ROWS))) if (row) rows.set(at.get(row.id), row);
    }
  }

  // --- where one is ----------------------------------------------------------------------------------------------------------------

  function moved() {
    clearTimeout(writing);
    if (place.view !== "map" || !ids) return;
    writing = setTimeout(() => {
      const { x, y, zoom } = points.view;
      const still = x === 0.5 && y === 0.5 && zoom === 1;
      if (place.view === "map") go({ spot: still ? "" : [x, y, zoom].map((value) => Number(value.toFixed(4))).join(",") }, { replace: true });
      if (document.activeElement === canvas && canvas.matches(":focus-visible")) void tell(middle()).catch(report);
    }, LINK_MS);
  }

  const middle = () => points.hit(canvas.clientWidth / 2, canvas.clientHeight / 2, 60);

  /** What lies here, in words. */
  async function tell(n) {
    if (n < 0) {
      here.textContent = "";
      return;
    }
    const name = () => classes[codes[n]] || t("no_class");
    here.textContent = name();
    await learn([n]);
    const row = rows.get(n);
    if (row) here.textContent = `${name()} · ${row.path.split("/").slice(-2).join("/")}`;
  }

  // --- choosing --------------------------------------------------------------------------------------------------------------------

  function setLoop(on) {
    looping = on;
    loop.setAttribute("aria-pressed", String(on));
    port.classList.toggle("looping", on);
  }

  async function choose(found) {
    points.choose(found.length ? found : null);
    if (!found.length) {
      wall.show(listed([])); // before it is hidden: a wall without a width is not laid out anew
      chosenBox.hidden = true;
      return;
    }
    chosenBox.hidden = false;
    const shown = found.slice(0, MOST_SHOWN);
    const items = () => shown.map((n) => rows.get(n)).filter(Boolean);
    fill(
      chosenHead,
      h("h2", { role: "status" }, t("chosen_on_map", { n: found.length })),
      button(t("choose_these"), () => tray.add(items().filter((item) => !tray.has(item))), { class: "button primary" }, "check"),
      button(t("unchoose"), () => void choose([]), {}, "close"),
      found.length > MOST_SHOWN && h("small", {}, t("first_shown", { n: MOST_SHOWN })),
    );
    try {
      await learn(shown);
    } catch (error) {
      report(error);
    }
    wall.show(listed(items().map((item) => ({ ...item, ratio: clamped(item.width / item.height) }))));
  }

  function act(what, item) {
    if (what === "open" || what === "search") moreLike(item.id);
    else if (what === "choose" || what === "range") tray.toggle(item);
    else if (what === "more") go({ ...EMPTY, parts: [{ id: item.id, less: false, region: null }] });
  }

  tray.onChange(() => wall.marks());

  // --- by hand and by keyboard --------------------------------------------------------------------------------------------------------

  let drag = null;
  const inCanvas = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const hands = watchZoom(canvas, {
    zoom: (factor, x, y) => {
      const box = canvas.getBoundingClientRect();
      points.zoomAt(factor, x - box.left, y - box.top);
    },
    pan: (dx, dy) => points.pan(dx, dy),
    begin: () => stopDrag(),
  });

  function stopDrag() {
    drag = null;
    path = null;
    points.lasso(null);
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button || hands.count() > 1) return;
    const [x, y] = inCanvas(event);
    drag = { id: event.pointerId, x, y, far: 0 };
    if (looping || event.shiftKey) path = [[x, y]];
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    const [x, y] = inCanvas(event);
    if (!drag) {
      if (event.pointerType !== "touch") hover(x, y);
      return;
    }
    if (drag.id !== event.pointerId || hands.count() > 1) return;
    drag.far += Math.hypot(x - drag.x, y - drag.y);
    if (path) {
      path.push([x, y]);
      points.lasso(path);
    } else if (drag.far > 4) points.pan(x - drag.x, y - drag.y);
    Object.assign(drag, { x, y });
  });
  canvas.addEventListener("pointerup", (event) => {
    const [was, drawn] = [drag, path];
    stopDrag();
    if (!was || was.id !== event.pointerId) return;
    if (drawn && was.far > 10) {
      void choose(points.inside(drawn));
      setLoop(false);
    } else if (was.far <= 4) {
      const n = points.hit(was.x, was.y);
      if (n >= 0) moreLike(`id:${ids[n]}`);
    }
  });
  canvas.addEventListener("pointercancel", stopDrag);
  canvas.addEventListener("focus", () => points.cross(canvas.matches(":focus-visible")));
  canvas.addEventListener("blur", () => points.cross(false));

  let hovering = 0;
  function hover(x, y) {
    clearTimeout(hovering);
    const n = points.hit(x, y, 8);
    canvas.classList.toggle("over", n >= 0);
    hovering = setTimeout(() => void tell(n).catch(report), 60);
  }

  function keys(event) {
    if (whole.hidden || event.target.closest("button, a, .wall, input")) return false;
    const key = letter(event);
    const step = event.shiftKey ? 240 : 80;
    const aside = { ArrowLeft: [step, 0], ArrowRight: [-step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] }[event.key];
    const n = key === "Enter" ? middle() : -1;
    if (aside) points.pan(...aside);
    else if (key === "+" || key === "=") points.zoomAt(1.5);
    else if (key === "-") points.zoomAt(1 / 1.5);
    else if (key === "0") points.go({ x: 0.5, y: 0.5, zoom: 1 });
    else if (key === "o") setLoop(!looping);
    else if (key === "Escape" && (looping || path)) setLoop(false);
    else if (key === "Escape" && !chosenBox.hidden) void choose([]);
    else if (n >= 0) moreLike(`id:${ids[n]}`);
    else return false;
    if (document.activeElement !== canvas) canvas.focus({ preventScroll: true });
    return true;
  }

  new MutationObserver(dress).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", dress);

  return {
    element,
    told,
    tools: [again],
    show,
    keys,
    enter() {
      scrollTo({ top: 0, behavior: "instant" });
      points.later();
    },
    leave() {
      clearTimeout(writing);
      looking.leave();
    },
    refresh() {
      ids = null;
    },
  };
}

/** "#aabbcc" as 0xAABBGGRR. */
function parsed(text) {
  const value = Number.parseInt(text.slice(1), 16);
  return ((255 << 24) | ((value & 255) << 16) | (value & 0xff00) | (value >> 16)) >>> 0;
}

function unpacked(text) {
  const bytes = Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Uint16Array.from({ length: bytes.length / 2 }, (_, n) => view.getUint16(2 * n, true));
}
