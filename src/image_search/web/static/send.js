// A body on its way to the server: how far it is, and a way to stop it. (`fetch` tells neither while it sends.)

import { Problem } from "./api.js";

const TRIES = 3; // where the server is full and says when to come again

/** onShare(0 to 1) while it is sent; signal: an AbortSignal. The answer's JSON, or a Problem; AbortError when stopped. */
export async function send(path, body, { headers = {}, onShare = () => {}, signal = null } = {}) {
  for (let tried = 1; ; tried += 1) {
    const { status, answer, wait } = await once(path, body, headers, onShare, signal);
    if (status >= 200 && status < 300) return answer;
    if (status !== 503 || tried === TRIES) throw new Problem(answer ?? {}, status);
    await new Promise((go) => setTimeout(go, wait * 1000 * (1 + Math.random())));
    signal?.throwIfAborted();
  }
}

function once(path, body, headers, onShare, signal) {
  return new Promise((done, failed) => {
    const request = new XMLHttpRequest();
    const stop = () => request.abort();
    signal?.throwIfAborted();
    signal?.addEventListener("abort", stop);
    request.open("POST", path);
    request.responseType = "json";
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.addEventListener("progress", (event) => event.lengthComputable && onShare(event.loaded / event.total));
    request.upload.addEventListener("load", () => onShare(1));
    request.addEventListener("load", () => done({ status: request.status, answer: request.response, wait: Number(request.getResponseHeader("Retry-After")) || 1 }));
    request.addEventListener("error", () => failed(new Problem({ code: "Gone" })));
    request.addEventListener("abort", () => failed(signal.reason));
    request.addEventListener("loadend", () => signal?.removeEventListener("abort", stop));
    request.send(body);
  });
}
