// A large photo is made small here before it is sent. Loaded when the first one comes.
//
// The model must see the same picture. The server decodes a JPEG at a half, a quarter or an eighth of its size, as far as the model's input
// allows, and that is what is sent: the mean of each block of so many pixels, without loss. Measured (`python -m benchmarks.copies`): cosine
// with the original's vector .9999 or more for 41 of 43 large JPEGs; any lossy copy, and any other size, came to .995 to .9998.

import { givesNumbers, profileOf, webpWith } from "./profile.js";

const SMALL_BYTES = 300_000; // what is not larger goes as it is
const HEAD = 256 * 1024; // of a file is looked at
const STRIP = 256; // rows read from the canvas at once: some milliseconds, then the page may move

/**
 * {copy, width, height}: a Blob to send, and the original's upright pixels. null: the file itself has to go. It is small, or no JPEG, or one
 * that browsers show by other rules than the server.
 *
 * needs: {width, height} that the decoder keeps for the model (`query_width`, `query_height` of the state).
 */
export async function shrunk(file, needs) {
  if (file.size <= SMALL_BYTES || !needs.width) return null;
  const head = new DataView(await file.slice(0, HEAD).arrayBuffer());
  const turn = turnOfJpeg(head);
  const profile = turn ? profileOf(head) : null;
  if (!turn || (profile && (isGrey(profile) || !(await givesNumbers())))) return null;
  let picture;
  try {
    picture = await createImageBitmap(file, { colorSpaceConversion: profile ? "none" : "default" }); // upright
  } catch {
    return null; // the server says what is wrong with it
  }
  try {
    const { width, height } = picture;
    const fits = Math.min(Math.floor(width / needs.width), Math.floor(height / needs.height));
    const by = [8, 4, 2].find((one) => one <= fits);
    if (!by) return null;
    const copy = await lossless(await means(picture, by, turn), profile);
    return copy && copy.size < file.size / 2 ? { copy, width, height } : null;
  } finally {
    picture.close();
  }
}

function canvasOf(width, height, options = {}) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  return [canvas, canvas.getContext("2d", { alpha: false, ...options })];
}

/** A canvas with the mean of each block of by × by pixels. Blocks begin where those of the file do, which `turn` has turned. */
async function means(picture, by, turn) {
  const columns = cuts(picture.width, by, [2, 3, 6, 7].includes(turn)); // the file's last column, or row, is on the left
  const rows = cuts(picture.height, by, [3, 4, 7, 8].includes(turn)); // and above
  const [canvas, paint] = canvasOf(columns.length - 1, rows.length - 1);
  const [strip, read] = canvasOf(picture.width, STRIP, { willReadFrequently: true });
  const atOnce = STRIP / by;
  for (let first = 0; first < rows.length - 1; first += atOnce) {
    const some = rows.slice(first, first + atOnce + 1).map((row) => row - rows[first]);
    const high = some.at(-1);
    read.drawImage(picture, 0, rows[first], picture.width, high, 0, 0, picture.width, high);
    paint.putImageData(averaged(read.getImageData(0, 0, picture.width, high), columns, some), 0, first);
    await new Promise((next) => setTimeout(next));
  }
  strip.width = strip.height = 0; // its memory at once, not some day
  return canvas;
}

/** Where blocks of `by` begin in a side of this length, and its end; what is left over is the last block, or the first. */
function cuts(length, by, leftOverFirst) {
  const found = [0];
  for (let at = (leftOverFirst && length % by) || by; at < length; at += by) found.push(at);
  return [...found, length];
}

