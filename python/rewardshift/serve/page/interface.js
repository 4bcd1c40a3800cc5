// Endpoints and their fields, from the server's own description of itself.

import { description } from "./api.js";
import { byId, el } from "./dom.js";

const METHODS = ["get", "post", "put", "delete"];

try {
  show(await description());
} catch (error) {
  byId("trouble").textContent = `${error.message} If it needs a key, give it on the page first.`;
  byId("trouble").hidden = false;
}

function show(told) {
  for (const [path, methods] of Object.entries(told.paths)) {
    for (const method of METHODS.filter((known) => methods[known])) {
      const id = `${method}${path.replaceAll(/[^a-z0-9]+/gi, "-")}`;
      const name = `${method.toUpperCase()} ${path}`;
      byId("contents").append(el("a", { href: `#${id}` }, name));
      byId("endpoints").append(endpoint(id, name, methods[method], told));
    }
  }
}

function endpoint(id, name, operation, told) {
  const section = el("section", { id }, el("h2", {}, name));
  section.append(el("p", { className: "summary" }, operation.description ?? ""));
  const schema = operation.requestBody?.content?.["application/json"]?.schema;
  const fields = [
    ...(operation.parameters ?? []).map((field) => [field.name, field.schema, field.required]),
    ...fieldsOf(schema, told),
  ];
  if (fields.length === 0) return section;
  section.append(el("table", {}, el("tbody", {}, ...fields.map((field) => row(field, told)))));
  return section;
}

function fieldsOf(schema, told) {
  const { properties = {}, required = [] } = schema ? resolved(schema, told) : {};
  return Object.entries(properties).map(([name, own]) => [name, own, required.includes(name)]);
}

function row([name, schema, isRequired], told) {
  const kind = [...new Set(kinds(schema, told))].join(", ");
  const cells = [name, isRequired ? `${kind}; required` : kind, schema.description ?? ""];
  return el("tr", {}, ...cells.map((text) => el("td", {}, text)));
}

/** The types that a value may have, in words; null is a field that is left out. */
function kinds(schema, told) {
  const own = resolved(schema, told);
  const among = own.anyOf ?? own.oneOf;
  if (among) return among.flatMap((one) => kinds(one, told));
  if (own.enum ?? own.const) return [own.enum ?? own.const].flat().map((value) => `"${value}"`);
  if (own.type === "null") return [];
  if (own.type === "array") return [`list of ${kinds(own.items ?? {}, told).join(" or ")}`];
  return [own.type ?? "anything"];
}

function resolved(schema, told) {
  const name = schema.$ref?.split("/").at(-1);
  return name ? told.components.schemas[name] : schema;
}
