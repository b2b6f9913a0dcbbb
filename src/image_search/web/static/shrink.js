// A large photo is made small here before it is sent. Loaded when the first one comes.
//
// The model must see the same picture. The server decodes a JPEG at a half, a quarter or an eighth of its size, as far as the model's input
// allows, and that is what is sent: the mean of each block of so many pixels, without loss. Measured with the bundled model over 12-megapixel
// photos: cosine with the original's vector .99991 or more; any lossy copy, and any other size, came to .9994 to .9998.

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
  if (file.size <= SMALL_BYTES || !needs.width || !isPlainJpeg(new Uint8Array(await file.slice(0, HEAD).arrayBuffer()))) return null;
  let picture;
  try {
    picture = await createImageBitmap(file); // upright, in sRGB
  } catch {
    return null; // the server says what is wrong with it
  }
  try {
    const { width, height } = picture;
    const fits = Math.min(Math.floor(width / needs.width), Math.floor(height / needs.height));
    const by = [8, 4, 2].find((one) => one <= fits);
    if (!by) return null;
    const copy = await lossless(await means(picture, by));
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

/** A canvas with the mean of each block of by × by pixels. */
async function means(picture, by) {
  const [wide, high] = [picture.width, picture.height];
  const [canvas, paint] = canvasOf(Math.ceil(wide / by), Math.ceil(high / by));
  const [strip, read] = canvasOf(wide, STRIP, { willReadFrequently: true });
  for (let top = 0; top < high; top += STRIP) {
    const rows = Math.min(STRIP, high - top);
    read.drawImage(picture, 0, top, wide, rows, 0, 0, wide, rows);
    paint.putImageData(averaged(read.getImageData(0, 0, wide, rows), by), 0, top / by);
    await new Promise((next) => setTimeout(next));
  }
  strip.width = strip.height = 0; // its memory at once, not some day
  return canvas;
}

function averaged({ data, width, height }, by) {
  const out = new ImageData(Math.ceil(width / by), Math.ceil(height / by));
  const sums = new Uint32Array(out.width * 3);
  for (let top = 0, to = 0; top < height; top += by) {
    const rows = Math.min(by, height - top);
    sums.fill(0);
    for (let row = top, at = top * width * 4; row < top + rows; row += 1) {
      for (let left = 0, sum = 0; left < width; left += by, sum += 3) {
        const end = at + 4 * Math.min(by, width - left);
        for (; at < end; at += 4) {
          sums[sum] += data[at];
          sums[sum + 1] += data[at + 1];
          sums[sum + 2] += data[at + 2];
        }
      }
    }
    for (let left = 0, sum = 0; left < width; left += by, sum += 3, to += 4) {
      const pixels = rows * Math.min(by, width - left);
      for (let channel = 0; channel < 3; channel += 1) out.data[to + channel] = Math.round(sums[sum + channel] / pixels);
      out.data[to + 3] = 255;
    }
  }
  return out;
}

/** WebP where the browser writes it without loss (a third smaller), else PNG. */
async function lossless(canvas) {
  const written = (type) => new Promise((done) => canvas.toBlob(done, type, 1));
  return (await bareWebp(await written("image/webp"))) ?? written("image/png");
}

/** Nothing but the pixels of a lossless WebP: Chromium adds a profile that says sRGB, as if that were not so anyway. Else null. */
async function bareWebp(blob) {
  const view = new DataView((await blob?.arrayBuffer()) ?? new ArrayBuffer(0));
  const is = (at, name) => [...name].every((letter, n) => view.getUint8(at + n) === letter.charCodeAt(0));
  if (view.byteLength < 20 || !is(0, "RIFF") || !is(8, "WEBP")) return null;
  for (let at = 12; at + 8 <= view.byteLength; ) {
    const size = 8 + view.getUint32(at + 4, true) + (view.getUint32(at + 4, true) % 2);
    if (is(at, "VP8L")) {
      const head = new DataView(new ArrayBuffer(12));
      [..."RIFF....WEBP"].forEach((letter, n) => head.setUint8(n, letter.charCodeAt(0)));
      head.setUint32(4, 4 + size, true);
      return new Blob([head, view.buffer.slice(at, at + size)], { type: "image/webp" });
    }
    at += size;
  }
  return null;
}

/** A JPEG in light (not in inks, which a browser turns into light by a table of its own) whose size stands in its beginning. */
export function isPlainJpeg(head) {
  if (head[0] !== 0xff || head[1] !== 0xd8) return false;
  for (let at = 2; at + 9 < head.length && head[at] === 0xff; ) {
    const marker = head[at + 1];
    if (marker === 0xff) at += 1; // filling
    else if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) return head[at + 9] <= 3;
    else at += 2 + (head[at + 2] << 8) + head[at + 3];
  }
  return false;
}
