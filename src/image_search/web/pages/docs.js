// The document of the HTTP interface: /api/openapi.json, drawn. The descriptions are English, as the interface is; the rest follows the page.

import { fill, h } from "./dom.js";
import { language } from "./words.js";

const WORDS = {
  en: {
    title: "HTTP interface",
    page: "Image Search",
    intro: "Everything the page does goes through these requests. Send a key with each: Authorization: Bearer KEY. Addresses in answers are relative to the page's own.",
    raw: "The same as OpenAPI, for programs",
    parameters: "Parameters",
    body: "Body",
    answer: "Answer",
    errors: "Errors",
    example: "Example",
    required: "required",
    nothing: "The description could not be loaded. Open the page with its key, then come back.",
  },
  ko: {
    title: "HTTP 인터페이스",
    page: "Image Search",
    intro: "페이지가 하는 일은 모두 이 요청들로 이루어집니다. 요청마다 키를 함께 보내세요: Authorization: Bearer KEY. 응답 속 주소는 페이지 주소를 기준으로 한 상대 주소입니다.",
    raw: "프로그램용 OpenAPI 문서",
    parameters: "매개변수",
    body: "본문",
    answer: "응답",
    errors: "오류",
    example: "예",
    required: "필수",
    nothing: "설명을 불러오지 못했습니다. 키가 있는 링크로 페이지를 먼저 연 다음 다시 오세요.",
  },
};
const words = WORDS[language] ?? WORDS.en;
const main = document.getElementById("main");

document.documentElement.lang = language;
document.title = `${words.title} · Image Search`;
if (new URLSearchParams(location.search).has("token")) history.replaceState(null, "", "./docs");
fill(
  document.getElementById("top"),
  h("a", { class: "brand", href: "../" }, h("img", { src: "../static/icon.svg", alt: "", width: 28, height: 28 }), h("span", {}, words.page)),
);
void start();

async function start() {
  let api;
  try {
    const response = await fetch("openapi.json", { credentials: "same-origin" });
    if (!response.ok) throw new Error(String(response.status));
    api = await response.json();
  } catch {
    fill(main, h("div", { class: "state", role: "alert" }, h("strong", {}, words.nothing), h("a", { href: "../" }, words.page)));
    return;
  }
  draw(api);
}

function draw(api) {
  const groups = new Map();
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const tag = operation.tags?.[0] ?? "";
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push(request(api, path, method, operation));
    }
  }
  fill(
    main,
    h("div", { class: "intro" }, h("h1", {}, words.title), h("p", {}, words.intro), h("p", {}, h("a", { href: "openapi.json" }, words.raw), ` · ${api.info.version}`)),
    [...groups].map(([tag, rows]) => h("section", { lang: "en" }, h("h2", {}, tag), rows)),
  );
  document.getElementById(decodeURIComponent(location.hash.slice(1)))?.setAttribute("open", "");
}

function request(api, path, method, operation) {
  const [first, ...rest] = (operation.description ?? operation.summary ?? "").split("\n\n");
  const parts = [];
  if (rest.length) parts.push(rest.map((text) => h("p", {}, text)));
  if (operation.parameters?.length) parts.push(part(words.parameters, rows(api, operation.parameters.map((one) => [one.name, { ...one.schema, description: one.description }, one.required]))));
  for (const [type, { schema }] of Object.entries(operation.requestBody?.content ?? {})) parts.push(part(`${words.body} · ${type}`, shape(api, schema)));
  for (const [status, answer] of Object.entries(operation.responses)) {
    if (!status.startsWith("2")) continue;
    for (const [type, { schema }] of Object.entries(answer.content ?? {})) parts.push(part(`${words.answer} ${status} · ${type}`, shape(api, schema)));
  }
  const wrong = Object.entries(operation.responses).filter(([status]) => !status.startsWith("2"));
  parts.push(part(words.errors, h("dl", {}, wrong.map(([status, answer]) => h("div", {}, h("dt", {}, h("code", {}, status)), h("dd", {}, h("small", {}, answer.description)))))));
  parts.push(part(words.example, h("pre", { tabindex: 0 }, curl(path, method, operation))));
  return h(
    "details",
    { id: operation.operationId },
    h("summary", {}, h("span", { class: "method" }, method.toUpperCase()), h("code", {}, path), h("small", {}, first)),
    h("div", { class: "inside" }, parts),
  );
}

const part = (title, ...content) => h("div", {}, h("h3", { lang: language }, title), content);

const named = (api, schema) => (schema?.$ref ? api.components.schemas[schema.$ref.split("/").at(-1)] : schema) ?? {};

/** A schema as rows of its fields, and theirs below them; one that holds itself is named only. */
function shape(api, schema, above = []) {
  const inner = insides(api, schema).find((one) => !above.includes(one));
  if (!inner) return h("p", {}, h("small", {}, kind(api, schema)));
  const required = new Set(inner.required ?? []);
  return rows(api, Object.entries(inner.properties).map(([name, one]) => [name, one, required.has(name)]), [...above, inner]);
}

/** The objects with fields that a schema names: itself, the items of a list, one of several. */
function insides(api, schema) {
  const whole = named(api, schema);
  if (whole.properties) return [whole];
  return [...(whole.anyOf ?? []), ...(whole.items ? [whole.items] : [])].flatMap((one) => insides(api, one));
}

function rows(api, fields, above = []) {
  return h(
    "dl",
    {},
    fields.map(([name, schema, required]) =>
      h(
        "div",
        {},
        h("dt", {}, h("code", {}, name)),
        h(
          "dd",
          {},
          h("small", {}, [kind(api, schema), required && words.required, limits(schema)].filter(Boolean).join(", ")),
          schema.description && h("p", {}, schema.description),
          above.length < 5 && insides(api, schema).some((one) => !above.includes(one)) && shape(api, schema, above),
        ),
      ),
    ),
  );
}

function kind(api, schema) {
  if (!schema) return "";
  const whole = named(api, schema);
  if (schema.$ref) return whole.title ?? "";
  if (whole.anyOf) return whole.anyOf.map((one) => kind(api, one)).join(" | ");
  if (whole.enum ?? whole.const) return (whole.enum ?? [whole.const]).map((one) => JSON.stringify(one)).join(" | ");
  if (whole.type === "array") return `[${kind(api, whole.items)}]`;
  return whole.format ? `${whole.type} (${whole.format})` : (whole.type ?? "");
}

const LIMITS = { minimum: "≥ ", exclusiveMinimum: "> ", maximum: "≤ ", exclusiveMaximum: "< ", minItems: "items ≥ ", maxItems: "items ≤ ", maxLength: "length ≤ ", default: "default " };

const limits = (schema) =>
  Object.entries(LIMITS)
    .filter(([key]) => schema[key] !== undefined && schema[key] !== null && schema[key] !== "" && schema[key]?.length !== 0)
    .map(([key, text]) => text + JSON.stringify(schema[key]))
    .join(", ");

function curl(path, method, operation) {
  const base = new URL("../", location.href).href.replace(/\/$/, "");
  const lines = [`curl -H "Authorization: Bearer $KEY" '${base}${path.replace("{id}", "id:1")}'`];
  const type = Object.keys(operation.requestBody?.content ?? {})[0];
  if (type === "application/json") lines.push(`-H "Content-Type: ${type}" -d @request.json`);
  else if (type) lines.push(`-H "Content-Type: ${type}" --data-binary @photo.jpg`);
  else if (method !== "get") lines.push(`-X ${method.toUpperCase()}`);
  return lines.join(" \\\n     ");
}
