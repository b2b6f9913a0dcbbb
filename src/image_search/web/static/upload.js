// The ways an image comes in: dropped, chosen, photographed, pasted, by address, or from the library itself.

import * as api from "./api.js";
import { EMPTY, go, place } from "./address.js";
import { fill, h, icon, iconButton, isWriting, report, toast, toasts } from "./dom.js";
import { send } from "./send.js";
import { percent, t } from "./words.js";

const MAX_PARTS = 16;
// "image/*" does not bring up these in every system's file dialogue.
const NAMED = ".dng,.cr2,.nef,.nrw,.arw,.sr2,.srf,.pef,.srw,.3fr,.iiq,.erf,.crw,.mrw,.x3f,.cr3,.orf,.rw2,.rwl,.raf,.tif,.tiff,.avif,.heic,.heif,.hif,.jxl,.jp2,.j2k,.jpx,.j2c,.jpf,.psd,.psb";
const ACCEPTED = `image/*,${NAMED}`;
const given = new Map(); // id -> { file, whole }: what was given in this tab; `whole`: the server has all of it
let server = null;
let turns = 0;

export const nameOf = (query) => query.label || given.get(query.id)?.file.name || t("original");

/** Of several files it is said which. */
const tell = (error, before = "") => (before && error.code !== "Gone" && error.name !== "AbortError" ? toast(`${before}${error.text ?? error.message}`, true) : report(error));

/** mode: "new" begins a search, "like" and "less" add to the one there is. */
export const take = (ids, mode) => put(ids.map((id) => ({ id, less: mode === "less", region: null })), mode);

/** Words, beside what there is. */
export const say = (text, less) => put([{ text, less }], less ? "less" : "like");

function put(parts, mode) {
  if (mode === "new" || !place.parts.some((part) => !part.less)) {
    go({ ...EMPTY, parts: parts.map((part) => ({ ...part, less: false })).slice(0, MAX_PARTS) });
    scrollTo({ top: 0 });
    return;
  }
  const fresh = parts.filter((part) => !place.parts.some((old) => old.id === part.id && old.text === part.text && old.less === part.less));
  if (place.parts.length + fresh.length > MAX_PARTS) toast(t("too_many"), true);
  go({ parts: [...place.parts, ...fresh].slice(0, MAX_PARTS), open: null });
}

/** An image of the library becomes the query; the filters stay. */
export function moreLike(id) {
  go({ view: "search", parts: [{ id, less: false, region: null }], open: null, min: null, fits: null, names: place.view === "search" ? place.names : [] });
  scrollTo({ top: 0 });
}

/** By its type, if the browser knows one; systems call Photoshop's files and others an application's. */
const isPicture = ({ type, name }) => !type || type.startsWith("image/") || NAMED.split(",").some((end) => name?.toLowerCase().endsWith(end));

export async function files(list, mode) {
  const images = [...list].filter(isPicture);
  if (!images.length) {
    if (list.length) toast(t("e_NotAnImage"), true);
    return;
  }
  if (images.length > MAX_PARTS) toast(t("too_many"), true);
  await reading(t("reading"), mode, async (note) => {
    const kept = [];
    for (const file of images.slice(0, MAX_PARTS)) {
      try {
        kept.push(await give(file, note));
      } catch (error) {
        if (note.signal.aborted) return []; // stopped by hand: nothing is taken
        tell(error, images.length > 1 ? `${file.name}: ` : "");
      }
    }
    return kept;
  });
}

/** Sends a file, or what the model needs of it. Its id. */
async function give(file, note) {
  note.say(file.name ? t("preparing_name", { name: file.name }) : t("preparing"));
  const small = await smaller(file);
  note.signal.throwIfAborted();
  const { id } = await sent(small?.copy ?? file, note, file.name, small?.headers);
  given.set(id, { file, whole: !small });
  return id;
}

/** A copy and what the server has to know of its original; null: the file itself. */
async function smaller(file) {
  const { shrunk } = await import("./shrink.js");
  const small = await shrunk(file, { width: server.query_width, height: server.query_height });
  if (!small) return null;
  const { sha256 } = await import("./sha256.js");
  return { copy: small.copy, headers: { "X-Original-SHA256": await sha256(file), "X-Original-Size": `${small.width}x${small.height}` } };
}

function sent(body, note, name, headers = {}) {
  if (body.size > server.upload_bytes) throw new api.Problem({ code: "TooLarge", message: `more than ${Math.floor(server.upload_bytes / 2 ** 20)} MB` }, 413);
  const words = name ? t("sending_name", { name }) : t("sending");
  note.say(words, 0);
  return send("api/uploads", body, {
    headers: { "Content-Type": "application/octet-stream", ...headers },
    signal: note.signal,
    onShare: (share) => (share < 1 ? note.say(words, share) : note.say(t("reading"))),
  });
}

/**
 * Where only a copy of a given image is on the server: send all of it, since a part of it, or its single pixels, are wanted. Its id stays.
 * The address of its view then, or null where nothing has changed. Never throws: what there is has to do.
 */
