// Justified rows: pictures keep their shape and each row fills the width. Numbers only; 100,000 pictures take some 10 ms.

export const WIDEST = 3; // wider and narrower ones are shown by their middle, with a mark
export const NARROWEST = 1 / 3;

/** The library sends a byte for each shape: 128 is square, 32 more is twice as wide as high. */
export const shapeOf = (byte) => 2 ** ((byte - 128) / 32);
export const clamped = (ratio) => Math.max(NARROWEST, Math.min(WIDEST, ratio));

const UP = 1.75; // a row of small pictures is laid out at so many times their height, and stretched a little from there to fill the width

/** base64 of a byte each, half a height up to 255 -> how high each may be shown, CSS pixels. */
export function limitsOf(base64) {
  if (!base64) return null;
  const bytes = atob(base64);
  return Float32Array.from({ length: bytes.length }, (_, at) => limitOf(2 * bytes.charCodeAt(at)));
}

export const limitOf = (height) => (height >= 510 ? Infinity : UP * 2 * Math.floor(height / 2));

/** base64 of such bytes -> Float32Array of ratios, clamped. */
export function ratiosOf(base64) {
  const bytes = atob(base64);
  const known = Float32Array.from({ length: 256 }, (_, byte) => clamped(shapeOf(byte)));
  const ratios = new Float32Array(bytes.length);
  for (let at = 0; at < bytes.length; at += 1) ratios[at] = known[bytes.charCodeAt(at)];
  return ratios;
}

/**
 * ratios: Float32Array, width through height of each picture. sections: [{ start }], each begins a row under a heading.
 * limits: how high each may be shown, or null: a row of small ones is low. width, target (height of a row), gap, under (a caption's height), heading: CSS pixels.
 */
export function justify({ ratios, limits = null, sections = [], width, target: wanted, gap, under, heading }) {
  const first = [];
  const top = [];
  const height = [];
  const heads = new Float64Array(sections.length);
  let y = 0;
  const row = (from, tall) => {
    first.push(from);
    top.push(y);
    height.push(tall);
    y += tall + under + gap;
  };
  const bounds = sections.length ? sections.map((section, at) => [section.start, sections[at + 1]?.start ?? ratios.length]) : [[0, ratios.length]];
  bounds.forEach(([begin, end], section) => {
    if (sections.length) {
      heads[section] = y;
      y += heading;
    }
    let from = begin;
    let sum = 0;
    let most = 0; // how high the largest of the row may be
    const size = () => (limits ? Math.min(wanted, most) : wanted);
    for (let at = begin; at < end; at += 1) {
      if (at === from) most = 0;
      if (limits) most = Math.max(most, limits[at]);
      const target = size();
      sum += ratios[at];
      const room = width - gap * (at - from);
      if (sum * target < room) continue;
      const before = at > from ? (room + gap) / (sum - ratios[at]) : Infinity; // height of the row without this one
      if (before < 1.6 * target && before / target < target / (room / sum)) {
        row(from, before);
        from = at;
        sum = ratios[at];
        if (limits) most = limits[at];
        if (sum * target >= width) {
          row(from, width / sum);
          from = at + 1;
          sum = 0;
        }
      } else {
        row(from, room / sum);
        from = at + 1;
        sum = 0;
      }
    }
    if (from < end) {
      const full = (width - gap * (end - 1 - from)) / sum;
      row(from, full < 1.2 * size() ? full : size()); // the last row fills the width only if it nearly does
    }
  });
  first.push(ratios.length);
  return { first, top, height, heads, gap, under, ratios, width, bottom: Math.max(0, y - gap), rows: top.length };
}

/** The row that a height falls into. */
export function rowAt(layout, y) {
  let [low, high] = [0, layout.rows - 1];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (layout.top[middle] <= y) low = middle;
    else high = middle - 1;
  }
  return Math.max(0, low);
}

export function rowOf(layout, index) {
  let [low, high] = [0, layout.rows - 1];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (layout.first[middle] <= index) low = middle;
    else high = middle - 1;
  }
  return Math.max(0, low);
}

/** Left edges of a row's pictures and the end of the last one, whole pixels: the last ends at the edge. */
export function edges(layout, row) {
  const found = [0];
  let x = 0;
  for (let at = layout.first[row]; at < layout.first[row + 1]; at += 1) {
    x += layout.ratios[at] * layout.height[row] + layout.gap;
    found.push(Math.round(x));
  }
  return found;
}
