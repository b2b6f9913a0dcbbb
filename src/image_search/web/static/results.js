// The matches of one answer: those that came in full and those of which only a shape is known, filtered and folded.

import * as api from "./api.js";
import { place } from "./address.js";
import { clamped, limitsOf, ratiosOf } from "./layout.js";
import { calibrate } from "./scale.js";

const AT_ONCE = 200; // rows of matches asked for together

export function makeResults(onRows) {
  let answer = null;
  let matches = [];
  const expanded = new Set(); // ids whose repetitions are shown
  const asked = new Set();

  function take(found) {
    const known = new Map(matches.filter((match) => !match.lazy).map((match) => [match.id, match]));
    answer = found;
    matches = found.matches.map((match) => ({ ...match, ratio: clamped(match.width / match.height) }));
    const rest = found.rest;
    calibrate(matches); // the nearest 60 hold them
    if (!rest) return;
    const ratios = ratiosOf(rest.shape);
    const limits = limitsOf(rest.heights);
    rest.ids.forEach((number, at) => {
      const id = `id:${number}`;
      const rank = found.matches.length + at + 1;
      const old = known.get(id);
      matches.push({ ...(old ?? { id, name: "", path: "", identical: false, lazy: true }), rank, similarity: rest.similarity[at], closeness: rest.closeness?.[at] ?? null, probability: rest.probability?.[at] ?? null, same_as: rest.same_as[at], ratio: ratios[at], limit: limits ? limits[at] : Infinity });
    });
  }

  /** The matches above the cut-off; repetitions behind the first of them unless they are wanted. */
  function visible() {
    const enough = (match) => (place.min === null || match.similarity >= place.min) && (place.fits === null || match.probability === null || match.probability >= place.fits);
    const passing = place.min === null && place.fits === null ? matches : matches.filter(enough);
    if (place.each) return passing;
    const members = new Map();
    for (const match of passing) if (match.same_as !== null) members.set(match.same_as, [...(members.get(match.same_as) ?? []), match]);
    if (!members.size) return passing;
    return passing.flatMap((match) => {
      if (match.same_as !== null) return [];
      const repeats = members.get(match.rank) ?? [];
      if (!repeats.length) return [match];
      const open = expanded.has(match.id);
      return [Object.assign(Object.create(match), { repeats: repeats.length, expanded: open, members: repeats }), ...(open ? repeats.map((one) => Object.assign(Object.create(one), { member: true })) : [])];
    });
  }

  /** Ask for what is not known yet of these. */
  async function want(some) {
    const ids = some.filter((match) => match.lazy && !asked.has(match.id)).map((match) => match.id);
    for (let from = 0; from < ids.length; from += AT_ONCE) {
      const part = ids.slice(from, from + AT_ONCE);
      for (const id of part) asked.add(id);
      const mine = answer;
      try {
        const rows = new Map((await api.rows(part)).map((row) => [row.id, row]));
        if (mine !== answer) return;
        for (const match of matches) {
          const row = rows.get(match.id);
          if (row && match.lazy) Object.assign(match, row, { lazy: false });
        }
        onRows();
      } finally {
        for (const id of part) asked.delete(id);
      }
    }
  }

  return {
    take,
    visible,
    want,
    clear() {
      answer = null;
      matches = [];
      expanded.clear();
    },
    toggle: (match) => expanded.delete(match.id) || expanded.add(match.id),
    get answer() {
      return answer;
    },
    get matches() {
      return matches;
    },
  };
}
