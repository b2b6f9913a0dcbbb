// The ways an image comes in: dropped, chosen, pasted, by address, or from the library itself.

import * as api from "./api.js";
import { EMPTY, go, place } from "./address.js";
import { fill, h, icon, isWriting, toast, toasts } from "./dom.js";
import { t } from "./words.js";

const MAX_PARTS = 16;
// "image/*" does not bring up these in every system's file dialogue.
const NAMED = ".dng,.cr2,.nef,.nrw,.arw,.sr2,.srf,.pef,.srw,.3fr,.iiq,.erf,.crw,.mrw,.x3f,.cr3,.orf,.rw2,.rwl,.raf,.tif,.tiff,.avif,.heic,.heif,.hif,.jxl,.jp2,.j2k,.jpx,.j2c,.jpf,.psd,.psb";
const ACCEPTED = `image/*,${NAMED}`;
const names = new Map(); // upload -> its file's name, which the server need not know
let server = null;
let turns = 0;

export const nameOf = (query) => query.label || names.get(query.id) || t("original");

/** mode: "new" begins a search, "like" and "less" add to the one there is. */
export function take(ids, mode) {
  const parts = ids.map((id) => ({ id, less: mode === "less", region: null }));
  if (mode === "new" || !place.parts.some((part) => !part.less)) {
    go({ ...EMPTY, parts: parts.map((part) => ({ ...part, less: false })).slice(0, MAX_PARTS) });
    scrollTo({ top: 0 });
    return;
  }
  const fresh = parts.filter((part) => !place.parts.some((old) => old.id === part.id && old.less === part.less));
  if (place.parts.length + fresh.length > MAX_PARTS) toast(t("too_many"), true);
  go({ parts: [...place.parts, ...fresh].slice(0, MAX_PARTS), open: null });
}

/** An image of the library becomes the query; the filters stay. */
export function moreLike(id) {
  go({ view: "search", parts: [{ id, less: false, region: null }], open: null, min: null, names: place.view === "search" ? place.names : [] });
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
  await reading(t("reading"), mode, async () => {
    const kept = [];
    for (const file of images.slice(0, MAX_PARTS)) {
      try {
        const { id } = await api.upload(file, server);
        if (file.name) names.set(id, file.name);
        kept.push(id);
      } catch (error) {
        toast(images.length > 1 ? `${file.name}: ${error.text ?? error.message}` : (error.text ?? error.message), true);
      }
    }
    return kept;
  });
}

export const url = (text, mode) => reading(t("fetching"), mode, async () => [(await api.address(text.trim())).id]);

async function reading(words, mode, work) {
  const turn = ++turns;
  const note = h("p", { class: "toast busy" }, h("span", { class: "spinner" }), words);
  document.body.classList.add("reading");
  toasts().append(note);
  try {
    const ids = await work();
    if (ids.length && (mode !== "new" || turn === turns)) take(ids, mode); // not where another was given since
  } catch (error) {
    toast(error.text ?? error.message, true);
  } finally {
    note.remove();
    if (turn === turns) document.body.classList.remove("reading");
  }
}

/** Opens the system's file dialogue. */
export function choose(mode) {
  const input = h("input", { type: "file", accept: ACCEPTED, multiple: true, hidden: true, id: "file" });
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
