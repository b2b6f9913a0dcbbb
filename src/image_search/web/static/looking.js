// A long look at the library by the server: begun, watched, stopped; and what is said where it finds nothing to look at.

import { button, fill, h, report } from "./dom.js";
import { makeState } from "./states.js";
import * as order from "./tidyapi.js";
import { problemText, t } from "./words.js";

const AGAIN_MS = 400; // between two looks at how far it is
const STEPS = { compare: "step_compare", "look closer": "step_closer", neighbours: "step_neighbours", map: "step_map" };
const pause = () => new Promise((go) => setTimeout(go, AGAIN_MS));

/** what: "groups", "check", "map". */
export function makeLooking(what, server) {
  const words = h("strong", { role: "status" });
  const line = h("p", { class: "hint" });
  const meter = h("progress", { max: "1" });
  const stop = button(t("stop"), () => order.stopLook().catch(report), {}, "stop");
  const job = h("section", { class: "job running looking", hidden: true }, h("header", {}, h("div", {}, words), stop), meter, line);
  const state = h("div", {});
  const element = h("div", {}, job, state);
  let turn = 0;

  function paint(look) {
    const own = look.what === what;
    job.hidden = false;
    stop.hidden = Boolean(server().read_only);
    words.textContent = own ? t(`looking_${what}`) : t("looking_other");
    meter.setAttribute("aria-label", words.textContent);
    if (look.total > 0) meter.value = look.done / look.total;
    else meter.removeAttribute("value");
    line.textContent = [look.step && t(STEPS[look.step] ?? "step_other"), look.total > 0 && t("job_of", { done: look.done, total: look.total })].filter(Boolean).join(" · ");
  }

  /** The number of the look that answers this, when it has ended; null: it gave none, which is said, or nobody waits for it any more. */
  async function need(asked, again) {
    const mine = ++turn;
    fill(state);
    try {
      let look = null;
      while (!look || look.state === "working") {
        if (look) {
          paint(look);
          await pause();
          if (mine !== turn) return null;
        }
        look = await next(look, { what, ...asked });
        if (mine !== turn) return null;
      }
      job.hidden = true;
      if (look.state === "done") return look.run;
      fill(state, look.state === "stopped" ? makeState({ picture: "stop", title: t("look_stopped"), text: t(`look_stopped_${what}`), actions: [[t("go_on"), again, "right"]] }) : failed(look.problem, again));
    } catch (error) {
      if (mine !== turn) return null;
      job.hidden = true;
      if (error.code === "Gone") report(error);
      else fill(state, failed(error, again));
    }
    return null;
  }

  /** Ours is watched; while another one is in work we wait for our turn. */
  async function next(look, asked) {
    const now = await order.lookNow();
    if (look?.what === what && now.what === what && now.run === look.run) return now;
    const taken = { ...now, what: now.what === what ? "other" : now.what, state: "working" };
    if (now.state === "working" && now.what !== what) return taken;
    try {
      return await order.look(asked);
    } catch (error) {
      if (error.code !== "Running") throw error;
      return taken; // of the same kind, with another question
    }
  }

  return {
    element,
    need,
    /** One plain line instead of an answer. */
    say: (said) => fill(state, said && makeState(said)),
    /** Nobody waits for it any more; it goes on. */
    leave() {
      turn += 1;
      job.hidden = true;
    },
  };
}

function failed(problem, again) {
  const missing = problem.code === "MissingExtra";
  const never = problem.code === "NeedsFolder";
  return makeState({ picture: "warning", title: missing ? t("look_extra") : t("look_failed"), text: missing ? t("look_extra_hint") : problemText(problem), code: missing ? problem.hint || problem.message : never ? /image-search .*/.exec(problem.hint)?.[0] : "", actions: never ? [] : [[t("retry"), again, "refresh"]] });
}
