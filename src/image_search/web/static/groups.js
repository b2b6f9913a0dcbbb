// Groups of copies, side by side, each around its best; what is decided of them. Nothing here touches a file.

import { go, keptPlace, place } from "./address.js";
import { makeCompare } from "./compare.js";
import { showDecisions } from "./decisions.js";
import { button, fill, h, icon, letter, report, toast } from "./dom.js";
import { makeLooking } from "./looking.js";
import * as order from "./tidyapi.js";
import { moreLike, take } from "./upload.js";
import { bytes, t } from "./words.js";

const AT_ONCE = 20; // groups
const KINDS = ["same bytes", "same picture", "changed copy"];
const WHY = { "in the folder you prefer": "why_preferred", "not the changed one": "why_unchanged", "most pixels": "why_pixels", "format that loses less": "why_format", "least compressed": "why_bytes", "still says when it was taken": "why_captured", earliest: "why_date", "first by path": "why_path" };
const CHANGES = { mirrored: "change_mirrored", cropped: "change_cropped", bordered: "change_bordered", "written on": "change_written" };

/** "turned 90, cropped" in the page's language. */
function changed(text) {
  const words = text.split(", ").filter(Boolean).map((one) => {
    const turn = /^turned (-?\d+)$/.exec(one);
    return turn ? t("change_turned", { x: turn[1] }) : CHANGES[one] ? t(CHANGES[one]) : one;
  });
  return words.join(", ");
}

/** What was done to it; or to the best one, where that was made of it. */
function toldChange(member) {
  const words = changed(member.change) || t("kind_changed_copy");
  return member.changed === "best" ? t("best_changed", { x: words }) : words;
}

