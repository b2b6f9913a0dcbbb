// The server's interface for order in the library: a long look, and what it found.

import { ask, post } from "./api.js";

export const look = (asked) => post("api/looks", asked);
export const lookNow = () => ask("api/looks");
export const stopLook = () => post("api/looks/stop", {});
export const groups = (run, start, limit) => ask(`api/groups?${new URLSearchParams({ run, start, limit })}`);
export const group = (run, number, start, limit) => ask(`api/groups/${number}?${new URLSearchParams({ run, start, limit })}`);
export const decide = (request) => post("api/decisions", request);
export const decisions = () => ask("api/decisions");
export const undo = (number) => post(`api/decisions/${number}/undo`, {});
export const labels = (run) => ask(`api/check?run=${run}`);
export const suspects = (run, asked) => ask(`api/check/suspects?${new URLSearchParams({ run, ...asked })}`);
export const outliers = (run, asked) => ask(`api/check/outliers?${new URLSearchParams({ run, ...asked })}`);
export const points = (run, start) => ask(`api/map?${new URLSearchParams({ run, start })}`);
