// Renders /openapi.json. Only text nodes are made from the document, never markup.
"use strict";

const METHODS = ["get", "post", "put", "patch", "delete"];
let components = {};

function element(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value !== undefined) node.setAttribute(key, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

// Paragraphs, with `code` between backquotes.
function prose(text) {
  const holder = element("div", { class: "prose" });
  for (const paragraph of (text || "").split(/\n\s*\n/)) {
    if (!paragraph.trim()) continue;
    const node = element("p");
    paragraph.split("`").forEach((piece, index) => {
      node.append(index % 2 ? element("code", {}, piece) : piece);
    });
    holder.append(node);
  }
  return holder;
}

function resolve(schema) {
  const reference = schema && schema.$ref;
  if (!reference) return [schema || {}, null];
  const name = reference.split("/").pop();
  return [(components.schemas || {})[name] || {}, name];
}

// One of several shapes, of which `null` is no shape of its own.
function shapes(schema) {
  return (schema.oneOf || schema.anyOf || []).filter((shape) => shape.type !== "null");
}

function typeName(given) {
  const [schema, name] = resolve(given);
  if (name) return name;
  const several = shapes(schema);
  if (several.length) return several.map(typeName).join(" or ");
  if (schema.type === "array") return `array of ${typeName(schema.items)}`;
  const types = [].concat(schema.type || "any").filter((type) => type !== "null");
  return types.join(" or ") + (schema.format ? ` (${schema.format})` : "");
}

function limits(schema) {
  const parts = [];
  if (schema.minimum !== undefined) parts.push(`at least ${schema.minimum}`);
  if (schema.maximum !== undefined) parts.push(`at most ${schema.maximum}`);
  if (schema.maxItems !== undefined) parts.push(`at most ${schema.maxItems} items`);
  if (schema.enum) parts.push(`one of ${schema.enum.map((value) => JSON.stringify(value)).join(", ")}`);
  if (schema.default !== undefined) parts.push(`default ${JSON.stringify(schema.default)}`);
  return parts.join(", ");
}

// Properties of an object, those of `allOf` included.
function members(given) {
  const [schema] = resolve(given);
  const own = Object.entries(schema.properties || {}).map(([name, value]) => ({
    name, value, required: (schema.required || []).includes(name),
  }));
  return (schema.allOf || []).flatMap(members).concat(own);
}

function tree(given, depth) {
  let [schema] = resolve(given);
  const several = shapes(schema);
  if (several.length === 1) [schema] = resolve(several[0]);
  if (schema.type === "array") return tree(schema.items, depth);
  const list = members(schema);
  if (!list.length || depth > 5) return null;
  return element("ul", { class: "schema" }, ...list.map(({ name, value, required }) => {
    const [inner] = resolve(value);
    const rules = limits(inner);
    return element("li", {},
      element("code", {}, name), " ", element("span", { class: "quiet" }, typeName(value)),
      required ? element("span", { class: "required" }, "required") : null,
      rules ? element("span", { class: "quiet" }, ` · ${rules}`) : null,
      value.description || inner.description ? prose(value.description || inner.description) : null,
      tree(value, depth + 1));
  }));
}

function example(given, depth) {
  const [schema] = resolve(given);
  if (schema.example !== undefined) return schema.example;
  const several = shapes(schema);
  if (several.length) return example(several[0], depth);
  if (schema.enum) return schema.enum[0];
  const type = [].concat(schema.type || "object").find((one) => one !== "null");
  if (type === "array") return depth > 4 ? [] : [example(schema.items, depth + 1)];
  if (type === "boolean") return false;
  if (type === "integer" || type === "number") return schema.minimum || 0;
  if (type === "string") return { "date-time": "2026-01-31T12:00:00Z", uuid: "0198c0de-0000-7000-8000-000000000000" }[schema.format] || "text";
  const out = {};
  if (depth < 5) for (const { name, value } of members(schema)) out[name] = example(value, depth + 1);
  return out;
}

function sample(value) {
  return element("pre", {}, element("code", {}, JSON.stringify(value, null, 2)));
}

function parameters(operation) {
  if (!(operation.parameters || []).length) return [];
  const rows = operation.parameters.map((parameter) => element("tr", {},
    element("td", {}, element("code", {}, parameter.name),
      parameter.required ? element("span", { class: "required" }, "required") : null),
    element("td", { class: "quiet" }, parameter.in),
    element("td", { class: "quiet" }, typeName(parameter.schema)),
    element("td", {}, prose(parameter.description))));
  return [element("h4", {}, "Parameters"), element("table", {}, element("tbody", {}, ...rows))];
}

function content(body, withExample) {
  return Object.entries((body && body.content) || {}).flatMap(([type, media]) => [
    element("p", { class: "quiet" }, element("code", {}, type), ` ${typeName(media.schema)}`),
    tree(media.schema, 0),
    withExample && type === "application/json" ? sample(example(media.schema, 0)) : null,
  ]);
}

function responses(operation) {
  const list = Object.entries(operation.responses || {}).map(([status, response]) =>
    element("details", { class: "response" },
      element("summary", {}, element("code", {}, status), " ", response.description || ""),
      ...content(response, status.startsWith("2"))));
  return [element("h4", {}, "Responses"), ...list];
}

function curl(method, path, operation, server) {
  const lines = [`curl ${method === "get" ? "" : `-X ${method.toUpperCase()} `}${server}${path}`];
  if ((operation.security || []).length) lines.push(`-H "Authorization: Bearer $TOKEN"`);
  const media = operation.requestBody && operation.requestBody.content["application/json"];
  if (media) {
    lines.push(`-H "Content-Type: application/json"`);
    lines.push(`-d '${JSON.stringify(example(media.schema, 0)).replaceAll("'", "'\\''")}'`);
  }
  return element("pre", {}, element("code", {}, lines.join(" \\\n  ")));
}

function section(method, path, operation) {
  const permission = operation["x-permission"];
  const access = permission ? `needs ${permission}` : (operation.security || []).length ? "needs a credential" : "public";
  return element("section", { class: "operation", id: operation.operationId },
    element("h3", {}, operation.summary || operation.operationId),
    element("div", { class: "route" }, element("span", { class: `method ${method}` }, method), path),
    element("span", { class: "badge" }, access),
    prose(operation.description),
    ...parameters(operation),
    ...(operation.requestBody ? [element("h4", {}, "Request body"), ...content(operation.requestBody, false)] : []),
    element("h4", {}, "Example"), curl(method, path, operation, location.origin),
    ...responses(operation));
}

function render(api) {
  components = api.components || {};
  document.title = `${api.info.title} ${api.info.version}`;
  document.getElementById("title").textContent = api.info.title;
  const main = document.getElementById("reference");
  const index = document.getElementById("index");
  main.replaceChildren(element("header", {},
    element("h1", {}, `${api.info.title} `, element("span", { class: "badge" }, api.info.version)),
    prose(api.info.description),
    element("p", {}, element("a", { href: "/openapi.json" }, "OpenAPI document"), " · ",
      element("a", { href: "/docs/" }, "Try it"), " · ", element("a", { href: "/docs/errors" }, "Errors"))));
  const byTag = new Map((api.tags || []).map((tag) => [tag.name, { tag, operations: [] }]));
  for (const [path, item] of Object.entries(api.paths)) {
    for (const method of METHODS.filter((name) => item[name])) {
      const name = (item[method].tags || ["other"])[0];
      if (!byTag.has(name)) byTag.set(name, { tag: { name }, operations: [] });
      byTag.get(name).operations.push([method, path, item[method]]);
    }
  }
  for (const { tag, operations } of byTag.values()) {
    if (!operations.length) continue;
    main.append(element("h2", { class: "tag" }, tag.name), prose(tag.description));
    const group = element("div", {}, element("h2", {}, tag.name));
    for (const [method, path, operation] of operations) {
      main.append(section(method, path, operation));
      group.append(element("a", { href: `#${operation.operationId}`, "data-text": `${method} ${path} ${operation.summary}`.toLowerCase() },
        element("span", { class: `method ${method}` }, method), operation.summary || path));
    }
    index.append(group);
  }
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

document.getElementById("filter").addEventListener("input", (event) => {
  const wanted = event.target.value.toLowerCase();
  for (const link of document.querySelectorAll("#index a")) {
    link.hidden = !link.dataset.text.includes(wanted);
    link.style.display = link.hidden ? "none" : "";
  }
});

fetch("/openapi.json")
  .then((answer) => answer.ok ? answer.json() : Promise.reject(new Error(`HTTP ${answer.status}`)))
  .then(render)
  .catch((error) => {
    document.getElementById("reference").replaceChildren(
      element("p", {}, `The document could not be loaded: ${error.message}`));
  });
