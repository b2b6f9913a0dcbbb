// A wall of pictures in justified rows. Only what is near the window is in the document; one tab stop, arrow keys inside.

import { ACTIONS, forgetPicture, makeCard, sameLook, showPicture } from "./card.js";
import { h, iconButton, letter } from "./dom.js";
import { edges, justify, limitOf, rowAt, rowOf } from "./layout.js";
import { t } from "./words.js";

const MOST = 360; // cards in the document, whatever the window shows
const GAP = 4;
const HEADING = 44;

/**
 * act(what, item, index): "open", "search", "more", "less", "choose", "range", "unfold".
 * rows: so many at most, each full; 0: all. captions: a line under each picture. choosable: check marks. isPicked(item). onSection(section or null): which one the window begins with.
 */
export function makeWall({ label, act, captions = false, choosable = true, isPicked = () => false, onSection = null, rows = 0 }) {
  const list = h("ul", { class: "wall", "aria-label": label });
  const heads = h("div", { class: "heads" });
  const acts = h("div", { class: "acts" }, ACTIONS.map(([what, picture, words]) => iconButton(picture, t(words), () => hovered && act(what, source.at(hovered.index), hovered.index), { class: "act" })));
  const element = h("div", { class: captions ? "wall-frame captioned" : "wall-frame" }, heads, list);
  const under = captions ? 26 : 0;
  let source = { count: 0, ratios: new Float32Array(0), at: () => null, key: String, sections: [], want() {} };
  let layout = null;
  let target = 190;
  let shown = new Map(); // key -> { node, index, item }
  let current = 0;
  let hovered = null;
  let asked = 0;
  let lastY = 0;
  let settling = 0;

  // --- what is shown -----------------------------------------------------------------------------------------------------------

  /** source: { count, ratios, at(index), key(index), sections, want(from, to), indexOf(id) }. Nodes that look the same stay. */
  function show(next) {
    const focused = focusedCard();
    source = { sections: [], want() {}, ...next };
    relayout();
    if (focused) {
      const index = source.indexOf?.(focused.item?.id) ?? -1;
      if (index >= 0) current = index;
    }
    current = Math.max(0, Math.min(current, source.count - 1));
    draw();
  }

  function relayout() {
    const width = Math.floor(element.getBoundingClientRect().width);
    if (!width) return;
    const least = Math.sqrt((width * innerHeight) / (1.4 * 0.75 * MOST)); // so many small ones would be more than may be there
    layout = justify({ ratios: source.ratios, limits: source.limits ?? null, sections: source.sections, width, target: Math.max(target, least), gap: GAP, under, heading: HEADING });
    if (rows && layout.rows) cut();
    list.style.height = `${Math.ceil(layout.bottom)}px`;
  }

  /** So many full rows and no more. */
  function cut() {
    const full = layout.rows > 1 && layout.ratios.length > layout.first[layout.rows - 1] && edges(layout, layout.rows - 1).at(-1) < layout.width * 0.9 ? layout.rows - 1 : layout.rows;
    layout.rows = Math.min(rows, full);
    layout.first.length = layout.rows + 1;
    layout.bottom = layout.top[layout.rows - 1] + layout.height[layout.rows - 1] + under;
    source.count = layout.first[layout.rows];
  }

  const topOf = () => element.getBoundingClientRect().top;
  const covered = () => Number.parseFloat(getComputedStyle(document.documentElement).scrollPaddingTop) || 0; // by what sticks to the top

  /** The first and the one past the last picture to be in the document: what is seen, then as far around it as there is room. */
  function range() {
    if (!layout?.rows) return [0, 0];
    const top = -topOf();
    const seen = [rowAt(layout, top), rowAt(layout, top + innerHeight)];
    const far = [rowAt(layout, top - innerHeight * 0.75), rowAt(layout, top + innerHeight * 1.9)];
    let [low, high] = seen;
    const count = () => layout.first[high + 1] - layout.first[low];
    while (count() > MOST && high > low) high -= 1;
    for (let more = true; more; ) {
      more = false;
      if (high < far[1] && layout.first[high + 2] - layout.first[low] <= MOST) [high, more] = [high + 1, true];
      if (low > far[0] && layout.first[high + 1] - layout.first[low - 1] <= MOST) [low, more] = [low - 1, true];
    }
    return [layout.first[low], layout.first[high + 1]];
  }

  function draw() {
    asked = 0;
    if (!layout || !element.isConnected) return;
    const fast = Math.abs(scrollY - lastY) > innerHeight * 1.5;
    lastY = scrollY;
    const [from, to] = range();
    const focused = focusedCard();
    const next = new Map();
    let cursor = list.firstChild;
    const put = (index) => {
      const key = source.key(index);
      const item = source.at(index);
      let card = shown.get(key);
      if (!card || !sameLook(card.item, item)) {
        const old = card?.node;
        card = replaced(card, item, !fast);
        if (cursor && cursor === old) cursor = card.node;
      }
      card.index = index;
      card.item = item;
      next.set(key, card);
      if (card.node !== cursor) list.insertBefore(card.node, cursor);
      else cursor = cursor.nextSibling;
      return card;
    };
    let early = focused && focused.index < from && focused.index === source.indexOf?.(focused.item?.id) ? focused.index : -1;
    if (early >= 0) positioned(put(early), rowOf(layout, early));
    for (let index = from, row = rowOf(layout, from); index < to; row += 1) {
      const x = edges(layout, row);
      for (const end = layout.first[row + 1]; index < end && index < to; index += 1) place(put(index), row, x[index - layout.first[row]], x[index - layout.first[row] + 1]);
    }
    if (focused && early < 0 && focused.index >= to && focused.index < source.count) positioned(put(focused.index), rowOf(layout, focused.index));
    for (const [key, card] of shown) {
      if (next.get(key)?.node !== card.node && card.node.parentNode) {
        forgetPicture(card.node);
        card.node.remove();
      }
    }
    shown = next;
    if (hovered && !hovered.node.isConnected) hovered = null;
    drawHeads(from, to);
    marks();
    tabStops();
    source.want(from, to, fast);
    clearTimeout(settling);
    if (fast) settling = setTimeout(settle, 70);
  }

  /** Pictures are asked for when the window comes to rest: whoever drags the scroll bar passes thousands. */
  function settle() {
    for (const { node } of shown.values()) {
      const image = node.querySelector("img");
      if (image) showPicture(image);
    }
    lastY = scrollY;
  }

  function replaced(old, item, pictures) {
    const node = makeCard(item, { act: (what, one) => act(what, one, indexOf(one)), choosable, pictures });
    if (old) {
      const focus = old.node.contains(document.activeElement);
      const again = document.activeElement;
      old.node.replaceWith(node);
      if (focus) (node.querySelector(`.${again.className.split(" ")[0]}`) ?? node.querySelector(".face"))?.focus({ preventScroll: true });
    }
    return { node, item, index: 0, box: "" };
  }

  const indexOf = (item) => {
    for (const card of shown.values()) if (card.item?.id === item.id) return card.index;
    return source.indexOf?.(item.id) ?? -1;
  };

  function positioned(card, row) {
    const x = edges(layout, row);
    const at = card.index - layout.first[row];
    place(card, row, x[at], x[at + 1]);
  }

  function place(card, row, left, right) {
    const [wide, tall] = [right - left - GAP, Math.round(layout.height[row])];
    const box = `${left} ${layout.top[row]} ${wide} ${tall}`;
    if (card.box === box) return;
    card.box = box;
    const style = card.node.style;
    style.left = `${left}px`;
    style.top = `${Math.round(layout.top[row])}px`;
    style.width = `${wide}px`;
    style.height = `${tall + under}px`;
    style.setProperty("--tall", `${tall}px`);
    card.node.setAttribute("aria-setsize", source.count);
    card.node.setAttribute("aria-posinset", card.index + 1);
    card.node.classList.toggle("low", tall < 136);
    card.node.classList.toggle("tiny", wide < 66);
    card.node.classList.toggle("slim", wide < (tall < 136 ? 136 : 92)); // no room for all that can be done
  }

  function drawHeads(from, to) {
    const sections = source.sections;
    if (!sections.length) {
      heads.replaceChildren();
      onSection?.(null);
      return;
    }
    const inside = sections.map((section, at) => [section, at]).filter(([section]) => section.start + section.images > from && section.start < to);
    const wanted = inside.map(([section]) => section.name).join("\n");
    if (heads.dataset.names !== wanted || heads.dataset.width !== String(layout.width)) {
      heads.dataset.names = wanted;
      heads.dataset.width = String(layout.width);
      heads.replaceChildren(
        ...inside.map(([section, at]) => {
          const node = h("h2", {}, section.name || t("no_class"), " ", h("small", {}, section.images.toLocaleString()));
          node.style.top = `${layout.heads[at]}px`;
          return node;
        }),
      );
    }
    const top = covered() - topOf() + HEADING / 2;
    onSection?.(sections[Math.max(0, layout.heads.findLastIndex((y) => y <= top))]);
  }

  // --- where it stands -----------------------------------------------------------------------------------------------------------

  /** The picture at the window's top, and how far it is above it; null at the very top. */
  function anchor() {
    if (!layout?.rows || !element.isConnected || scrollY < 4) return null;
    const y = covered() - topOf();
    const row = rowAt(layout, y);
    return { at: layout.first[row], by: Math.round(y - layout.top[row]) };
  }

  /** Back to such a place. */
  function toAnchor(found) {
    if (!layout?.rows) return;
    const row = rowOf(layout, Math.min(found.at, source.count - 1));
    scrollTo({ top: scrollY + topOf() + layout.top[row] + found.by - covered(), behavior: "instant" });
    draw();
  }

  /** Into the window, if it is not there. */
  function reveal(index) {
    const row = rowOf(layout, index);
    const top = topOf() + layout.top[row];
    const bottom = top + layout.height[row] + under;
    const floor = innerHeight - (document.body.classList.contains("choosing") ? 76 : 8);
    const by = top < covered() + 4 ? top - covered() - 4 : bottom > floor ? Math.min(bottom - floor, top - covered() - 4) : 0;
    if (by) scrollBy({ top: by, behavior: "instant" });
    draw();
  }

  /** The focus on this picture; the window moves only if it is outside. */
  function focus(index = current) {
    if (!source.count) return;
    current = Math.max(0, Math.min(index, source.count - 1));
    reveal(current);
    shown.get(source.key(current))?.node.querySelector(".face")?.focus({ preventScroll: true });
    tabStops();
  }

  // --- hands ------------------------------------------------------------------------------------------------------------------

  const cardOf = (node) => {
    const li = node?.closest?.(".card");
    if (!li || !list.contains(li)) return null;
    for (const card of shown.values()) if (card.node === li) return card;
    return null;
  };
  const focusedCard = () => cardOf(document.activeElement);

  function tabStops() {
    for (const card of shown.values()) {
      const on = card.index === current;
      if (card.node.classList.contains("current") === on) continue;
      card.node.classList.toggle("current", on);
      for (const part of card.node.querySelectorAll("button")) part.tabIndex = on ? 0 : -1;
    }
  }

  function showActs(card) {
    if (!card?.item || hovered === card) return;
    hovered = card;
    card.node.append(acts);
    for (const part of acts.children) part.tabIndex = card.index === current ? 0 : -1;
  }

  list.addEventListener("pointerover", (event) => event.pointerType !== "touch" && showActs(cardOf(event.target)));
  list.addEventListener("focusin", (event) => {
    const card = cardOf(event.target);
    if (!card) return;
    current = card.index;
    showActs(card);
    tabStops();
  });
  list.addEventListener("keydown", (event) => {
    const card = focusedCard();
    if (!card || event.altKey || event.ctrlKey || event.metaKey) return;
    const to = steps(event.key, card.index);
    if (to !== null) {
      event.preventDefault();
      if (to !== card.index) {
        focus(to);
        if (event.shiftKey && choosable) act("range", source.at(to), to);
      }
      return;
    }
    const what = { s: "search", m: "more", l: "less", x: "choose", g: "unfold" }[letter(event)];
    if (!what || !card.item || (what === "choose" && !choosable) || (what === "unfold" && !card.item.repeats)) return;
    event.preventDefault();
    act(what, card.item, card.index);
  });

  function steps(key, index) {
    const last = source.count - 1;
    const plain = { ArrowRight: index + 1, ArrowLeft: index - 1, Home: 0, End: last }[key];
    if (plain !== undefined) return Math.max(0, Math.min(last, plain));
    const rows = { ArrowDown: 1, ArrowUp: -1, PageDown: 4, PageUp: -4 }[key];
    if (rows === undefined) return null;
    const row = rowOf(layout, index);
    const there = Math.max(0, Math.min(layout.rows - 1, row + rows));
    if (there === row) return index;
    const mine = edges(layout, row);
    const at = index - layout.first[row];
    const middle = (mine[at] + mine[at + 1]) / 2;
    const x = edges(layout, there);
    let best = 0;
    for (let n = 0; n < x.length - 1; n += 1) if (Math.abs((x[n] + x[n + 1]) / 2 - middle) < Math.abs((x[best] + x[best + 1]) / 2 - middle)) best = n;
    return layout.first[there] + best;
  }

  function marks() {
    for (const { node, item } of shown.values()) {
      const picked = Boolean(item && isPicked(item));
      if (node.classList.contains("picked") === picked) continue;
      node.classList.toggle("picked", picked);
      node.querySelector(".mark")?.setAttribute("aria-pressed", String(picked));
    }
  }

  // --- the window -------------------------------------------------------------------------------------------------------------

  const later = () => {
    if (!asked && element.isConnected) asked = requestAnimationFrame(draw);
  };
  addEventListener("scroll", later, { passive: true });
  addEventListener("resize", later);
  new ResizeObserver(() => {
    const width = Math.floor(element.getBoundingClientRect().width);
    if (!width || width === layout?.width) return;
    const at = anchor();
    relayout();
    if (at) toAnchor(at);
    else draw();
  }).observe(element);

  return {
    element,
    show,
    draw,
    marks,
    anchor,
    toAnchor,
    focus,
    reveal,
    get count() {
      return source.count;
    },
    /** Height of a row, CSS pixels. */
    resize(pixels) {
      const at = anchor();
      target = pixels;
      if (!layout) return;
      relayout();
      if (at) toAnchor(at);
      else draw();
    },
    /** The nodes anew: what is written under the pictures has changed. */
    redraw() {
      for (const card of shown.values()) card.item = undefined;
      draw();
    },
  };
}

/** A source of items that are all there. */
export function listed(items) {
  const places = new Map(items.map((item, index) => [item.id, index]));
  return {
    count: items.length,
    ratios: Float32Array.from(items, (item) => item.ratio),
    limits: Float32Array.from(items, (item) => item.limit ?? limitOf(item.height)),
    at: (index) => (items[index].lazy ? null : items[index]),
    key: (index) => items[index].id,
    indexOf: (id) => places.get(id) ?? -1,
  };
}
