// What the page shows is said by its address alone, so back, reload and sharing work.
//   ?q=id:12&q=-id:40&region=10,20,200,150&name=Cat&path=2024&min=0.5&each=1&open=id:7      a search
//   &not=draft&since=2019&until=2024-06&format=JPEG&pixels=2000000&other=1                  and its other filters
//   ?q=id:12&text=at+night&less_text=people      with words    ?text=a+boat&fits=0.5      with words alone
//   ?view=library&name=Cat                                                                  the library
//   ?view=groups, check, map                                                                order in it

const ID = /^(id:\d{1,18}|up:[\w-]{22})$/;
const VIEWS = new Set(["library", "groups", "check", "map"]);
const OWN = ["part", "says", "kind", "prefer", "spot"]; // of the views of order
const listeners = [];

export const EMPTY = { view: "search", parts: [], names: [], path: "", not: "", where: "", since: "", until: "", formats: [], pixels: null, other: false, min: null, fits: null, each: false, open: null, part: "", says: "", kind: "", prefer: "", spot: "" };

const DATE = /^(\d{4})(?:-(\d\d)(?:-(\d\d)(?:[T ]\d\d:\d\d(?::\d\d)?)?)?)?$/;

/** A year, month, day or minute of the calendar, as it is typed: "2024", "2024-05", "2024-05-01". */
export function isDate(text) {
  const found = DATE.exec(text);
  if (!found || found[1] === "0000") return false;
  const [month, day] = [Number(found[2] ?? 1), Number(found[3] ?? 1)];
  return month >= 1 && month <= 12 && day >= 1 && day <= new Date(Date.UTC(Number(found[1]), month, 0)).getUTCDate() && !/[T ](2[4-9]|[3-9])|:[6-9]/.test(text);
}

export let place = read(location.search);

function read(text) {
  const query = new URLSearchParams(text);
  const found = { ...EMPTY, parts: [], formats: [], names: query.getAll("name").slice(0, 100) };
  if (VIEWS.has(query.get("view"))) found.view = query.get("view");
  for (const name of OWN) found[name] = query.get(name) ?? "";
  for (const value of query.getAll("q").slice(0, 16)) {
    const less = value.startsWith("-");
    const id = less ? value.slice(1) : value;
    if (ID.test(id)) found.parts.push({ id, less, region: null });
  }
  for (const [name, less] of [["text", false], ["less_text", true]]) {
    for (const value of query.getAll(name)) if (value.trim()) found.parts.push({ text: value.trim(), less });
  }
  found.parts = ordered(found.parts.slice(0, 16));
  if (!found.parts.some((part) => !part.less)) found.parts = []; // something has to count for
  const box = (query.get("region") ?? "").split(",").map(Number);
  if (found.parts[0]?.id && box.length === 4 && box.every(Number.isInteger) && box[2] > 0 && box[3] > 0 && Math.min(...box) >= 0) {
    found.parts[0].region = { x: box[0], y: box[1], w: box[2], h: box[3] };
  }
  found.path = query.get("path") ?? "";
  found.not = query.get("not") ?? "";
  found.where = (query.get("where") ?? "").slice(0, 2000);
  for (const end of ["since", "until"]) if (isDate(query.get(end) ?? "")) found[end] = query.get(end);
  found.formats = query.getAll("format").slice(0, 30);
  const pixels = Number(query.get("pixels"));
  if (Number.isInteger(pixels) && pixels > 0 && pixels <= 1e12) found.pixels = pixels;
  found.other = query.has("other");
  const min = Number.parseFloat(query.get("min"));
  if (min > 0 && min <= 1) found.min = min;
  const fits = Number.parseFloat(query.get("fits"));
  if (fits > 0 && fits <= 1 && isPhrase(found.parts)) found.fits = fits;
  found.each = query.has("each");
  if (ID.test(query.get("open") ?? "")) found.open = query.get("open");
  return found;
}

