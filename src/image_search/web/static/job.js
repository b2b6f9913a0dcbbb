// The index run: how far it is, and the button that stops it.

import * as api from "./api.js";
import { button, fill, h, iconButton, report } from "./dom.js";
import { problemText, reasonText, t } from "./words.js";

export const RUNNING = ["drawing", "scanning", "indexing", "finishing"];

/** folderOf(job): the number of the folder that a run was about, or -1 if it may not be run from here. */
export function makeJob(folderOf, readOnly) {
  const element = h("section", { class: "job", hidden: true, "aria-label": t("job_indexing") });
  const words = h("strong", { role: "status" });
  const folder = h("code", {});
  const meter = h("progress", { max: "1", "aria-label": t("job_indexing") });
  const line = h("p", { class: "hint" }); // changes four times a second: nothing to be read aloud
  const stop = button(t("stop"), () => api.stop().catch(report), {}, "stop");
  const which = h("button", { type: "button", class: "link", onclick: () => showSkipped().catch(report) }, t("skipped_show"));
  const dismiss = iconButton("close", t("dismiss"), () => {
    hidden = true;
    element.hidden = true;
  });
  const goOn = button(t("go_on"), () => api.index(number).catch(report), { class: "button primary" }, "right");
  let hidden = false;
  let number = -1;
  fill(element, h("header", {}, h("div", {}, words, folder), goOn, stop, dismiss), meter, line, which);

  let running = false;
  return {
    element,
    running: () => running,
    show(job) {
      running = RUNNING.includes(job.state);
      if (running) hidden = false;
      element.hidden = hidden || job.state === "none";
      dismiss.hidden = running;
      element.classList.toggle("failed", job.state === "failed");
      element.classList.toggle("running", running);
      const said = job.state === "stopped" && job.total ? t("job_stopped_at", job) : t(`job_${job.state}`, job);
      if (words.textContent !== said) words.textContent = said;
      folder.textContent = job.folder;
      stop.hidden = !running || readOnly() || job.state === "finishing";
      number = folderOf(job);
      goOn.hidden = !["stopped", "failed"].includes(job.state) || number < 0;
      meter.hidden = !running && job.state !== "stopped";
      if (job.total > 0) meter.value = job.done / job.total;
      else meter.removeAttribute("value");
      line.textContent = job.problem ? problemText(job.problem) : running && job.total ? progress(job) : job.state === "stopped" ? t("job_stopped_hint") : job.skipped ? t("skipped", { n: job.skipped }) : "";
      which.hidden = !job.skipped || job.state === "drawing";
      line.hidden = !running && !line.textContent;
    },
  };
}

function progress(job) {
  const parts = [t("job_of", { done: job.done, total: job.total })];
  if (job.rate > 0) parts.push(t("rate", { n: Math.round(job.rate * 10) / 10 }));
  if (job.seconds_left !== null && job.done < job.total) parts.push(left(job.seconds_left));
  if (job.skipped) parts.push(t("skipped", { n: job.skipped }));
  return parts.join(" · ");
}

function left(seconds) {
  if (seconds < 90) return t("left_seconds", { n: Math.max(1, Math.round(seconds)) });
  if (seconds < 5400) return t("left_minutes", { n: Math.round(seconds / 60) });
  return t("left_hours", { n: Math.round(seconds / 360) / 10 });
}

/** Which files were skipped, and why. */
export async function showSkipped() {
  const dialog = h("dialog", { class: "small wide", "aria-label": t("skipped_show"), onclose: () => dialog.remove() });
  const found = await api.skipped();
  fill(
    dialog,
    h("header", {}, h("h2", {}, t("skipped", { n: found.reasons.reduce((sum, one) => sum + one.files, 0) })), button(t("close"), () => dialog.close(), {}, "close")),
    h("ul", { class: "reasons" }, found.reasons.map((one) => h("li", {}, h("b", {}, one.files.toLocaleString()), " ", reasonText(one.code, one.reason)))),
    h("ul", { class: "paths" }, found.files.map((one) => h("li", {}, h("code", {}, one.path), h("small", {}, reasonText(one.code, one.reason))))),
  );
  document.body.append(dialog);
  dialog.showModal();
}
