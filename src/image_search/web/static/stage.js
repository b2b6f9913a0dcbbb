// Two pictures to compare: side by side, under a slider, or flickering; zoomed and moved together.

import { button, fill, h, iconButton, reducedMotion } from "./dom.js";
import { sharpest } from "./upload.js";
import { percent, t } from "./words.js";
import { held, placed, watchZoom } from "./zoom.js";

export const WAYS = ["side", "slider", "flicker"];
const FLICKER_MS = 700; // under three changes a second, which is what is safe to look at
const TINY = 3; // times that a small picture is enlarged at most
const MOST = 8; // window pixels for one of the picture
const GAP = 20; // between the two, as in compare.css

/**
 * How large two pictures of these shapes are drawn in a room of width × height: { row, sizes: [{ w, h }, { w, h }] }.
 *
 * Beside each other at the same height, or one above the other at the same width; at the same area where that shows the smaller one much
 * larger (a panorama beside a portrait). No picture is enlarged more than three times.
 */
export function arranged(width, height, pair, extra = 0) {
  const shape = ({ width: w, height: high }) => w / high;
  const [a, b] = pair.map(shape);
  const capped = (w, high, one) => {
    const share = Math.min(1, (TINY * one.width) / w);
    return { w: w * share, h: high * share };
  };
  const row = Math.min(height - extra, (width - GAP) / (a + b));
  const column = Math.min(width, (height - GAP - 2 * extra) / (1 / a + 1 / b));
  const [ra, rb] = [Math.sqrt(a), Math.sqrt(b)];
  const rowSide = Math.min((width - GAP) / (ra + rb), (height - extra) / Math.max(1 / ra, 1 / rb)); // root of the common area
  const columnSide = Math.min(width / Math.max(ra, rb), (height - GAP - 2 * extra) / (1 / ra + 1 / rb));
  const ways = [
    { row: true, sizes: [a, b].map((r) => [row * r, row]), better: 1 },
    { row: false, sizes: [a, b].map((r) => [column, column / r]), better: 1.25 },
    { row: true, sizes: [ra, rb].map((r) => [rowSide * r, rowSide / r]), better: 2 },
    { row: false, sizes: [ra, rb].map((r) => [columnSide * r, columnSide / r]), better: 2.5 },
  ];
  const worth = (way) => Math.min(...way.sizes.map(([w, high]) => w * high)) / way.better;
  const best = ways.reduce((kept, way) => (worth(way) > worth(kept) * 1.001 ? way : kept));
  const sizes = best.sizes.map(([w, high], n) => capped(w, high, pair[n]));
  const small = sizes.map(({ w }, n) => w < best.sizes[n][0] - 1);
  if (small[0] !== small[1]) {
    // A small picture leaves room, which the other takes.
    const [n, other] = small[0] ? [1, sizes[0]] : [0, sizes[1]];
    const room = best.row ? [width - GAP - other.w, height - extra] : [width, height - GAP - 2 * extra - other.h];
    const wide = Math.min(room[0], room[1] * shape(pair[n]));
    sizes[n] = capped(wide, wide / shape(pair[n]), pair[n]);
  }
  return { row: best.row, sizes };
}

/** Words take what they need of the room, a picture beside them the rest of it. */
export function besideWords(width, height, pair, extra = 0) {
  const row = width >= 640;
  const words = row ? { w: Math.min(320, 0.3 * width), h: Math.min(220, height - extra) } : { w: width, h: 72 };
  const room = row ? [width - GAP - words.w, height - extra] : [width, height - GAP - 2 * extra - words.h];
  const shape = pair[1].width / pair[1].height;
  const wide = Math.min(room[0], room[1] * shape, TINY * pair[1].width);
  return { row, sizes: [words, { w: wide, h: wide / shape }] };
}

/** The same for two that lie on each other: at the same height, or each as large as it can be where one would be much smaller for it. */
export function overlaid(width, height, pair) {
  const shapes = pair.map((one) => one.width / one.height);
  const same = Math.min(height, width / Math.max(...shapes));
  const alone = shapes.map((shape) => Math.min(height, width / shape));
  const tall = alone.map((own) => (own > 1.5 * same ? own : same));
  return shapes.map((shape, n) => {
    const high = Math.min(tall[n], (TINY * pair[n].width) / shape);
    return { w: high * shape, h: high };
  });
}

