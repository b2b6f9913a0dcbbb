// How near a match is, in one word or one number: closeness for people, or the similarity itself. One setting, which is remembered.

import { h } from "./dom.js";
import { cosine, percent, t } from "./words.js";

// Closeness is the share of this library's nearest neighbours that are not nearer: .5 is as near as a typical nearest neighbour here.
const STEPS = [
  [0.5, "near_very"],
  [0.1, "near_close"],
  [0.01, "near_related"],
  [0.0001, "near_loose"],
  [-1, "near_far"],
];

let shows = kept();

export const showsWords = () => shows === "words";

export function setShows(what) {
  shows = what;
  try {
    localStorage.setItem("caption", what);
  } catch {
    // without storage it is good for this visit
  }
}

function kept() {
  try {
    return localStorage.getItem("caption") === "number" ? "number" : "words";
  } catch {
    return "words";
  }
}

export const nearness = (closeness) => t(STEPS.find(([from]) => closeness >= from)[1]);

/** A library of fewer than 50 images has no closeness: the similarity it is. */
export function caption(item) {
  if (showsWords() && item.closeness !== null) return h("b", { class: "score" }, nearness(item.closeness));
  return h("b", { class: "score" }, h("span", { class: "unseen" }, `${t("similarity")} `), cosine(item.similarity));
}

/** All that is known of it, for a pointer that rests. */
export function scoreTitle(item) {
  const similarity = `${t("similarity")} ${cosine(item.similarity)}`;
  return item.closeness === null ? similarity : `${similarity} · ${nearness(item.closeness)}: ${t("closeness_is", { x: percent(item.closeness) })}`;
}
