/** Run config as YAML under a JSON Schema: where the cursor is, what fits there, where a path stands. */
import { type Document, isCollection, isMap, isScalar, isSeq, LineCounter, parseDocument } from "yaml";

export type Schema = {
  type?: string | string[];
  title?: string;
  description?: string;
  properties?: Record<string, Schema>;
  additionalProperties?: boolean | Schema;
  items?: Schema;
  required?: string[];
  enum?: unknown[];
  const?: unknown;
  default?: unknown;
  anyOf?: Schema[];
  oneOf?: Schema[];
  allOf?: Schema[];
  $ref?: string;
  $defs?: Record<string, Schema>;
};

/** What a `$ref` stands for, and what several parts come to together. */
export function resolved(schema: Schema | undefined, root: Schema): Schema {
  let found = schema ?? {};
  for (let depth = 0; found.$ref && depth < 20; depth++) {
    const path = found.$ref.replace(/^#\//, "").split("/");
    let at: unknown = root;
    for (const part of path) at = (at as Record<string, unknown> | undefined)?.[part];
    found = {
      ...(at as Schema | undefined),
      ...Object.fromEntries(Object.entries(found).filter(([key]) => key !== "$ref")),
    };
  }
  for (const part of found.allOf ?? []) {
    const inner = resolved(part, root);
    found = { ...inner, ...found, properties: { ...inner.properties, ...found.properties } };
  }
  return found;
}

/** Each of the shapes that a value may have. */
export function shapes(schema: Schema, root: Schema): Schema[] {
  const found = resolved(schema, root);
  const several = found.anyOf ?? found.oneOf;
  return several ? several.flatMap((each) => shapes(each, root)) : [found];
}

/** What holds at a path, such as ["ops", "one", "config"]; several where there are alternatives. */
export function schemasAt(root: Schema, path: readonly (string | number)[]): Schema[] {
  let found = shapes(root, root);
  for (const part of path) {
    found = found.flatMap((each) => {
      if (typeof part === "number") return each.items ? shapes(each.items, root) : [];
      const inner =
        each.properties?.[part] ??
        (typeof each.additionalProperties === "object" ? each.additionalProperties : undefined);
      return inner ? shapes(inner, root) : [];
    });
  }
  return found;
}

export const typeOf = (schema: Schema): string => {
  if (schema.enum) return schema.enum.map((each) => JSON.stringify(each)).join(" | ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  const type = Array.isArray(schema.type) ? schema.type.join(" | ") : schema.type;
  return type ?? (schema.properties ? "object" : "any");
};

/** The keys above a line, by indentation: works while the document is being typed and is no YAML yet. */
export function pathAbove(
  text: string,
  offset: number,
): { path: string[]; indent: number; key: string | null; typed: string } {
  const lines = text.slice(0, offset).split("\n");
  const line = lines.pop() ?? "";
  const indent = line.length - line.trimStart().length;
  const path: string[] = [];
  let limit = indent;
  for (const above of lines.reverse()) {
    if (!above.trim() || above.trim().startsWith("#")) continue;
    const place = above.length - above.trimStart().length;
    const match = /^\s*(?:- )?("?)([\w.$/[\]-]+)\1\s*:/.exec(above);
    if (place < limit && match) {
      path.unshift(match[2] ?? "");
      limit = place;
    }
    if (limit === 0) break;
  }
  const value = /^\s*("?)([\w.$/[\]-]+)\1\s*:\s+(.*)$/.exec(line);
  return { path, indent, key: value ? (value[2] ?? null) : null, typed: value ? (value[3] ?? "") : line.trim() };
}

export type Suggestion = { label: string; detail: string; info?: string; insert: string };

/** What may be written where the cursor is. */
export function suggestions(root: Schema, text: string, offset: number): Suggestion[] {
  const { path, indent, key } = pathAbove(text, offset);
  if (key !== null) {
    const found = schemasAt(root, [...path, key]).flatMap((each) => [
      ...(each.enum ?? []),
      ...(each.type === "boolean" ? [true, false] : []),
      ...(each.const !== undefined ? [each.const] : []),
      ...(each.default !== undefined && typeof each.default !== "object" ? [each.default] : []),
    ]);
    return [...new Set(found.map((each) => (typeof each === "string" ? each : JSON.stringify(each))))].map((label) => ({
      label,
      detail: "value",
      insert: label,
    }));
  }
  const there = new Set(siblings(text, offset, indent));
  const found = new Map<string, Suggestion>();
  for (const schema of schemasAt(root, path))
    for (const [name, given] of Object.entries(schema.properties ?? {})) {
      if (there.has(name)) continue;
      const inner = shapes(given, root)[0] ?? {};
      const isObject = inner.properties !== undefined || inner.type === "object";
      const needed = schema.required?.includes(name) ? "required " : "";
      const value =
        inner.default !== undefined && typeof inner.default !== "object" ? ` ${JSON.stringify(inner.default)}` : " ";
      found.set(name, {
        label: name,
        detail: needed + typeOf(inner),
        ...(given.description || inner.description ? { info: given.description ?? inner.description ?? "" } : {}),
        insert: isObject ? `${name}:\n${" ".repeat(indent + 2)}` : `${name}:${value}`,
      });
    }
  return [...found.values()];
}

/** Keys of the same mapping, so that none is offered twice. */
function siblings(text: string, offset: number, indent: number): string[] {
  const lines = text.split("\n");
  const at = text.slice(0, offset).split("\n").length - 1;
  const found: string[] = [];
  for (const step of [-1, 1])
    for (let index = at + step; index >= 0 && index < lines.length; index += step) {
      const line = lines[index] ?? "";
      if (!line.trim()) continue;
      const place = line.length - line.trimStart().length;
      if (place < indent) break;
      const match = /^\s*("?)([\w.$/[\]-]+)\1\s*:/.exec(line);
      if (place === indent && match) found.push(match[2] ?? "");
    }
  return found;
}

export type Mark = { from: number; to: number; message: string };

/** Where the thing at a path stands in the text; the nearest above it where it is not there. */
export function rangeOf(text: string, path: readonly string[]): { from: number; to: number } {
  let document: Document;
  try {
    document = parseDocument(text);
  } catch {
    return { from: 0, to: 0 };
  }
  let node: unknown = document.contents;
  let range = { from: 0, to: Math.max(0, text.indexOf("\n") === -1 ? text.length : text.indexOf("\n")) };
  for (const part of path) {
    if (isMap(node)) {
      const pair = node.items.find((each) => isScalar(each.key) && String(each.key.value) === part);
      if (!pair) break;
      if (isScalar(pair.key) && pair.key.range) range = { from: pair.key.range[0], to: pair.key.range[1] };
      node = pair.value;
    } else if (isSeq(node)) {
      node = node.items[Number(part.replace(/\D/g, ""))];
      const span = (node as { range?: [number, number, number] } | undefined)?.range;
      if (span) range = { from: span[0], to: span[1] };
    } else break;
  }
  return range;
}

/** What keeps the text from being YAML. */
export function syntaxMarks(text: string): Mark[] {
  const counter = new LineCounter();
  const document = parseDocument(text, { lineCounter: counter });
  return document.errors.map((error) => ({
    from: error.pos[0],
    to: Math.max(error.pos[1], error.pos[0] + 1),
    message: error.message.split("\n")[0] ?? "not YAML",
  }));
}

/** The value at a path; undefined where there is none, or where the text is no YAML. */
export function valueAt(text: string, path: readonly string[]): unknown {
  const document = parseDocument(text);
  if (document.errors.length) return undefined;
  return path.length ? document.getIn(path) : document.toJS();
}

/** The text with another value at a path; comments stay. `undefined` takes it away, with what is empty above it. */
export function withValue(text: string, path: readonly string[], value: unknown): string {
  const document = parseDocument(text);
  if (document.errors.length) return text;
  if (value === undefined) {
    document.deleteIn(path);
    for (let depth = path.length - 1; depth > 0; depth--) {
      const inner = document.getIn(path.slice(0, depth));
      if (isMap(inner) && inner.items.length === 0) document.deleteIn(path.slice(0, depth));
    }
  } else {
    if (!isMap(document.contents)) document.contents = document.createNode({}) as never;
    for (let depth = 1; depth < path.length; depth++) {
      const above = path.slice(0, depth);
      if (!isCollection(document.getIn(above, true))) document.setIn(above, document.createNode({}));
    }
    // a plain value takes the place of the one before, whose comment stays
    document.setIn(path, value !== null && typeof value === "object" ? document.createNode(value) : value);
  }
  const empty = isMap(document.contents) && document.contents.items.length === 0;
  return empty ? "" : document.toString({ lineWidth: 0 });
}

/** Keys of the text that the schema does not have. */
export function extras(text: string, root: Schema): string[][] {
  const found: string[][] = [];
  const walk = (node: unknown, path: string[]) => {
    if (!isMap(node)) return;
    const schemas = schemasAt(root, path);
    const closed = schemas.length > 0 && schemas.every((each) => each.additionalProperties === false);
    for (const pair of node.items) {
      const name = isScalar(pair.key) ? String(pair.key.value) : "";
      if (closed && !schemas.some((each) => each.properties?.[name])) found.push([...path, name]);
      else walk(pair.value, [...path, name]);
    }
  };
  walk(parseDocument(text).contents, []);
  return found;
}

/** What is required and missing gets its place, from a document that has all of it; the rest stays. */
export function withMissing(text: string, scaffold: string): string {
  const wanted = parseDocument(scaffold).toJS() as unknown;
  let made = text;
  const walk = (value: unknown, path: string[]) => {
    if (value !== null && typeof value === "object" && !Array.isArray(value)) {
      for (const [key, inner] of Object.entries(value)) walk(inner, [...path, key]);
    } else if (valueAt(made, path) === undefined) made = withValue(made, path, value);
  };
  if (wanted) walk(wanted, []);
  return made;
}