/** onStep(-1 or 1): a finger has pushed the pictures aside. */
export function makeStage({ onStep }) {
  const pictures = h("div", { class: "pictures" });
  const share = h("output", { class: "share" });
  const single = h("button", { type: "button", class: "one", "aria-pressed": "false", title: t("zoom_single"), "aria-label": t("zoom_single"), onclick: () => toggle() }, "1:1");
  const bar = h("div", { class: "zooms", role: "group", "aria-label": t("zoom") }, iconButton("minus", t("zoom_out"), () => zoomAt(1 / 1.5)), share, iconButton("plus", t("zoom_in"), () => zoomAt(1.5)), single);
  const swapper = button(t("swap"), swap, { class: "button swap", hidden: true }, "swap");
  const element = h("div", { class: "stage" }, pictures, h("div", { class: "under" }, bar, swapper));
  const cut = h("input", { type: "range", min: "0", max: "100", value: "50", "aria-label": t("slider_label"), oninput: () => setCut(Number(cut.value)) });
  const which = h("span", { class: "which", "aria-live": "off" });

  let way = "side";
  let pair = []; // [ours, theirs]: { kind, view or said (words in its place), words, width, height, port, image, fit, sharp }
  let timer = 0;
  let zoom = { scale: 1, single: false, x: 0.5, y: 0.5 }; // single: at 1, a pixel of the picture is one of the screen
  const hands = watchZoom(pictures, { zoom: zoomAt, pan, begin: () => (dragging = null) });
  let dragging = null;

  // --- what is there ------------------------------------------------------------------------------------------------------------

  function show(ours, theirs, wanted) {
    way = wanted;
    clearInterval(timer);
    pair = [make("ours", ours), make("theirs", theirs)];
    element.className = `stage ${way}`;
    const [one, other] = pair.map(({ figure }) => figure);
    if (way === "side") fill(pictures, one, other);
    else if (way === "slider") {
      fill(pictures, h("div", { class: "overlaid" }, other, one, h("span", { class: "tag ours" }, ours.words), h("span", { class: "tag theirs" }, theirs.words), h("div", { class: "divider" }), cut));
      setCut(50);
    } else {
      which.textContent = shown();
      fill(pictures, h("div", { class: "overlaid" }, other, one, which));
    }
    swapper.hidden = way !== "flicker";
    if (way === "flicker" && !reducedMotion.matches) timer = setInterval(flip, FLICKER_MS);
    place();
  }

  /** What ours is called, where it is not what was asked with. */
  const shown = () => pair[0].called ?? t("showing_query");

  function make(kind, one) {
    const image = one.said ? h("blockquote", { class: "said", dir: "auto" }, h("span", {}, t("quoted", { x: one.said }))) : h("img", { src: one.view, alt: one.words, draggable: "false" });
    const port = h("div", { class: "port" }, image);
    const caption = h("figcaption", {}, h("span", { class: "name" }, one.words), h("span", { class: "pixels" }, one.said ? "" : `${one.width} × ${one.height}`));
    image.addEventListener("load", place);
    return { ...one, kind, image, port, figure: h("figure", { class: kind }, port, caption), sharp: false };
  }

  /** A better picture has come for one of them. */
  function better(kind, view) {
    const one = pair.find((each) => each.kind === kind);
    if (one && one.view !== view && !one.sharp) {
      one.view = view;
      one.image.src = view;
    }
  }

  // --- how large, and where ---------------------------------------------------------------------------------------------------------

  const zoomed = () => zoom.single || zoom.scale > 1.001;
  const sizeOf = (one) => (one.said ? one.fit : zoom.single ? { w: (one.width / devicePixelRatio) * zoom.scale, h: (one.height / devicePixelRatio) * zoom.scale } : { w: one.fit.w * zoom.scale, h: one.fit.h * zoom.scale });

  function place() {
    if (!pair.length || !pictures.clientWidth) return;
    const [width, height] = [pictures.clientWidth, pictures.clientHeight];
    if (way === "side") ports(width, height);
    else overlaid(width, height, pair).forEach((fit, n) => (pair[n].fit = fit));
    for (const one of pair) {
      const { w, h: high } = sizeOf(one);
      const [px, py] = [one.port.clientWidth, one.port.clientHeight];
      Object.assign(one.image.style, { width: `${w}px`, height: `${high}px`, transform: `translate(${placed(w, px, zoom.x)}px, ${placed(high, py, zoom.y)}px)` });
      one.image.classList.toggle("pixelated", zoomed() && (w * devicePixelRatio) / one.width >= 4);
      if (zoomed()) void sharpen(one, w);
    }
    const theirs = pair[1];
    share.textContent = percent(Math.round((sizeOf(theirs).w * devicePixelRatio * 100) / theirs.width) / 100);
    single.setAttribute("aria-pressed", String(zoom.single && Math.abs(zoom.scale - 1) < 0.001));
    element.classList.toggle("zoomed", zoomed());
  }

  /** Side by side: the windows through which the two are seen. At rest as large as the pictures; zoomed, all the room there is. */
  function ports(width, height) {
    const caption = pair[0].figure.querySelector("figcaption").offsetHeight + 8;
    const { row, sizes } = (pair[0].said ? besideWords : arranged)(width, height, pair, caption);
    const sum = (side) => sizes[0][side] + sizes[1][side];
    pictures.classList.toggle("column", !row);
    pair.forEach((one, n) => {
      one.fit = sizes[n];
      const part = (side, all) => Math.max(0.3, Math.min(0.7, sizes[n][side] / sum(side))) * all;
      const wide = row ? (zoomed() ? part("w", width - GAP) : sizes[n].w) : zoomed() ? width : Math.max(sizes[0].w, sizes[1].w);
      const high = row ? (zoomed() ? height - caption : Math.max(sizes[0].h, sizes[1].h)) : zoomed() ? part("h", height - GAP - 2 * caption) : sizes[n].h;
      Object.assign(one.port.style, { width: `${wide}px`, height: `${high}px` });
      one.figure.style.width = `${Math.max(wide, Math.min(120, (width - GAP) / 2))}px`;
    });
  }

  async function sharpen(one, wide) {
    const has = one.image.naturalWidth;
    if (one.said || one.sharp || !has || has >= one.width || wide * devicePixelRatio <= has * 1.1) return;
    one.sharp = true;
    const image = new Image();
    image.src = await sharpest(one.view);
    await image.decode().then(() => (one.image.src = image.src), () => {}); // what there is has to do
  }

  // --- closer, farther, aside --------------------------------------------------------------------------------------------------------

  /** The picture under a point of the window, or theirs. */
  function under(x, y) {
    const one = pair.find(({ port }) => {
      const edge = port.getBoundingClientRect();
      return x >= edge.left && x <= edge.right && y >= edge.top && y <= edge.bottom;
    });
    return one ?? pair[1];
  }

  function zoomAt(factor, x = null, y = null) {
    const one = x === null ? pair[1] : under(x, y);
    const pictured = pair.filter((each) => !each.said);
    const least = Math.min(...pictured.map((each) => each.fit.w / (zoom.single ? each.width / devicePixelRatio : each.fit.w)));
    const most = Math.max(least, ...pictured.map((each) => (MOST * each.width) / (zoom.single ? each.width / devicePixelRatio : each.fit.w)));
    about(one, x, y, () => {
      zoom.scale = Math.max(Math.min(1, least), Math.min(most, zoom.scale * factor));
      if (zoom.single && factor < 1 && pair.every((each) => sizeOf(each).w <= each.fit.w)) zoom = { ...zoom, single: false, scale: 1 };
    });
  }

  /** Single pixels, and back. */
  function toggle(x = null, y = null) {
    const on = !zoomed() || (x === null && !(zoom.single && Math.abs(zoom.scale - 1) < 0.001));
    about(x === null ? pair[1] : under(x, y), x, y, () => (zoom = { ...zoom, single: on, scale: 1 }));
  }

  /** Changes the size so that what lies under the point stays there. */
  function about(one, x, y, change) {
    const image = one.image.getBoundingClientRect();
    const share = x === null ? null : { x: (x - image.left) / image.width, y: (y - image.top) / image.height };
    change();
    if (way === "side") ports(pictures.clientWidth, pictures.clientHeight);
    const edge = one.port.getBoundingClientRect();
    const { w, h: high } = sizeOf(one);
    if (share) {
      zoom.x = share.x - (x - edge.left - edge.width / 2) / w;
      zoom.y = share.y - (y - edge.top - edge.height / 2) / high;
    }
    hold(one);
  }

  function pan(dx, dy, one = pair[1]) {
    const { w, h: high } = sizeOf(one);
    zoom.x -= dx / w;
    zoom.y -= dy / high;
    hold(one);
  }

  function hold(one) {
    const { w, h: high } = sizeOf(one);
    zoom.x = held(w, one.port.clientWidth, zoom.x);
    zoom.y = held(high, one.port.clientHeight, zoom.y);
    place();
  }

  // --- by hand ------------------------------------------------------------------------------------------------------------------------

  let lastTap = { time: 0, x: 0, y: 0 };
  let touched = -Infinity; // when a finger was last lifted: a browser may tell of its double tap as well
  pictures.addEventListener("pointerdown", (event) => {
    if (event.button > 1 || hands.count() > 1) return;
    const box = way === "slider" && pictures.querySelector(".overlaid").getBoundingClientRect();
    const atCut = box && (!zoomed() || Math.abs(event.clientX - box.left - (box.width * Number(cut.value)) / 100) < 28);
    if (!atCut && !zoomed() && event.pointerType !== "touch") return;
    if (event.pointerType !== "touch") event.preventDefault(); // no picture is dragged away, no text chosen
    dragging = { id: event.pointerId, x: event.clientX, y: event.clientY, from: event.clientX, cut: atCut, one: under(event.clientX, event.clientY) };
    if (atCut || zoomed()) pictures.setPointerCapture(event.pointerId);
    if (atCut) dragCut(event);
  });
  pictures.addEventListener("pointermove", (event) => {
    if (dragging?.id !== event.pointerId || hands.count() > 1) return;
    if (dragging.cut) dragCut(event);
    else if (zoomed()) pan(event.clientX - dragging.x, event.clientY - dragging.y, dragging.one);
    Object.assign(dragging, { x: event.clientX, y: event.clientY });
  });
  pictures.addEventListener("pointerup", (event) => {
    const was = dragging;
    dragging = null;
    if (event.pointerType === "touch") touched = event.timeStamp;
    if (event.pointerType !== "touch" || was?.id !== event.pointerId) return;
    const aside = event.clientX - was.from;
    if (!was.cut && !zoomed() && Math.abs(aside) > 60) {
      onStep(aside < 0 ? 1 : -1);
      return;
    }
    const near = Math.hypot(event.clientX - lastTap.x, event.clientY - lastTap.y) < 30;
    if (near && event.timeStamp - lastTap.time < 350) {
      lastTap.time = 0;
      toggle(event.clientX, event.clientY);
    } else lastTap = { time: event.timeStamp, x: event.clientX, y: event.clientY };
  });
  pictures.addEventListener("pointercancel", () => (dragging = null));
  pictures.addEventListener("dblclick", (event) => event.timeStamp - touched > 800 && toggle(event.clientX, event.clientY));

  function dragCut(event) {
    const box = pictures.querySelector(".overlaid").getBoundingClientRect();
    setCut(Math.max(0, Math.min(100, (100 * (event.clientX - box.left)) / box.width)));
  }

  function setCut(share) {
    cut.value = share;
    pictures.style.setProperty("--cut", `${share}%`);
    pictures.querySelector(".tag.ours")?.classList.toggle("away", share < 15);
    pictures.querySelector(".tag.theirs")?.classList.toggle("away", share > 85);
  }

  function flip() {
    const theirs = pictures.querySelector(".overlaid").classList.toggle("flipped");
    which.textContent = theirs ? t("showing_match") : shown();
  }

  /** By hand from here on. */
  function swap() {
    clearInterval(timer);
    flip();
  }

  new ResizeObserver(place).observe(pictures);

  return {
    element,
    show,
    better,
    swap,
    /** A key of the keyboard; true: it was one of these. */
    key(name) {
      if (name === "+" || name === "=") zoomAt(1.5);
      else if (name === "-") zoomAt(1 / 1.5);
      else if (name === "0") reset();
      else if (name === "1") toggle();
      else return false;
      return true;
    },
    reset,
    move: (dx, dy) => pan(dx * 60, dy * 60),
    end: () => clearInterval(timer),
  };

  function reset() {
    zoom = { scale: 1, single: false, x: 0.5, y: 0.5 };
    place();
  }
}
