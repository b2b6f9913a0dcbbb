// A box on the query image: drag to draw, drag inside to move, keys to do both without a mouse. The picture zooms under it.

import { h, iconButton } from "./dom.js";
import { t } from "./words.js";
import { sharpest } from "./upload.js";
import { held, placed, watchZoom } from "./zoom.js";

const STEP = 0.02; // of the side that is seen, for each press of a key
const MOST = 8; // window pixels for one of the picture
const LARGE = 480; // window pixels from which a soft picture is seen to be soft
const SHAPES = [0.5, 2]; // of the frame, width : height; a longer picture gets room above and below, and is zoomed into

/** onChange(region or null) in pixels of the whole upright picture. */
export function makeRegion(image, width, height, region, onChange) {
  const box = h("div", { class: "box", tabindex: "0", role: "group", "aria-label": t("region_box"), hidden: true, onkeydown: keys });
  const layer = h("div", { class: "layer" }, image, box);
  const closer = iconButton("plus", t("zoom_in"), () => zoomAt(1.6));
  const farther = iconButton("minus", t("zoom_out"), () => zoomAt(1 / 1.6));
  const frame = h("div", { class: region ? "region by-touch" : "region" }, layer, h("div", { class: "zooms" }, farther, closer));
  frame.style.setProperty("--shape", String(Math.max(SHAPES[0], Math.min(SHAPES[1], width / height))));
  const hands = watchZoom(frame, { zoom: zoomAt, pan, begin: () => stop() });
  let at = region; // {x, y, w, h} in picture pixels
  let touch = region !== null; // fingers draw only when asked to: otherwise they scroll
  let drawing = false;
  let stop = () => {}; // what is being drawn is given up
  let scale = 1; // 1: all of it is seen
  let centre = { x: 0.5, y: 0.5 }; // of what is seen, in shares of the picture
  let sharp = false;

  // --- what is seen ---------------------------------------------------------------------------------------------------------------

  const fit = () => Math.min(frame.clientWidth / width, frame.clientHeight / height) || 1;
  const most = () => Math.max(1, MOST / fit());
  const size = () => ({ w: width * fit() * scale, h: height * fit() * scale });

  /** A box too small to be seen is come closer to. */
  function comeCloser() {
    const seen = Math.max((at.w * fit()) / frame.clientWidth, (at.h * fit()) / frame.clientHeight);
    if (seen > 0.15) return;
    scale = Math.min(most(), 0.35 / seen);
    centre = { x: (at.x + at.w / 2) / width, y: (at.y + at.h / 2) / height };
  }

  let begun = false;
  function place() {
    if (!begun && at && frame.clientWidth) comeCloser();
    begun ||= frame.clientWidth > 0;
    const { w, h: high } = size();
    const [px, py] = [frame.clientWidth, frame.clientHeight];
    centre = { x: held(w, px, centre.x), y: held(high, py, centre.y) };
    Object.assign(layer.style, { width: `${w}px`, height: `${high}px`, left: `${placed(w, px, centre.x)}px`, top: `${placed(high, py, centre.y)}px` });
    closer.disabled = scale >= most() * 0.999;
    farther.disabled = scale <= 1.001;
    frame.classList.toggle("zoomed", scale > 1.001);
    const near = scale > 1.001 || px > LARGE;
    if (near && !sharp && image.naturalWidth && w * devicePixelRatio > image.naturalWidth * 1.3 && image.naturalWidth < width) void sharpen();
  }

  /** Without a point of the window: about the box, or the middle. */
  function zoomAt(factor, x = null, y = null) {
    const edge = frame.getBoundingClientRect();
    const before = layer.getBoundingClientRect();
    const about = x === null ? (at ? { x: (at.x + at.w / 2) / width, y: (at.y + at.h / 2) / height } : centre) : { x: (x - before.left) / before.width, y: (y - before.top) / before.height };
    scale = Math.max(1, Math.min(most(), scale * factor));
    const { w, h: high } = size();
    centre = x === null ? about : { x: about.x - (x - edge.left - edge.width / 2) / w, y: about.y - (y - edge.top - edge.height / 2) / high };
    place();
  }

  function pan(dx, dy) {
    const { w, h: high } = size();
    centre = { x: centre.x - dx / w, y: centre.y - dy / high };
    place();
  }

  /** More pixels for closer looks. */
  async function sharpen() {
    sharp = true;
    const better = new Image();
    better.src = await sharpest(image.getAttribute("src"));
    await better.decode().then(() => (image.src = better.src), () => {}); // what there is has to do
  }

  new ResizeObserver(place).observe(frame);
  image.addEventListener("load", place);

  // --- the box --------------------------------------------------------------------------------------------------------------------

  function paint() {
    box.hidden = at === null;
    if (at === null) return;
    box.style.left = `${(100 * at.x) / width}%`;
    box.style.top = `${(100 * at.y) / height}%`;
    box.style.width = `${(100 * at.w) / width}%`;
    box.style.height = `${(100 * at.h) / height}%`;
  }

  function set(x, y, w, hh) {
    w = Math.round(Math.max(1, Math.min(w, width)));
    hh = Math.round(Math.max(1, Math.min(hh, height)));
    at = { x: Math.round(Math.max(0, Math.min(x, width - w))), y: Math.round(Math.max(0, Math.min(y, height - hh))), w, h: hh };
    paint();
  }

  const point = (event) => {
    const edge = layer.getBoundingClientRect();
    const clamp = (value) => Math.max(0, Math.min(1, value));
    return [clamp((event.clientX - edge.left) / edge.width) * width, clamp((event.clientY - edge.top) / edge.height) * height];
  };

  frame.addEventListener("pointerdown", (event) => {
    if (event.target.closest("button")) return;
    if (event.button === 1) {
      event.preventDefault();
      dragPan(event);
      return;
    }
    if (event.button !== 0 || hands.count() > 1 || (event.pointerType === "touch" && !touch)) return;
    event.preventDefault();
    draw(event);
  });

  function draw(event) {
    const [x0, y0] = point(event);
    const [x1, y1] = [event.clientX, event.clientY];
    const before = at;
    const moving = event.target === box && at ? { ...at } : null;
    frame.classList.add("drawing");
    drawing = true;
    const move = (next) => {
      if (Math.hypot(next.clientX - x1, next.clientY - y1) < 4 && !moving) return;
      const [x, y] = point(next);
      if (moving) set(moving.x + x - x0, moving.y + y - y0, moving.w, moving.h);
      else set(Math.min(x, x0), Math.min(y, y0), Math.abs(x - x0), Math.abs(y - y0));
    };
    const end = (last) => {
      drawing = false;
      frame.classList.remove("drawing");
      if (last?.type === "pointerup") move(last);
      else at = before; // another finger came, or the system took the pointer
      if (at && (at.w < 8 || at.h < 8)) at = before; // a slip of the hand
      paint();
      if (JSON.stringify(at) !== JSON.stringify(before)) onChange(at);
    };
    follow(event, move, end);
  }

  function dragPan(event) {
    let last = event;
    follow(event, (next) => {
      pan(next.clientX - last.clientX, next.clientY - last.clientY);
      last = next;
    });
  }

  /** One pointer until it is lifted; `stop()` ends it before. */
  function follow(event, move, end = () => {}) {
    const mine = (call) => (next) => next.pointerId === event.pointerId && call(next);
    const onMove = mine(move);
    const onEnd = (last = null) => {
      frame.removeEventListener("pointermove", onMove);
      for (const name of ["pointerup", "pointercancel"]) frame.removeEventListener(name, onLast);
      stop = () => {};
      end(last);
    };
    const onLast = mine(onEnd);
    frame.setPointerCapture(event.pointerId);
    frame.addEventListener("pointermove", onMove);
    for (const name of ["pointerup", "pointercancel"]) frame.addEventListener(name, onLast);
    stop = onEnd;
  }

  let waiting = 0;
  function keys(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const dx = { ArrowLeft: -1, ArrowRight: 1 }[event.key] ?? 0;
    const dy = { ArrowUp: -1, ArrowDown: 1 }[event.key] ?? 0;
    if (dx || dy) {
      const seen = { w: Math.min(width, frame.clientWidth / (fit() * scale)), h: Math.min(height, frame.clientHeight / (fit() * scale)) };
      const [sx, sy] = [dx * Math.max(1, seen.w * STEP), dy * Math.max(1, seen.h * STEP)];
      if (event.shiftKey) set(at.x, at.y, Math.max(8, at.w + sx), Math.max(8, at.h + sy));
      else set(at.x + sx, at.y + sy, at.w, at.h);
      if (scale > 1.001) {
        centre = { x: (at.x + at.w / 2) / width, y: (at.y + at.h / 2) / height };
        place();
      }
      clearTimeout(waiting);
      waiting = setTimeout(() => {
        waiting = 0;
        onChange(at);
      }, 350); // not a search for each press
    } else if (event.key === "Delete" || event.key === "Backspace") {
      at = null;
      paint();
      onChange(null);
    } else if (event.key === "+" || event.key === "=") zoomAt(1.6);
    else if (event.key === "-") zoomAt(1 / 1.6);
    else if (event.key === "0") zoomAt(0);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  paint();
  return {
    element: frame,
    /** Under somebody's hand: it must not be replaced now. */
    busy: () => drawing || waiting !== 0,
    cancel() {
      clearTimeout(waiting);
      waiting = 0;
    },
    /** A box in the middle of what is seen, to begin with. */
    begin() {
      touch = true;
      frame.classList.add("by-touch");
      const seen = { w: Math.min(width, frame.clientWidth / (fit() * scale)), h: Math.min(height, frame.clientHeight / (fit() * scale)) };
      set(centre.x * width - seen.w / 4, centre.y * height - seen.h / 4, seen.w / 2, seen.h / 2);
      box.focus();
      onChange(at);
    },
  };
}