/** What counts for before what counts against, pictures before words: the first is shown large, and may have a region. */
function ordered(parts) {
  const place = (part) => (part.less ? 2 : 0) + (part.id ? 0 : 1);
  return [...parts].sort((one, other) => place(one) - place(other));
}

/** One phrase and nothing else: then its matches may have a probability. */
export const isPhrase = (parts) => parts.length === 1 && !parts[0].id;

/** A part of the question as the server takes it. */
export const asked = ({ id, text, less, region }) => (id ? (region ? { id, less, region } : { id, less }) : { text, less });

function written(at) {
  const query = new URLSearchParams();
  if (at.view !== "search") query.set("view", at.view);
  for (const part of at.parts) {
    if (part.id) query.append("q", (part.less ? "-" : "") + part.id);
    else query.append(part.less ? "less_text" : "text", part.text);
  }
  const region = at.parts[0]?.region;
  if (region) query.set("region", [region.x, region.y, region.w, region.h].join(","));
  for (const name of at.names) query.append("name", name);
  if (at.path) query.set("path", at.path);
  for (const text of ["not", "where", "since", "until"]) if (at[text]) query.set(text, at[text]);
  for (const format of at.formats) query.append("format", format);
  if (at.pixels !== null) query.set("pixels", String(at.pixels));
  if (at.other) query.set("other", "1");
  if (at.min !== null) query.set("min", String(at.min));
  if (at.fits !== null) query.set("fits", String(at.fits));
  if (at.each) query.set("each", "1");
  for (const name of OWN) if (at[name]) query.set(name, at[name]);
  if (at.open) query.set("open", at.open);
  const text = query.toString().replaceAll("%3A", ":").replaceAll("%2C", ",");
  return `./${text && `?${text}`}`;
}

export const link = (change) => written({ ...place, ...change });

// Where each step of the history was scrolled to. The browser cannot know: what it would scroll comes later, from the server.
history.scrollRestoration = "manual";
const KEPT = 60;
let step = history.state?.step ?? newStep();
let arrived = true; // by Back, Forward or a reload: there may be a place to go back to
history.replaceState({ step }, "");

function newStep() {
  return `${Date.now().toString(36)}${Math.floor(Math.random() * 1e6).toString(36)}`;
}

function places() {
  try {
    return JSON.parse(sessionStorage.getItem("places")) ?? {};
  } catch {
    return {};
  }
}

/** Remember where this step stands: { at, by } of a wall, or null for its top. */
export function keepPlace(anchor) {
  const all = places();
  delete all[step];
  if (anchor) all[step] = anchor;
  try {
    sessionStorage.setItem("places", JSON.stringify(Object.fromEntries(Object.entries(all).slice(-KEPT))));
  } catch {
    // without storage Back leads to the top
  }
}

/** Where this step stood when it was left, once; null if it is a new one. */
export function keptPlace() {
  const found = arrived ? (places()[step] ?? null) : null;
  arrived = false;
  return found;
}

/** Go there: a new step in the history, or instead of this one. */
export function go(change, { replace = false } = {}) {
  const before = place;
  place = { ...place, ...change };
  if (change.parts) place.parts = ordered(change.parts);
  if (!isPhrase(place.parts)) place.fits = null;
  arrived = false;
  const address = written(place);
  if (address !== written(before) || unwritten) write(address, replace);
  for (const listener of listeners) listener(place, before);
}

let leaving = () => {};
/** Called before a new step is written. */
export const onLeave = (tell) => (leaving = tell);

let unwritten = false;
function write(address, replace) {
  if (!replace) leaving();
  try {
    const next = replace ? step : newStep();
    history[replace ? "replaceState" : "pushState"]({ step: next }, "", address);
    step = next;
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
  step = history.state?.step ?? newStep();
  arrived = true;
  for (const listener of listeners) listener(place, before);
});

/** The key in the opened address is a cookie by now: it has no business in the history. */
export function forgetKey() {
  if (new URLSearchParams(location.search).has("token")) history.replaceState({ step }, "", written(place));
}
