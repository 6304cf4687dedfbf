/** The ops of a job as a graph; nested graphs open and close in place. */
import { ActionIcon, Button, Group, Text, TextInput } from "@mantine/core";
import { useMemo, useState } from "react";
import { counted } from "../lib/words";
import { Empty } from "./Bits";
import { Flow, type Shown } from "./Flow";
import { Icon } from "./Icons";

type Port = {
  name: string;
  type?: string;
  description?: string;
  nothing?: boolean;
  dynamic?: boolean;
  required?: boolean;
};
type Op = {
  name: string;
  inputs?: Port[];
  outputs?: Port[];
  description?: string;
  has_config?: boolean;
  resource_keys?: string[];
  retry?: { max_retries: number };
  tags?: Record<string, string>;
  pool?: string;
  timeout?: number;
};
type Wire =
  | { type: "node"; node: string; output?: string; delivery?: string }
  | { type: "input"; name: string }
  | { type: "fan_in"; items: Wire[] };
type NodeInfo = {
  name: string;
  definition: string;
  is_graph?: boolean;
  wires?: Record<string, Wire>;
  tags?: Record<string, string>;
};
type GraphInfo = {
  name: string;
  nodes?: NodeInfo[];
  inputs?: Port[];
  outputs?: { name: string; source: Wire }[];
  description?: string;
};
export type Structure = { name: string; graph: string; ops?: Record<string, Op>; graphs?: Record<string, GraphInfo> };

type Flat = { path: string; node: NodeInfo; parent: string | undefined; graph: GraphInfo };

/** The nodes that are seen, outermost first, and lines between those that are no open graph. */
export function visible(
  structure: Structure,
  open: ReadonlySet<string>,
): { nodes: Flat[]; edges: { from: string; to: string }[] } {
  const nodes: Flat[] = [];
  const edges = new Map<string, { from: string; to: string }>();
  const graphs = structure.graphs ?? {};
  const isOpen = (path: string) => open.has(path);

  /** The seen node that yields an output of a node: of an open graph the one inside. */
  const source = (graph: GraphInfo, prefix: string, wire: Wire): string[] => {
    if (wire.type === "fan_in") return wire.items.flatMap((item) => source(graph, prefix, item));
    if (wire.type === "input") return [];
    const node = graph.nodes?.find((each) => each.name === wire.node);
    if (!node) return [];
    const path = prefix + node.name;
    const inner = node.is_graph && isOpen(path) ? graphs[node.definition] : undefined;
    if (!inner) return [path];
    const output = inner.outputs?.find((each) => each.name === (wire.output ?? "result"));
    return output ? source(inner, `${path}.`, output.source) : [];
  };

  const walk = (graph: GraphInfo, prefix: string, parent: string | undefined, inputs: Record<string, string[]>) => {
    for (const node of graph.nodes ?? []) {
      const path = prefix + node.name;
      nodes.push({ path, node, parent, graph });
      const fed: Record<string, string[]> = {};
      const from = (wire: Wire): string[] =>
        wire.type === "input"
          ? (inputs[wire.name] ?? [])
          : wire.type === "fan_in"
            ? wire.items.flatMap(from)
            : source(graph, prefix, wire);
      for (const [name, wire] of Object.entries(node.wires ?? {})) fed[name] = from(wire);
      const inner = node.is_graph ? graphs[node.definition] : undefined;
      if (inner && isOpen(path)) walk(inner, `${path}.`, path, fed);
      else for (const above of Object.values(fed).flat()) edges.set(`${above}>${path}`, { from: above, to: path });
    }
  };
  const root = graphs[structure.graph];
  if (root) walk(root, "", undefined, {});
  return { nodes, edges: [...edges.values()] };
}

