/** A YAML editor that completes and explains by a JSON Schema, and marks what the server found wrong. */
import { autocompletion, type CompletionContext, closeBrackets, completionKeymap } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { yaml } from "@codemirror/lang-yaml";
import { bracketMatching, HighlightStyle, indentUnit, syntaxHighlighting } from "@codemirror/language";
import { lintGutter, setDiagnostics } from "@codemirror/lint";
import { EditorState } from "@codemirror/state";
import { drawSelection, EditorView, hoverTooltip, keymap, lineNumbers } from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { VisuallyHidden } from "@mantine/core";
import { useEffect, useId, useRef } from "react";
import { type Mark, pathAbove, type Schema, schemasAt, suggestions, typeOf } from "../lib/config";

const look = HighlightStyle.define([
  { tag: [tags.propertyName, tags.definition(tags.propertyName)], color: "var(--going)" },
  { tag: [tags.string, tags.content], color: "var(--mantine-color-text)" },
  { tag: [tags.number, tags.bool, tags.null], color: "var(--ok)" },
  { tag: tags.comment, color: "var(--quiet)", fontStyle: "italic" },
]);

const theme = EditorView.theme({
  "&": { backgroundColor: "var(--mantine-color-body)", color: "var(--mantine-color-text)" },
  ".cm-gutters": { backgroundColor: "var(--panel)", color: "var(--quiet)", border: "none" },
  ".cm-cursor": { borderLeftColor: "var(--mantine-color-text)" },
  ".cm-tooltip": {
    backgroundColor: "var(--mantine-color-body)",
    color: "var(--mantine-color-text)",
    border: "1px solid var(--line)",
  },
  "&.cm-focused .cm-selectionBackground, .cm-selectionBackground": {
    backgroundColor: "color-mix(in srgb, var(--going) 30%, transparent) !important",
  },
  ".cm-content": { fontFamily: "var(--mantine-font-family-monospace)" },
});

function complete(schema: () => Schema) {
  return (context: CompletionContext) => {
    const word = context.matchBefore(/[\w.$-]*/);
    if (!context.explicit && (!word || word.from === word.to)) return null;
    const options = suggestions(schema(), context.state.doc.toString(), context.pos).map((each) => ({
      label: each.label,
      detail: each.detail,
      ...(each.info ? { info: each.info } : {}),
      apply: each.insert,
      type: "property",
    }));
    return { from: word?.from ?? context.pos, options };
  };
}

function explain(schema: () => Schema) {
  return hoverTooltip((view, pos) => {
    const line = view.state.doc.lineAt(pos);
    const match = /^(\s*)("?)([\w.$/[\]-]+)\2\s*:/.exec(line.text);
    if (!match) return null;
    const from = line.from + (match[1]?.length ?? 0);
    const to = from + (match[3]?.length ?? 0);
    if (pos < from || pos > to) return null;
    const { path } = pathAbove(view.state.doc.toString(), from);
    const found = schemasAt(schema(), [...path, match[3] ?? ""])[0];
    if (!found) return null;
    return {
      pos: from,
      end: to,
      create() {
        const dom = document.createElement("div");
        dom.style.cssText = "padding:6px 10px;max-width:420px;white-space:pre-wrap";
        const told = [
          `${match[3]}: ${typeOf(found)}`,
          found.description,
          found.default !== undefined ? `Default: ${JSON.stringify(found.default)}` : "",
        ];
        dom.textContent = told.filter(Boolean).join("\n");
        return { dom };
      },
    };
  });
}

export function YamlEditor({
  value,
  onChange,
  schema,
  marks = [],
  onSubmit,
  label,
  height = 320,
}: {
  value: string;
  onChange: (value: string) => void;
  schema?: Schema;
  marks?: Mark[];
  onSubmit?: () => void;
  label: string;
  height?: number;
}) {
  const host = useRef<HTMLDivElement>(null);
  const way = useId();
  const view = useRef<EditorView>(null);
  const latest = useRef({ onChange, onSubmit, schema: schema ?? {} });
  latest.current = { onChange, onSubmit, schema: schema ?? {} };
  // biome-ignore lint/correctness/useExhaustiveDependencies: the editor is made once
  useEffect(() => {
    if (!host.current) return;
    const made = new EditorView({
      parent: host.current,
      state: EditorState.create({
        doc: value,
        extensions: [
          lineNumbers(),
          history(),
          drawSelection(),
          bracketMatching(),
          closeBrackets(),
          indentUnit.of("  "),
          yaml(),
          syntaxHighlighting(look),
          theme,
          lintGutter(),
          autocompletion({ override: [complete(() => latest.current.schema)] }),
          explain(() => latest.current.schema),
          keymap.of([
            {
              key: "Mod-Enter",
              run: () => {
                latest.current.onSubmit?.();
                return true;
              },
            },
            ...completionKeymap,
            ...historyKeymap,
            indentWithTab,
            ...defaultKeymap,
          ]),
          EditorView.contentAttributes.of({
            "aria-label": label,
            "aria-describedby": way,
            "data-mantine-stop-propagation": "true", // Escape is of the editor, and closes no dialog around it
          }),
          EditorView.updateListener.of((update) => {
            if (update.docChanged) latest.current.onChange(update.state.doc.toString());
          }),
        ],
      }),
    });
    view.current = made;
    return () => made.destroy();
  }, []);
  useEffect(() => {
    const there = view.current;
    if (there && there.state.doc.toString() !== value)
      there.dispatch({ changes: { from: 0, to: there.state.doc.length, insert: value } });
  }, [value]);
  useEffect(() => {
    const there = view.current;
    if (!there) return;
    const length = there.state.doc.length;
    const found = marks.map((mark) => ({
      from: Math.min(mark.from, length),
      to: Math.min(mark.to, length),
      severity: "error" as const,
      message: mark.message,
    }));
    there.dispatch(setDiagnostics(there.state, found));
  }, [marks]);
  return (
    <>
      <VisuallyHidden id={way}>Escape, then Tab leaves the editor.</VisuallyHidden>
      <div ref={host} style={{ height, overflow: "auto" }} />
    </>
  );
}