export function makeGroups(server, tray) {
  const looking = makeLooking("groups", server);
  const told = h("span", { role: "status" });
  const notes = h("div", { class: "notes" });
  const list = h("ol", { class: "groups", "aria-label": t("groups") });
  const more = h("div", { class: "more" });
  const kind = h("select", { "aria-label": t("copies_shown"), onchange: () => go({ kind: kind.value }) });
  const prefer = h("select", { "aria-label": t("prefer"), onchange: () => go({ prefer: prefer.value }) });
  const decided = button(t("decisions"), () => showDecisions(Boolean(server().read_only), refresh).catch(report), { "aria-label": t("decisions"), title: t("decisions") }, "check");
  const element = h("div", { class: "tidy" }, h("section", { class: "results" }, notes, looking.element, list, more));
  const compare = makeCompare({ selection: tray, onMore: moreLike, onLike: (id) => take([id], "like"), onLess: (id) => take([id], "less"), onThisMachine: Boolean(server().on_this_machine) });
  const watcher = new IntersectionObserver((seen) => seen.some((one) => one.isIntersecting) && void load().catch(report), { rootMargin: "1200px" });
  watcher.observe(more);

  let answer = null; // the numbers of the whole, and of which look
  let rows = []; // groups that were loaded, each with what was decided here: { ...group, decided }
  let loading = null;
  let shown = ""; // what was asked
  let last = null; // what was decided last: [decision, undo]

  // --- what is there -----------------------------------------------------------------------------------------------------------

  async function show() {
    const now = server();
    paintTools();
    if (!now.library?.images) {
      forget();
      looking.say({ picture: "folder", title: t(now.library ? "empty_library" : "no_library"), text: t("no_library_hint") });
      return;
    }
    const asked = { kinds: KINDS.includes(place.kind) ? [place.kind] : [], ...(folder() >= 0 ? { prefer: folder() } : {}) };
    const key = JSON.stringify(asked);
    if (key !== shown || !answer) {
      shown = key;
      await begin(asked);
    }
    await opened();
  }

  const folder = () => server().folders.find((one) => one.path === place.prefer)?.number ?? -1;

  function forget() {
    answer = null;
    rows = [];
    list.replaceChildren();
    notes.replaceChildren();
    told.textContent = "";
  }

  async function begin(asked) {
    forget();
    const run = await looking.need(asked, () => void begin(asked));
    if (run === null) return;
    try {
      take_in(await order.groups(run, 0, AT_ONCE));
      const back = keptPlace();
      while (back && rows.length <= back.at && rows.length < answer.groups) await load();
      if (back) scrollTo({ top: back.by, behavior: "instant" });
    } catch (error) {
      if (error.code === "Changed") void begin(asked);
      else report(error);
    }
  }

  function take_in(part) {
    const first = answer === null;
    answer = part;
    rows.push(...part.items.map((group) => ({ ...group, said: null })));
    list.append(...part.items.map((_, at) => drawn(rows[rows.length - part.items.length + at])));
    if (!first) return;
    told.textContent = part.groups ? t("groups_told", { n: part.groups, files: part.files, rest: part.rest, size: bytes(part.rest_bytes) }) : "";
    fill(notes, [part.absent && t("groups_absent", { n: part.absent }), part.unread && t("groups_unread", { n: part.unread }), !part.remembers && t("groups_forgets")].filter(Boolean).map((text) => h("p", { class: "hint" }, text)));
    if (!part.groups) looking.say({ picture: "check", title: t("groups_none"), text: t("groups_none_hint", { n: part.contents }) });
  }

  function load() {
    if (!answer || rows.length >= answer.groups || loading) return loading ?? Promise.resolve();
    const mine = answer.run;
    loading = order.groups(mine, rows.length, AT_ONCE).then((part) => answer?.run === mine && take_in(part)).catch((error) => {
      if (error.code !== "Changed") throw error;
      refresh();
    }).finally(() => (loading = null));
    return loading;
  }

  function refresh() {
    answer = null;
    void show();
  }

  function paintTools() {
    fill(kind, [["", t("copies_all")], ...KINDS.map((one) => [one, t(`kind_${one.replace(" ", "_")}`)])].map(([value, words]) => h("option", { value }, words)));
    kind.value = KINDS.includes(place.kind) ? place.kind : "";
    const folders = server().folders.filter((one) => one.known);
    fill(prefer, h("option", { value: "" }, t("prefer_none")), folders.map((one) => h("option", { value: one.path }, t("prefer_folder", { x: one.path.split("/").at(-1) || one.path }))));
    prefer.value = folders.some((one) => one.path === place.prefer) ? place.prefer : "";
    prefer.hidden = folders.length < 2;
  }

  // --- a group -----------------------------------------------------------------------------------------------------------------

  function drawn(group) {
    const can = !server().read_only;
    const head = h("header", {}, h("h2", {}, t("group_head", { n: group.files, x: group.number + 1 }), " ", h("small", {}, t("group_rest", { size: bytes(group.rest_bytes) }))));
    const node = h("li", { class: "group", data: { number: group.number } }, head, h("ul", { class: "members" }, group.members.map((member) => drawnMember(group, member))));
    const rest = group.files - group.members.length;
    if (rest > 0) node.append(button(t("group_more", { n: rest }), () => wholeOf(group, node).catch(report), { class: "link" }));
    group.node = node;
    group.undoing = h("p", { class: "undoing", hidden: true });
    head.append(h("div", { class: "row" }, button(t("choose_rest"), () => chooseRest(group).catch(report), { title: t("choose_rest_hint") }, "check"), can && button(t("leave"), () => leave(group), { class: "button leave", title: `${t("leave_hint")} (v)` })), group.undoing);
    return node;
  }

  function drawnMember(group, member) {
    const best = member.kind === "best";
    const image = h("img", { src: member.thumbnail, alt: "", loading: "lazy", decoding: "async", draggable: "false", width: member.width, height: member.height });
    const what = best ? t("best") : member.kind === "changed copy" ? toldChange(member) : t(`kind_${member.kind.replace(" ", "_")}`);
    const mark = h("button", { type: "button", class: "mark", tabindex: "-1", title: t("pick"), "aria-label": t("pick"), "aria-pressed": String(tray.has(member)), onclick: () => tray.toggle(member) }, icon("check"));
    return h(
      "li",
      { class: `member${best ? " best" : ""}${tray.has(member) ? " picked" : ""}`, data: { id: member.id } },
      h("button", { type: "button", class: "face", title: member.path, "aria-label": `${what}, ${member.path.split("/").at(-1)}`, onclick: () => openIt(group, member) }, h("span", { class: "shot" }, image)),
      mark,
      h("strong", {}, what, best && h("small", {}, ` · ${t(WHY[group.why] ?? "why_path")}`), member.state === "away" && h("small", {}, ` · ${t("state_away")}`)),
      h("small", {}, `${member.width} × ${member.height} · ${member.format} · ${bytes(member.bytes)}`),
      h("small", { title: t(member.captured ? "facts_taken" : "facts_date") }, member.date.slice(0, 10)),
      h("code", {}, tail(member.path)),
      !best && member.kind !== "same bytes" && !server().read_only && h("button", { type: "button", class: "link differ", title: `${t("differ")} (n)`, onclick: () => differ(group, member) }, t("differ")),
    );
  }

  const tail = (path) => path.split("/").slice(-3).join("/");

  async function wholeOf(group, node) {
    const found = (await order.group(answer.run, group.number, group.members.length, 500)).items;
    group.members.push(...found);
    node.querySelector(".members").append(...found.map((member) => drawnMember(group, member)));
    if (group.members.length >= group.files) node.querySelector(":scope > .link")?.remove();
  }

  /** All but the best, to be saved as a list for one's own script. */
  async function chooseRest(group) {
    while (group.members.length < group.files && group.members.length < 2000) await wholeOf(group, group.node);
    tray.add(group.members.slice(1).filter((member) => !tray.has(member)));
  }

  // --- comparing ---------------------------------------------------------------------------------------------------------------

  function openIt(group, member) {
    const one = member.kind === "best" ? group.members[1] : member;
    go({ open: one.id });
  }

  async function opened() {
    const holds = () => rows.find((group) => group.members.slice(1).some((member) => member.id === place.open));
    while (place.open && answer && !holds() && rows.length < answer.groups) await load();
    const group = place.open && holds();
    if (!group) {
      compare.close();
      return;
    }
    const best = group.members[0];
    compare.show([{ ...best, label: best.path, less: false, called: t("best") }], group.members.slice(1).map((member) => ({ ...member, closeness: null })));
  }

  // --- deciding ------------------------------------------------------------------------------------------------------------------

  async function decide(group, request, words, mark) {
    try {
      const decision = await order.decide(request);
      mark(true);
      const undo = async () => {
        try {
          await order.undo(decision.number);
          mark(false);
          group.undoing.hidden = true;
          last = null;
        } catch (error) {
          report(error);
        }
      };
      last = undo;
      group.undoing.hidden = false;
      fill(group.undoing, icon("check"), h("span", { role: "status" }, words), h("button", { type: "button", class: "link", title: "u", onclick: () => void undo() }, t("undo")));
    } catch (error) {
      if (error.code === "LibraryReadOnly") toast(t("decide_readonly"), true);
      else report(error);
    }
  }

  const leave = (group) => group.node.classList.contains("left") || decide(group, { word: "leave", run: answer.run, group: group.number }, t("left_so"), (on) => group.node.classList.toggle("left", on));

  function differ(group, member) {
    const node = group.node.querySelector(`[data-id="${member.id}"]`);
    if (node.classList.contains("apart")) return;
    void decide(group, { word: "not the same", ids: [group.members[0].id, member.id] }, t("differ_so", { x: member.path.split("/").at(-1) }), (on) => node.classList.toggle("apart", on));
  }

  // --- by keyboard -----------------------------------------------------------------------------------------------------------------

  const current = () => {
    const node = document.activeElement?.closest?.(".group");
    const group = node && rows[Number(node.dataset.number)];
    const id = document.activeElement.closest(".member")?.dataset.id;
    return group ? { group, at: Math.max(0, group.members.findIndex((member) => member.id === id)) } : null;
  };

  function focus(group, at) {
    const face = group?.node.querySelectorAll(".face")[Math.max(0, at)];
    face?.focus({ preventScroll: true });
    face?.closest(".member").scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  element.addEventListener("keydown", (event) => {
    const now = current();
    if (!now || event.ctrlKey || event.altKey || event.metaKey) return;
    const { group, at } = now;
    const key = letter(event);
    const member = group.members[at];
    if (key === "ArrowRight") focus(group, Math.min(at + 1, group.members.length - 1));
    else if (key === "ArrowLeft") focus(group, at - 1);
    else if (key === "ArrowDown" || key === "j") focus(rows[group.number + 1] ?? group, rows[group.number + 1] ? 0 : at);
    else if (key === "ArrowUp" || key === "k") focus(rows[group.number - 1] ?? group, 0);
    else if (key === "v" && !server().read_only) void leave(group);
    else if (key === "n" && !server().read_only && member.kind !== "best" && member.kind !== "same bytes") differ(group, member);
    else if (key === "u" && last) void last();
    else if (key === "x") tray.toggle(member);
    else if (key === "s") moreLike(member.id);
    else return;
    event.preventDefault();
  });

  tray.onChange(() => {
    for (const node of list.querySelectorAll(".member")) {
      const on = tray.has({ id: node.dataset.id });
      node.classList.toggle("picked", on);
      node.querySelector(".mark").setAttribute("aria-pressed", String(on));
    }
  });

  return {
    element,
    told,
    tools: [kind, prefer, decided],
    show,
    /** A step of the history remembers how far the window was. */
    wall: {
      get count() {
        return rows.length;
      },
      anchor: () => (scrollY < 4 ? null : { at: Math.max(0, rows.findIndex((group) => group.node.getBoundingClientRect().bottom > 0)), by: Math.round(scrollY) }),
      focus: () => focus(rows[0], 0),
    },
    enter() {
      const kept = answer && keptPlace();
      scrollTo({ top: kept ? kept.by : 0, behavior: "instant" });
    },
    leave() {
      looking.leave();
      compare.close();
    },
    refresh() {
      answer = null;
    },
  };
}