export function JobGraph({
  structure,
  selected,
  height = 460,
}: {
  structure: Structure;
  selected?: ReadonlySet<string> | null;
  height?: number;
}) {
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set());
  const [chosen, setChosen] = useState<string | null>(null);
  const [text, setText] = useState("");
  const toggle = (path: string) =>
    setOpen((before) => {
      const after = new Set(before);
      if (!after.delete(path)) after.add(path);
      return after;
    });
  const { nodes, edges } = useMemo(() => visible(structure, open), [structure, open]);
  const picked = nodes.find((each) => each.path === chosen);
  const isIn = (path: string) =>
    !selected || [...selected].some((key) => key === path || key.startsWith(`${path}.`) || key.startsWith(`${path}[`));
  const found = (each: Flat) => text !== "" && each.path.toLowerCase().includes(text.toLowerCase());
  const shown = nodes.map(({ path, node, parent, graph }): Shown => {
    const isBox = Boolean(node.is_graph) && open.has(path);
    const op = node.is_graph ? undefined : structure.ops?.[node.definition];
    const mark = found({ path, node, parent, graph }) || chosen === path;
    const sub = node.is_graph
      ? `graph ${node.definition}`
      : node.definition !== node.name
        ? `op ${node.definition}`
        : (op?.description?.trim().split("\n")[0] ?? (op?.has_config ? "takes config" : ""));
    return {
      id: path,
      ...(parent ? { parent } : {}),
      width: 190,
      height: 50,
      box: isBox,
      label: `${node.is_graph ? "graph" : "op"} ${path}`,
      body: isBox ? (
        <div className="box-title">
          <span>{node.name}</span>
          <ActionIcon size="xs" variant="default" aria-label={`Close ${path}`} onClick={() => toggle(path)}>
            <Icon name="dash" />
          </ActionIcon>
        </div>
      ) : (
        <div className={`node ${mark ? "chosen" : ""} ${isIn(path) ? "" : "faint"}`}>
          <div className="head">
            <button
              type="button"
              onClick={() => setChosen(path)}
              aria-pressed={chosen === path}
              className="text"
              style={{ all: "unset", cursor: "pointer", overflow: "hidden", textOverflow: "ellipsis", flex: 1 }}
            >
              {node.name}
            </button>
            {node.is_graph && (
              <ActionIcon size="xs" variant="default" aria-label={`Open ${path}`} onClick={() => toggle(path)}>
                <Icon name="graph" />
              </ActionIcon>
            )}
          </div>
          <div className="sub">{sub || " "}</div>
        </div>
      ),
    };
  });
  const nested = nodes.filter((each) => each.node.is_graph).map((each) => each.path);
  return (
    <div style={{ display: "grid", gridTemplateColumns: picked ? "minmax(0, 1fr) 300px" : "minmax(0, 1fr)", gap: 10 }}>
      <div className="panel">
        <header>
          <TextInput
            size="xs"
            aria-label="Find an op"
            placeholder="Find an op"
            value={text}
            onChange={(event) => setText(event.currentTarget.value)}
          />
          <Text size="xs" className="quiet" fw={400}>
            {counted(Object.keys(structure.ops ?? {}).length, "op")}, {counted(nodes.length, "node")} shown
          </Text>
          {nested.length > 0 && (
            <Group gap={4} ml="auto">
              <Button size="compact-xs" variant="default" onClick={() => setOpen(new Set([...open, ...nested]))}>
                Open graphs
              </Button>
              <Button size="compact-xs" variant="default" onClick={() => setOpen(new Set())}>
                Close
              </Button>
            </Group>
          )}
        </header>
        {shown.length ? <Flow nodes={shown} edges={edges} height={height} /> : <Empty>This job has no ops.</Empty>}
      </div>
      {picked && <About flat={picked} structure={structure} close={() => setChosen(null)} />}
    </div>
  );
}

function Ports({ title, ports }: { title: string; ports: Port[] | undefined }) {
  if (!ports?.length) return null;
  return (
    <>
      <Text size="xs" className="quiet" mt={8}>
        {title}
      </Text>
      <table className="rows">
        <tbody>
          {ports.map((port) => (
            <tr key={port.name}>
              <td>
                <b>{port.name}</b>
                {port.description && <div className="quiet">{port.description}</div>}
              </td>
              <td className="mono">
                {port.nothing ? "Nothing" : (port.type ?? "Any")}
                {port.dynamic ? " (dynamic)" : ""}
                {port.required === false ? " (optional)" : ""}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </>
  );
}

function About({ flat, structure, close }: { flat: Flat; structure: Structure; close: () => void }) {
  const op = flat.node.is_graph ? undefined : structure.ops?.[flat.node.definition];
  const graph = flat.node.is_graph ? structure.graphs?.[flat.node.definition] : undefined;
  return (
    <aside className="panel" aria-label={`About ${flat.path}`} style={{ overflow: "auto", maxHeight: 520 }}>
      <header>
        {flat.path}
        <ActionIcon ml="auto" variant="subtle" color="gray" aria-label="Close" onClick={close}>
          <Icon name="cross" />
        </ActionIcon>
      </header>
      <div style={{ padding: "6px 10px" }}>
        <Text size="sm" style={{ whiteSpace: "pre-wrap" }}>
          {op?.description ?? graph?.description ?? "No description."}
        </Text>
        <Ports title="Inputs" ports={op?.inputs ?? graph?.inputs} />
        <Ports title="Outputs" ports={op?.outputs} />
        {op && (
          <table className="rows" style={{ marginTop: 8 }}>
            <tbody>
              {(
                [
                  ["config", op.has_config ? "yes" : "none"],
                  ["resources", op.resource_keys?.join(", ")],
                  ["retries", op.retry?.max_retries],
                  ["pool", op.pool],
                  ["timeout", op.timeout ? `${op.timeout} s` : undefined],
                  [
                    "tags",
                    Object.entries({ ...op.tags, ...flat.node.tags })
                      .map(([key, value]) => `${key}=${value}`)
                      .join(", "),
                  ],
                ] as [string, string | number | undefined][]
              )
                .filter(([, value]) => value !== undefined && value !== "")
                .map(([key, value]) => (
                  <tr key={key}>
                    <th scope="row">{key}</th>
                    <td>{value}</td>
                  </tr>
                ))}
            </tbody>
          </table>
        )}
      </div>
    </aside>
  );
}