export async function ensureFull(id) {
  const one = given.get(id);
  if (!one || one.whole || one.file.size > server.upload_bytes) return null;
  one.sending ??= reading(t("sending"), null, async (note) => {
    const { view } = await sent(one.file, note, one.file.name);
    one.whole = true;
    return view;
  }).finally(() => (one.sending = null));
  return one.sending;
}

/** The address of a picture with all its pixels (or as many as the server shows), from that of its view. */
export async function sharpest(view) {
  const id = /\/uploads\/([^/]+)\/view/.exec(view)?.[1];
  const whole = (id && (await ensureFull(decodeURIComponent(id)))) || view;
  return `${whole}${whole.includes("?") ? "&" : "?"}full=true`;
}

export const url = (text, mode) => reading(t("fetching"), mode, async () => [(await api.address(text.trim())).id]);

/** Shows a line while it goes on, with a way to stop it; what comes out is taken as `mode` says (null: not taken, but returned). */
async function reading(words, mode, work) {
  const turn = mode === null ? turns : ++turns;
  const note = makeNote(words);
  document.body.classList.add("reading");
  try {
    const found = await work(note);
    if (mode === null) return found;
    if (found.length && !note.signal.aborted && (mode !== "new" || turn === turns)) take(found, mode); // not where another was given since
  } catch (error) {
    tell(error);
  } finally {
    note.end();
    if (turn === turns) document.body.classList.remove("reading");
  }
  return null;
}

function makeNote(words) {
  const stop = new AbortController();
  const line = h("span", { class: "said" }, words);
  const share = h("span", { class: "share", "aria-hidden": "true" });
  const bar = h("progress", { max: "1", "aria-label": words });
  const node = h("div", { class: "toast busy giving" }, line, share, iconButton("close", t("cancel"), () => stop.abort()), bar);
  toasts().append(node);
  return {
    signal: stop.signal,
    /** share: 0 to 1, or nothing where nobody knows. */
    say(text, done = null) {
      if (line.textContent !== text) line.textContent = text;
      share.textContent = done === null ? "" : percent(Math.floor(done * 100) / 100);
      if (done === null) bar.removeAttribute("value");
      else bar.value = done;
    },
    end: () => node.remove(),
  };
}

/** Opens the system's file dialogue (on a phone: photo roll, files, camera); `camera`: the camera at once. */
export function choose(mode, { camera = false } = {}) {
  const input = h("input", { type: "file", accept: ACCEPTED, multiple: !camera, capture: camera && "environment", hidden: true, id: "file" });
  if (camera) input.accept = "image/*"; // of anything more some phones ask where it shall come from
  document.getElementById("file")?.remove();
  input.addEventListener("change", () => {
    void files(input.files, mode);
    input.remove();
  });
  document.body.append(input);
  input.click();
}

export function install(state) {
  server = state;
  let depth = 0;
  const overlay = h("div", { class: "overlay", hidden: true });
  document.body.append(overlay);

  const carries = (event) => [...event.dataTransfer.types].some((type) => type === "Files" || type === "application/x-image-search");
  const end = () => {
    depth = 0;
    overlay.hidden = true;
  };

  function zone(mode, words, picture) {
    const node = h("div", { class: `zone ${mode}` }, icon(picture), h("strong", {}, words));
    node.addEventListener("dragenter", () => node.classList.add("over"));
    node.addEventListener("dragleave", () => node.classList.remove("over"));
    node.addEventListener("drop", (event) => {
      event.preventDefault();
      event.stopPropagation();
      end();
      dropped(event, mode);
    });
    return node;
  }

  function dropped(event, mode) {
    const id = event.dataTransfer.getData("application/x-image-search");
    if (id) take([id], mode);
    else if ([...event.dataTransfer.items].some((item) => item.webkitGetAsEntry?.()?.isDirectory)) toast(t("folder_dropped"), true);
    else void files(event.dataTransfer.files, mode);
  }

  addEventListener("dragenter", (event) => {
    if (!carries(event)) return;
    depth += 1;
    if (overlay.hidden) {
      const more = place.view === "search" && place.parts.length;
      fill(overlay, zone("new", t("drop_new"), "drop"), more ? [zone("like", t("drop_like"), "plus"), zone("less", t("drop_less"), "minus")] : []);
      overlay.hidden = false;
    }
  });
  addEventListener("dragleave", (event) => {
    if (!carries(event)) return;
    depth -= 1;
    if (depth <= 0) end();
  });
  addEventListener("dragover", (event) => carries(event) && event.preventDefault());
  addEventListener("dragend", end);
  addEventListener("drop", (event) => {
    if (!carries(event)) return; // text, for the field it falls on
    event.preventDefault();
    end();
    dropped(event, "new");
  });
  addEventListener("paste", (event) => {
    const pasted = [...(event.clipboardData?.files ?? [])];
    if (pasted.length && !(isWriting(event.target) && event.clipboardData.types.includes("text/plain"))) {
      event.preventDefault();
      void files(pasted, "new");
      return;
    }
    const text = event.clipboardData?.getData("text/plain").trim() ?? "";
    if (server.urls_allowed && !isWriting(event.target) && /^https?:\/\/\S+$/i.test(text)) {
      event.preventDefault();
      void url(text, "new");
    }
  });
}
