// A box on the query image: drag to draw, drag inside to move, keys to do both without a mouse.

import { h } from "./dom.js";
import { t } from "./words.js";

const STEP = 0.02; // of the picture's side, for each press of a key

/** onChange(region or null) in pixels of the whole upright picture. */
export function makeRegion(image, width, height, region, onChange) {
  const box = h("div", { class: "box", tabindex: "0", role: "group", "aria-label": t("region_box"), hidden: true, onkeydown: keys });
  const frame = h("div", { class: region ? "region by-touch" : "region" }, image, box);
  let at = region; // {x, y, w, h} in picture pixels
  let touch = region !== null; // fingers draw only when asked to: otherwise they scroll
  let drawing = false;

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
    const edge = frame.getBoundingClientRect();
    const clamp = (value) => Math.max(0, Math.min(1, value));
    return [clamp((event.clientX - edge.left) / edge.width) * width, clamp((event.clientY - edge.top) / edge.height) * height];
  };

  frame.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || (event.pointerType === "touch" && !touch)) return;
    event.preventDefault();
    const [x0, y0] = point(event);
    const before = at;
    const moving = event.target === box && at ? { ...at } : null;
    frame.setPointerCapture(event.pointerId);
    frame.classList.add("drawing");
    drawing = true;

    const move = (next) => {
      const [x, y] = point(next);
      if (moving) set(moving.x + x - x0, moving.y + y - y0, moving.w, moving.h);
      else if (Math.abs(x - x0) > width * 0.015 || Math.abs(y - y0) > height * 0.015) set(Math.min(x, x0), Math.min(y, y0), Math.abs(x - x0), Math.abs(y - y0));
    };
    const end = (last) => {
      frame.removeEventListener("pointermove", move);
      frame.removeEventListener("pointerup", end);
      frame.removeEventListener("pointercancel", end);
      frame.classList.remove("drawing");
      drawing = false;
      if (last.type === "pointerup") move(last);
      if (at && (at.w < 8 || at.h < 8)) at = before; // a slip of the hand
      paint();
      if (JSON.stringify(at) !== JSON.stringify(before)) onChange(at);
    };
    frame.addEventListener("pointermove", move);
    frame.addEventListener("pointerup", end);
    frame.addEventListener("pointercancel", end);
  });

  let waiting = 0;
  function keys(event) {
    const dx = { ArrowLeft: -1, ArrowRight: 1 }[event.key] ?? 0;
    const dy = { ArrowUp: -1, ArrowDown: 1 }[event.key] ?? 0;
    if (dx || dy) {
      const [sx, sy] = [dx * Math.max(1, width * STEP), dy * Math.max(1, height * STEP)];
      if (event.shiftKey) set(at.x, at.y, Math.max(8, at.w + sx), Math.max(8, at.h + sy));
      else set(at.x + sx, at.y + sy, at.w, at.h);
      clearTimeout(waiting);
      waiting = setTimeout(() => {
        waiting = 0;
        onChange(at);
      }, 350); // not a search for each press
    } else if (event.key === "Delete" || event.key === "Backspace") {
      at = null;
      paint();
      onChange(null);
    } else return;
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
    /** A box in the middle, to begin with. */
    begin() {
      touch = true;
      frame.classList.add("by-touch");
      set(width / 4, height / 4, width / 2, height / 2);
      box.focus();
      onChange(at);
    },
  };
}
