// What the page shows is said by its address alone, so back, reload and sharing work.
//   ?q=id:12&q=-id:40&region=10,20,200,150&name=Cat&path=2024&min=0.5&each=1&open=id:7      a search
//   ?view=library&name=Cat                                                                  the library

const ID = /^(id:\d{1,18}|up:[\w-]{22})$/;
const listeners = [];

export const EMPTY = { view: "search", parts: [], names: [], path: "", min: null, each: false, open: null };

export let place = read(location.search);

function read(text) {
  const query = new URLSearchParams(text);
  const found = { ...EMPTY, parts: [], names: query.getAll("name").slice(0, 100) };
  if (query.get("view") === "library") found.view = "library";
  for (const value of query.getAll("q").slice(0, 16)) {
    const less = value.startsWith("-");
    const id = less ? value.slice(1) : value;
    if (ID.test(id)) found.parts.push({ id, less, region: null });
  }
  const box = (query.get("region") ?? "").split(",").map(Number);
  if (found.parts.length && box.length === 4 && box.every(Number.isInteger) && box[2] > 0 && box[3] > 0 && Math.min(...box) >= 0) {
    found.parts[0].region = { x: box[0], y: box[1], w: box[2], h: box[3] };
  }
  found.path = query.get("path") ?? "";
  const min = Number.parseFloat(query.get("min"));
  if (min > 0 && min <= 1) found.min = min;
  found.each = query.has("each");
  if (ID.test(query.get("open") ?? "")) found.open = query.get("open");
  return found;
}

function written(at) {
  const query = new URLSearchParams();
  if (at.view !== "search") query.set("view", at.view);
  for (const part of at.parts) query.append("q", (part.less ? "-" : "") + part.id);
  const region = at.parts[0]?.region;
  if (region) query.set("region", [region.x, region.y, region.w, region.h].join(","));
  for (const name of at.names) query.append("name", name);
  if (at.path) query.set("path", at.path);
  if (at.min !== null) query.set("min", String(at.min));
  if (at.each) query.set("each", "1");
  if (at.open) query.set("open", at.open);
  const text = query.toString().replaceAll("%3A", ":").replaceAll("%2C", ",");
  return `./${text && `?${text}`}`;
}

export const link = (change) => written({ ...place, ...change });

/** Go there: a new step in the history, or instead of this one. */
export function go(change, { replace = false } = {}) {
  const before = place;
  place = { ...place, ...change };
  const address = written(place);
  if (address !== written(before) || unwritten) write(address, replace);
  for (const listener of listeners) listener(place, before);
}

let unwritten = false;
function write(address, replace) {
  try {
    history[replace ? "replaceState" : "pushState"](null, "", address);
    unwritten = false;
  } catch {
    unwritten = true; // Safari allows a hundred in half a minute, and a slider makes more: the next one writes it
  }
}

export function onGo(listener) {
  listeners.push(listener);
}

addEventListener("popstate", () => {
  const before = place;
  place = read(location.search);
  for (const listener of listeners) listener(place, before);
});

/** The key in the opened address is a cookie by now: it has no business in the history. */
export function forgetKey() {
  if (new URLSearchParams(location.search).has("token")) history.replaceState(null, "", written(place));
}
