// When pictures were taken: a histogram under two handles, and the same two dates to be typed.

import { go, isDate, place } from "./address.js";
import { fill, h } from "./dom.js";
import { t } from "./words.js";

const TYPED_MS = 400;
const ENDS = ["since", "until"];
const LENGTH = { day: 10, month: 7, year: 4, decade: 4 }; // of a date as it is written in each unit

const pad = (number, digits = 2) => String(number).padStart(digits, "0");

/** The first day of the unit that begins `n` units after this first day. */
function starting(first, unit, n) {
  const [year, month, day] = first.split("-").map(Number);
  if (unit === "year" || unit === "decade") return `${pad(year + n * (unit === "decade" ? 10 : 1), 4)}-01-01`;
  const whole = year * 12 + month - 1 + n;
  if (unit === "month") return `${pad(Math.floor(whole / 12), 4)}-${pad((whole % 12) + 1)}-01`;
  const at = new Date(Date.UTC(2000, month - 1, day + n));
  at.setUTCFullYear(year, month - 1, day + n);
  return `${pad(at.getUTCFullYear(), 4)}-${pad(at.getUTCMonth() + 1)}-${pad(at.getUTCDate())}`;
}

// The first and the last day of what was written: of a year, a month, a day or less.
const opening = (date) => (date.length < 7 ? `${date}-01-01` : date.length < 10 ? `${date}-01` : date.slice(0, 10));
const closing = (date) => (date.length < 7 ? `${date}-12-31` : date.length < 10 ? `${date}-31` : date.slice(0, 10));

/** As it stands in the address: "2019 – 2024-06", "from 2019", "until 2024". */
export function dateRange(since, until) {
  if (since && until) return since === until ? since : `${since} – ${until}`;
  return since ? t("dates_since", { x: since }) : t("dates_until", { x: until });
}

export function makeDates() {
  const output = h("output", {});
  const bars = h("svg", { class: "histogram", preserveAspectRatio: "none", "aria-hidden": "true" });
  const handle = (end) => h("input", { type: "range", min: "0", max: "1", step: "1", "aria-label": t(`dates_${end}_label`), oninput: () => dragged(end, false), onchange: () => dragged(end, true) });
  const handles = { since: handle("since"), until: handle("until") };
  const field = (end) => h("input", { type: "search", id: `date-${end}`, placeholder: t("date_hint"), "aria-label": t(`dates_${end}_label`), maxlength: "19", autocomplete: "off", spellcheck: "false", oninput: () => later(end), onchange: () => typed(end) });
  const fields = { since: field("since"), until: field("until") };
  const said = h("p", { class: "hint" });
  const drag = h("div", { class: "span" }, handles.since, handles.until);
  const element = h("fieldset", { class: "filter dates" }, h("legend", {}, t("dates"), output), bars, drag, h("div", { class: "halves" }, fields.since, fields.until), said);
  let line = { unit: "day", first: "", images: [] };
  let waiting = 0;

  const start = (n) => starting(line.first, line.unit, n);

  function dragged(end, final) {
    const all = line.images.length;
    let [from, to] = [Number(handles.since.value), Number(handles.until.value)];
    if (from >= to) {
      // a handle stops where the other one stands
      if (end === "since") from = to - 1;
      else to = from + 1;
      handles[end].value = String(end === "since" ? from : to);
    }
    const written = (n) => start(n).slice(0, LENGTH[line.unit]);
    const last = line.unit === "decade" ? pad(Number(start(to).slice(0, 4)) - 1, 4) : written(to - 1);
    const change = { since: from > 0 ? written(from) : "", until: to < all ? last : "" };
    fields.since.value = change.since;
    fields.until.value = change.until;
    draw(change);
    if (final) go({ ...change, open: null });
  }

  function later(end) {
    clearTimeout(waiting);
    waiting = setTimeout(() => typed(end), TYPED_MS);
  }

  function typed(end) {
    clearTimeout(waiting);
    const change = { since: fields.since.value.trim(), until: fields.until.value.trim() };
    const right = { since: !change.since || isDate(change.since), until: !change.until || isDate(change.until) };
    if (right.since && right.until && change.since && change.until && opening(change.since) > closing(change.until)) right[end] = false;
    for (const one of ENDS) fields[one].setAttribute("aria-invalid", String(!right[one]));
    if (right.since && right.until && (change.since !== place.since || change.until !== place.until)) go({ ...change, open: null });
  }

  /** Of each bar: does it lie in this range? */
  function inside({ since, until }) {
    const [from, to] = [since ? opening(since) : "", until ? closing(until) : "9999-12-31"];
    return line.images.map((_, n) => start(n + 1) > from && start(n) <= to);
  }

  function draw(range) {
    const { images } = line;
    const on = inside(range);
    const top = Math.max(1, ...images);
    bars.setAttribute("viewBox", `0 0 ${Math.max(1, images.length)} 20`);
    fill(bars, images.map((count, n) => count > 0 && h("rect", { x: n + 0.06, width: 0.88, y: 20 - Math.max(1.5, 20 * Math.sqrt(count / top)), height: 20, class: on[n] ? "in" : "out" })));
    output.textContent = range.since || range.until ? dateRange(range.since, range.until) : t("any");
    for (const end of ENDS) handles[end].setAttribute("aria-valuetext", range[end] || t("any"));
  }

  /** The handles stand where the address says, or at the ends. */
  function put() {
    const on = inside(place);
    const none = !on.includes(true);
    for (const end of ENDS) handles[end].max = String(line.images.length);
    handles.since.value = String(none ? 0 : on.indexOf(true));
    handles.until.value = String(none ? line.images.length : on.lastIndexOf(true) + 1);
  }

  function show() {
    const few = line.images.length < 2;
    element.hidden = few && !place.since && !place.until;
    bars.toggleAttribute("hidden", few);
    drag.hidden = few;
    for (const end of ENDS) {
      if (document.activeElement === fields[end]) continue;
      fields[end].value = place[end];
      fields[end].removeAttribute("aria-invalid");
    }
    put();
    draw(place);
    said.textContent = [line.by_file ? t("dates_by_file", { n: line.by_file }) : "", line.unread ? t("dates_unread", { n: line.unread }) : ""].filter(Boolean).join(" ");
    said.hidden = !said.textContent;
  }

  return {
    element,
    show,
    leave: () => clearTimeout(waiting),
    /** found: the images of each day, month, year or decade, as the server counts them. */
    take(found) {
      line = found;
      show();
    },
  };
}
