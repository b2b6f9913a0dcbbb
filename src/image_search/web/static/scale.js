// How near a match is, in one word or one number: closeness for people, or the similarity itself. One setting, which is remembered.

import { h } from "./dom.js";
import { cosine, fitting, percent, t } from "./words.js";

// Closeness is the share of this library's nearest neighbours that are not nearer: .5 is as near as a typical nearest neighbour here.
const STEPS = [
  [0.5, "near_very"],
  [0.1, "near_close"],
  [0.01, "near_related"],
];
const LOOSE = 0.6; // of the similarity that nearest neighbours here have at least

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

let least = 0;

/** What the least near of the matches that are as near as neighbours here have: below it there are two words left. */
export function calibrate(matches) {
  const near = matches.filter((match) => match.closeness >= STEPS.at(-1)[0]);
  least = LOOSE * Math.min(1, ...near.map((match) => match.similarity));
}

export function nearness({ closeness, similarity }) {
  return t(STEPS.find(([from]) => closeness >= from)?.[1] ?? (similarity >= least ? "near_loose" : "near_far"));
}

/** Words have no closeness, and some models a probability. A library of fewer than 50 images has neither: the similarity it is. */
export function caption(item) {
  if (showsWords() && hasProbability(item)) return h("b", { class: "score" }, h("span", { class: "unseen" }, `${t("probability")} `), fitting(item.probability));
  if (showsWords() && item.closeness !== null) return h("b", { class: "score" }, nearness(item));
  return h("b", { class: "score" }, h("span", { class: "unseen" }, `${t("similarity")} `), cosine(item.similarity));
}

export const hasProbability = (item) => (item.probability ?? null) !== null;

/** All that is known of it, for a pointer that rests. */
export function scoreTitle(item) {
  const similarity = `${t("similarity")} ${cosine(item.similarity)}`;
  if (hasProbability(item)) return `${t("probability")} ${fitting(item.probability)} · ${similarity}`;
  return item.closeness === null ? similarity : `${similarity} · ${nearness(item)}: ${t("closeness_is", { x: percent(item.closeness) })}`;
}
