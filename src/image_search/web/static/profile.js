// A photo's colour profile goes with its copy, so that the server follows it as it does the original's.

/** The ICC profile of a JPEG (segments APP2) from its beginning, as Uint8Array; null: it has none. */
export function profileOf(head) {
  const parts = [];
  for (let at = 2; at + 18 < head.byteLength && head.getUint8(at) === 0xff; at += 2 + head.getUint16(at + 2)) {
    const marker = head.getUint8(at + 1);
    if (marker === 0xda || (marker >= 0xc0 && marker <= 0xc3)) break;
    const isProfile = marker === 0xe2 && [..."ICC_PROFILE\0"].every((letter, n) => head.getUint8(at + 4 + n) === letter.charCodeAt(0));
    if (isProfile) parts[head.getUint8(at + 16) - 1] = new Uint8Array(head.buffer, at + 18, Math.min(head.getUint16(at + 2) - 16, head.byteLength - at - 18));
  }
  return parts.length ? new Uint8Array(parts.flatMap((part) => [...(part ?? [])])) : null;
}

let tried = null;
/** Does this browser give a picture's own numbers when it is asked for them (`colorSpaceConversion: "none"`)? */
export const givesNumbers = () => (tried ??= tryOut().catch(() => false));

async function tryOut() {
  const canvas = Object.assign(document.createElement("canvas"), { width: 16, height: 16 });
  const paint = canvas.getContext("2d", { colorSpace: "display-p3" });
  paint.fillStyle = "color(display-p3 0.8 0.4 0.4)";
  paint.fillRect(0, 0, 16, 16);
  const file = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 1));
  if (!profileOf(new DataView(await file.arrayBuffer()))) return false;
  const seen = async (options) => {
    const small = Object.assign(document.createElement("canvas"), { width: 16, height: 16 }).getContext("2d", { willReadFrequently: true });
    small.drawImage(await createImageBitmap(file, options), 0, 0);
    return small.getImageData(8, 8, 1, 1).data;
  };
  const [own, turned] = [await seen({ colorSpaceConversion: "none" }), await seen({})];
  return Math.abs(own[0] - 204) < 3 && Math.abs(own[1] - 102) < 3 && turned[0] - own[0] > 5;
}

/** A lossless WebP of these pixels (its chunk "VP8L") with a profile. */
export function webpWith(profile, pixels, width, height) {
  const chunk = (name, data) => {
    const head = new DataView(new ArrayBuffer(8));
    [...name].forEach((letter, n) => head.setUint8(n, letter.charCodeAt(0)));
    head.setUint32(4, data.byteLength, true);
    return [head, data, ...(data.byteLength % 2 ? [new Uint8Array(1)] : [])];
  };
  const extent = new DataView(new ArrayBuffer(10));
  extent.setUint8(0, 0x20); // a profile is there
  extent.setUint32(4, (width - 1) & 0xffffff, true);
  extent.setUint16(7, (height - 1) & 0xffff, true);
  extent.setUint8(9, (height - 1) >> 16);
  const body = new Blob([new TextEncoder().encode("WEBP"), ...chunk("VP8X", extent), ...chunk("ICCP", profile), pixels]);
  const head = new DataView(new ArrayBuffer(8));
  [..."RIFF"].forEach((letter, n) => head.setUint8(n, letter.charCodeAt(0)));
  head.setUint32(4, body.size, true);
  return new Blob([head, body], { type: "image/webp" });
}