function averaged({ data, width }, columns, rows) {
  const out = new ImageData(columns.length - 1, rows.length - 1);
  const sums = new Uint32Array(out.width * 3);
  for (let block = 0, to = 0; block < out.height; block += 1) {
    sums.fill(0);
    for (let row = rows[block], at = row * width * 4; row < rows[block + 1]; row += 1) {
      for (let column = 0, sum = 0; column < out.width; column += 1, sum += 3) {
        const end = at + 4 * (columns[column + 1] - columns[column]);
        for (; at < end; at += 4) {
          sums[sum] += data[at];
          sums[sum + 1] += data[at + 1];
          sums[sum + 2] += data[at + 2];
        }
      }
    }
    for (let column = 0, sum = 0; column < out.width; column += 1, sum += 3, to += 4) {
      const pixels = (rows[block + 1] - rows[block]) * (columns[column + 1] - columns[column]);
      for (let channel = 0; channel < 3; channel += 1) out.data[to + channel] = Math.round(sums[sum + channel] / pixels);
      out.data[to + 3] = 255;
    }
  }
  return out;
}

/** WebP where the browser writes it without loss (a third smaller), else PNG; null: there is no way to send the profile along. */
async function lossless(canvas, profile) {
  const written = (type) => new Promise((done) => canvas.toBlob(done, type, 1));
  const pixels = await pixelsOfWebp(await written("image/webp"));
  if (!pixels) return profile ? null : written("image/png");
  if (profile) return webpWith(profile, pixels, canvas.width, canvas.height);
  const head = new DataView(new ArrayBuffer(12));
  [..."RIFF....WEBP"].forEach((letter, n) => head.setUint8(n, letter.charCodeAt(0)));
  head.setUint32(4, 4 + pixels.byteLength, true);
  return new Blob([head, pixels], { type: "image/webp" });
}

/** A profile of grey numbers: the copy has three a pixel. */
const isGrey = (profile) => new TextDecoder("latin1").decode(profile.subarray(16, 20)) === "GRAY";

/** The chunk with the pixels of a lossless WebP, without the profile that Chromium adds to say sRGB; null: it is no lossless WebP. */
async function pixelsOfWebp(blob) {
  const view = new DataView((await blob?.arrayBuffer()) ?? new ArrayBuffer(0));
  const is = (at, name) => [...name].every((letter, n) => view.getUint8(at + n) === letter.charCodeAt(0));
  if (view.byteLength < 20 || !is(0, "RIFF") || !is(8, "WEBP")) return null;
  for (let at = 12; at + 8 <= view.byteLength; ) {
    const size = 8 + view.getUint32(at + 4, true) + (view.getUint32(at + 4, true) % 2);
    if (is(at, "VP8L")) return view.buffer.slice(at, at + size);
    at += size;
  }
  return null;
}

/**
 * How a JPEG is turned (Exif, 1 to 8). 0: it is none, or its size does not stand in its beginning, or it is in inks, which a browser turns
 * into light by a table of its own.
 */
export function turnOfJpeg(head) {
  let turn = 1;
  if (head.byteLength < 4 || head.getUint16(0) !== 0xffd8) return 0;
  for (let at = 2; at + 10 < head.byteLength && head.getUint8(at) === 0xff; ) {
    const marker = head.getUint8(at + 1);
    const size = head.getUint16(at + 2);
    if (marker === 0xff) at += 1; // filling
    else if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) return [1, 3].includes(head.getUint8(at + 9)) ? turn : 0;
    else {
      if (marker === 0xe1 && size > 16 && head.getUint32(at + 4) === 0x45786966) turn = turnIn(head, at + 10, at + 2 + size);
      at += 2 + size;
    }
  }
  return 0;
}

/** Tag 0x0112 of the first directory of an Exif block. */
function turnIn(head, start, end) {
  const little = head.getUint16(start) === 0x4949;
  const stop = Math.min(end, head.byteLength);
  const first = start + head.getUint32(start + 4, little);
  for (let at = first + 2; first + 2 < stop && at + 12 <= stop && at < first + 2 + 12 * head.getUint16(first, little); at += 12) {
    if (head.getUint16(at, little) === 0x0112) return Math.max(1, Math.min(8, head.getUint16(at + 8, little) || 1));
  }
  return 1;
}
