// The server's interface, as /api/openapi.json describes it. Every failure becomes a Problem.

import { problemText } from "./words.js";

export class Problem extends Error {
  constructor({ code = "Unexpected", message = "", hint = "", reason = "" } = {}, status = 0) {
    super(message);
    Object.assign(this, { code, hint, reason, status });
  }
  get text() {
    return problemText(this);
  }
}

export async function ask(path, options = {}, tries = 3) {
  let response;
  try {
    response = await fetch(path, { credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({ code: "Gone" });
  }
  if (response.status === 503 && tries > 1) {
    // The server is full and says when to come again.
    const seconds = Number(response.headers.get("Retry-After")) || 1;
    await new Promise((go) => setTimeout(go, seconds * 1000 * (1 + Math.random())));
    return ask(path, options, tries - 1);
  }
  if (!response.ok) throw new Problem(await response.json().catch(() => ({})), response.status);
  return options.as === "blob" ? response.blob() : response.status === 204 ? null : response.json();
}

export const post = (path, data, signal) =>
  ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(data), signal });

export const state = () => ask("api/library");
export const classes = () => ask("api/classes").then((answer) => answer.classes);
export const knownWords = (prefix) => ask(`api/words?${new URLSearchParams({ prefix })}`).then((answer) => answer.words);
export const counts = (request, signal) => post("api/counts", request, signal).then((answer) => answer.classes);
export const facets = (request, signal) => post("api/facets", request, signal);
export const sample = (n) => ask(`api/images/sample?n=${n}`).then((answer) => answer.items);
export const facts = (id) => ask(`api/images/${encodeURIComponent(id)}`);
export const skipped = () => ask("api/skipped");
export const search = (request, signal) => post("api/search", request, signal);
export const address = (url) => post("api/addresses", { url });
export const index = (folder) => post("api/index", { folder });
export const demo = () => post("api/demo", {});
export const stop = () => post("api/index/stop", {});

/** The library as a wall: what it holds, in its order. */
export const wall = (name) => ask(`api/images/wall${name === null ? "" : `?${new URLSearchParams({ name })}`}`);

/** On the machine where the file lies: with its program ("open"), or in its folder ("reveal"). */
export const open = (id, how) => post(`api/images/${encodeURIComponent(id)}/${how}`, {});
export const blob = (path) => ask(path, { as: "blob" });

export function rowsOfWall(generation, name, start, limit) {
  const query = new URLSearchParams({ generation, start, limit });
  if (name !== null) query.set("name", name);
  return ask(`api/images?${query}`).then((answer) => answer.items);
}

export const rows = (ids) => post("api/rows", { ids }).then((answer) => answer.items);

/** Calls back with each JobState while the page is seen. A browser has six connections to a server for all its tabs: hidden ones keep none. */
export function watchJob(callback) {
  let source = null;
  const connect = () => {
    if (document.hidden) {
      source?.close();
      source = null;
    } else if (!source || source.readyState === EventSource.CLOSED) {
      source = new EventSource("api/events"); // connects again by itself, and is sent the state at once
      source.onmessage = (event) => callback(JSON.parse(event.data));
    }
  };
  document.addEventListener("visibilitychange", connect);
  connect();
}
