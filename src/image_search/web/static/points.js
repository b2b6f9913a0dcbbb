// Many points on a canvas: drawn straight into its pixels, so that tens of thousands move at every frame; thumbnails where there is room.

const TAU = 2 * Math.PI;
const THUMB = 64; // CSS pixels, longer side, of a thumbnail at its place
const MOST_THUMBS = 260; // in one view
const KEPT = 900; // pictures in memory
const MOST_ZOOM = 400;
const HUES = 18; // told apart; beyond them the same again, darker

/** Colours of classes, 0xAABBGGRR, for light or dark ground. Neighbouring numbers are far apart on the wheel. */
export function palette(count, dark) {
  const colours = new Uint32Array(count);
  for (let n = 0; n < count; n += 1) {
    const hue = ((n * 7) % HUES) * (360 / HUES);
    const round = Math.floor(n / HUES) % 3;
    const light = dark ? [66, 82, 50][round] : [44, 30, 60][round];
    colours[n] = rgb(hue, 0.72, light / 100);
  }
  return colours;
}

function rgb(hue, saturation, light) {
  const part = (n) => {
    const k = (n + hue / 30) % 12;
    return Math.round(255 * (light - saturation * Math.min(light, 1 - light) * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  };
  return ((255 << 24) | (part(4) << 16) | (part(8) << 8) | part(0)) >>> 0;
}

export const css = (colour) => `rgb(${colour & 255} ${(colour >> 8) & 255} ${(colour >> 16) & 255})`;

/** wanted(points): whose pictures would be shown if they were there. onMove(): the view has changed. */
export function makePoints({ canvas, wanted, onMove }) {
  const context = canvas.getContext("2d", { alpha: false });
  let x = new Float32Array(0);
  let y = new Float32Array(0);
  let codes = new Uint16Array(0);
  let colours = new Uint32Array(0);
  let quiet = 0; // what is not highlighted
  let ground = 0;
  let accent = 0;
  let lit = null; // Uint8Array by class: 1 for those that are highlighted; null: all are
  let chosen = null; // Uint8Array by point
  let pixels = null;
  let words = null;
  let size = { w: 0, h: 0, ratio: 1 };
  let view = { x: 0.5, y: 0.5, zoom: 1 };
  let asked = 0;
  let levels = new Map(); // of thumbnails: which points stand for their surroundings
  const images = new Map(); // index -> Image, the least used first
  let shown = []; // thumbnails of the last frame: { index, x, y, w, h }
  let lasso = null;
  let cross = false;
  let inks = null; // by point; null: to be found anew
  let order = null;

  const scale = () => Math.min(size.w, size.h) * 0.94 * view.zoom; // device pixels for the whole map
  const left = () => size.w / 2 - view.x * scale();
  const top = () => size.h / 2 - view.y * scale();

  function resize() {
    const ratio = Math.min(devicePixelRatio || 1, 2);
    const [w, h] = [Math.max(1, Math.round(canvas.clientWidth * ratio)), Math.max(1, Math.round(canvas.clientHeight * ratio))];
    if (w === size.w && h === size.h) return;
    size = { w, h, ratio };
    canvas.width = w;
    canvas.height = h;
    pixels = context.createImageData(w, h);
    words = new Uint32Array(pixels.data.buffer);
    later();
  }

  function later() {
    if (!asked) asked = requestAnimationFrame(draw);
  }

  // --- drawing -------------------------------------------------------------------------------------------------------------------

  function draw() {
    asked = 0;
    if (!words || !canvas.isConnected) return;
    words.fill(ground);
    const radius = Math.max(1, Math.min(6, Math.round(size.ratio * (x.length > 30_000 ? 1.4 : 2.2) * Math.min(2.2, Math.sqrt(Math.sqrt(view.zoom))))));
    dots(radius);
    context.putImageData(pixels, 0, 0);
    thumbnails();
    if (lasso?.length > 1) drawLasso();
    if (cross) drawCross();
  }

  /** Which colour each point has, and in which order they are drawn: what is not highlighted first, what was chosen last. */
  function ink() {
    inks = new Uint32Array(x.length);
    order = new Uint32Array(x.length);
    let at = 0;
    for (const layer of [0, 1, 2]) {
      for (let n = 0; n < x.length; n += 1) {
        const on = !lit || lit[codes[n]];
        if ((chosen?.[n] ? 2 : on ? 1 : 0) !== layer) continue;
        inks[n] = layer === 2 ? accent : on ? (colours[codes[n]] ?? quiet) : quiet;
        order[at] = n;
        at += 1;
      }
    }
  }

  function dots(radius) {
    if (!inks) ink();
    const [s, ox, oy, w, h] = [scale(), left() + 0.5, top() + 0.5, size.w, size.h];
    const disc = []; // of a point's pixels, from its middle
    for (let dy = -radius; dy <= radius; dy += 1) for (let dx = -radius; dx <= radius; dx += 1) if (dx * dx + dy * dy <= (radius + 0.3) ** 2) disc.push(dy * w + dx);
    const offsets = Int32Array.from(disc);
    for (let k = 0; k < order.length; k += 1) {
      const n = order[k];
      const px = Math.floor(ox + x[n] * s);
      const py = Math.floor(oy + y[n] * s);
      if (px < radius || py < radius || px >= w - radius || py >= h - radius) continue; // the edge cuts none
      const value = inks[n];
      const base = py * w + px;
      for (let i = 0; i < offsets.length; i += 1) words[base + offsets[i]] = value;
    }
  }

  /** Of each field of a grid that stands still on the map its first point: so pictures stay what they are while the map moves. */
  function standing(level) {
    if (!levels.has(level)) {
      const seen = new Set();
      const found = [];
      const fields = 2 ** level;
      for (let n = 0; n < x.length; n += 1) {
        if (lit && !lit[codes[n]]) continue;
        const field = Math.floor(x[n] * fields) * (fields + 1) + Math.floor(y[n] * fields);
        if (seen.has(field)) continue;
        seen.add(field);
        found.push(n);
      }
      levels.set(level, found);
    }
    return levels.get(level);
  }

  function thumbnails() {
    shown = [];
    const side = THUMB * size.ratio;
    const level = Math.floor(Math.log2(scale() / side));
    if (view.zoom < 1.9 && x.length > 400) return;
    const [s, ox, oy] = [scale(), left(), top()];
    const want = [];
    for (const n of standing(Math.max(0, level))) {
      const [px, py] = [ox + x[n] * s, oy + y[n] * s];
      if (px < -side || py < -side || px > size.w + side || py > size.h + side) continue;
      if (shown.length + want.length >= MOST_THUMBS) break;
      const image = images.get(n);
      if (!image) want.push(n);
      else if (image.naturalWidth) place(n, image, px, py, side);
    }
    if (want.length) wanted(want);
  }

  function place(n, image, px, py, side) {
    const by = side / Math.max(image.naturalWidth, image.naturalHeight);
    const [w, h] = [image.naturalWidth * by, image.naturalHeight * by];
    const edge = 2 * size.ratio;
    context.fillStyle = css(chosen?.[n] ? accent : (colours[codes[n]] ?? quiet));
    context.fillRect(px - w / 2 - edge, py - h / 2 - edge, w + 2 * edge, h + 2 * edge);
    context.drawImage(image, px - w / 2, py - h / 2, w, h);
    shown.push({ n, x: px - w / 2, y: py - h / 2, w, h });
  }

  function drawLasso() {
    context.beginPath();
    for (const [px, py] of lasso) context.lineTo(px * size.ratio, py * size.ratio);
    context.closePath();
    context.fillStyle = css(accent);
    context.globalAlpha = 0.14;
    context.fill();
    context.globalAlpha = 1;
    context.strokeStyle = css(accent);
    context.lineWidth = 2 * size.ratio;
    context.stroke();
  }

  function drawCross() {
    context.strokeStyle = css(accent);
    context.lineWidth = 2 * size.ratio;
    context.beginPath();
    context.arc(size.w / 2, size.h / 2, 12 * size.ratio, 0, TAU);
    context.stroke();
  }

  // --- moving ----------------------------------------------------------------------------------------------------------------------

  function moved() {
    view.zoom = Math.max(0.7, Math.min(MOST_ZOOM, view.zoom));
    view.x = Math.max(-0.1, Math.min(1.1, view.x));
    view.y = Math.max(-0.1, Math.min(1.1, view.y));
    later();
    onMove();
  }

  /** px, py: CSS pixels within the canvas; what lies there stays there. */
  function zoomAt(factor, px = canvas.clientWidth / 2, py = canvas.clientHeight / 2) {
    const before = at(px, py);
    view.zoom = Math.max(0.7, Math.min(MOST_ZOOM, view.zoom * factor));
    const after = at(px, py);
    view.x += before.x - after.x;
    view.y += before.y - after.y;
    moved();
  }

  const at = (px, py) => ({ x: (px * size.ratio - left()) / scale(), y: (py * size.ratio - top()) / scale() });

  /** The point here, or one beside it; -1: none. */
  function hit(px, py, within = 14) {
    const [dx, dy] = [px * size.ratio, py * size.ratio];
    for (const one of [...shown].reverse()) if (dx >= one.x && dy >= one.y && dx <= one.x + one.w && dy <= one.y + one.h) return one.n;
    const [s, ox, oy] = [scale(), left(), top()];
    let [best, least] = [-1, (within * size.ratio) ** 2];
    for (let n = 0; n < x.length; n += 1) {
      if (lit && !lit[codes[n]]) continue;
      const far = (ox + x[n] * s - dx) ** 2 + (oy + y[n] * s - dy) ** 2;
      if (far < least) [best, least] = [n, far];
    }
    return best;
  }

  /** The points within a polygon of CSS pixels; of classes that are not highlighted none. */
  function inside(path) {
    const polygon = path.map(([px, py]) => at(px, py));
    const found = [];
    const xs = polygon.map((one) => one.x);
    const ys = polygon.map((one) => one.y);
    const box = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    for (let n = 0; n < x.length; n += 1) {
      if (x[n] < box[0] || x[n] > box[1] || y[n] < box[2] || y[n] > box[3] || (lit && !lit[codes[n]])) continue;
      let odd = false;
      for (let i = 0, j = polygon.length - 1; i < polygon.length; j = i, i += 1) {
        if (ys[i] > y[n] !== ys[j] > y[n] && x[n] < ((xs[j] - xs[i]) * (y[n] - ys[i])) / (ys[j] - ys[i]) + xs[i]) odd = !odd;
      }
      if (odd) found.push(n);
    }
    return found;
  }

  new ResizeObserver(resize).observe(canvas);

  return {
    show(points) {
      ({ x, y, codes } = points);
      chosen = null;
      levels = new Map();
      images.clear();
      inks = null;
      later();
    },
    paint(next) {
      ({ colours, quiet, ground, accent } = next);
      inks = null;
      later();
    },
    light(next) {
      lit = next;
      inks = null;
      levels = new Map();
      later();
    },
    choose(indices) {
      chosen = indices ? new Uint8Array(x.length) : null;
      for (const n of indices ?? []) chosen[n] = 1;
      inks = null;
      later();
    },
    put(n, image) {
      images.set(n, image);
      while (images.size > KEPT) images.delete(images.keys().next().value);
      later();
    },
    has: (n) => images.has(n),
    lasso(path) {
      lasso = path;
      later();
    },
    cross(on) {
      cross = on;
      later();
    },
    go(next) {
      view = { ...view, ...next };
      moved();
    },
    pan(dx, dy) {
      view.x -= (dx * size.ratio) / scale();
      view.y -= (dy * size.ratio) / scale();
      moved();
    },
    zoomAt,
    hit,
    inside,
    later,
    get view() {
      return view;
    },
    /** CSS pixels of a point. */
    where: (n) => ({ x: (left() + x[n] * scale()) / size.ratio, y: (top() + y[n] * scale()) / size.ratio }),
  };
}
