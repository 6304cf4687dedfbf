/** Places for the nodes of a graph, left to right; boxes hold the nodes of an opened graph. */
import dagre from "@dagrejs/dagre";

export type Placed = { id: string; parent?: string; width: number; height: number; box?: boolean };
export type Edge = { from: string; to: string };
export type Spot = { x: number; y: number; width: number; height: number };

/** Coordinates of the upper left corner; those of a node in a box are of the box. */
export function layout(nodes: Placed[], edges: Edge[]): Map<string, Spot> {
  const graph = new dagre.graphlib.Graph({ compound: true });
  graph.setGraph({ rankdir: "LR", nodesep: 22, ranksep: 60, marginx: 12, marginy: 12 });
  graph.setDefaultEdgeLabel(() => ({}));
  for (const node of nodes) graph.setNode(node.id, node.box ? {} : { width: node.width, height: node.height });
  for (const node of nodes) if (node.parent) graph.setParent(node.id, node.parent);
  const boxes = new Set(nodes.filter((node) => node.box).map((node) => node.id));
  for (const edge of edges) if (!boxes.has(edge.from) && !boxes.has(edge.to)) graph.setEdge(edge.from, edge.to);
  dagre.layout(graph);
  const found = new Map<string, Spot>();
  const TOP = 14;
  for (const node of nodes) {
    const { x, y, width, height } = graph.node(node.id) as Spot;
    const extra = node.box ? TOP : 0;
    found.set(node.id, { x: x - width / 2, y: y - height / 2 - extra, width, height: height + extra });
  }
  const relative = new Map<string, Spot>();
  for (const node of nodes) {
    const own = found.get(node.id);
    const outer = node.parent ? found.get(node.parent) : undefined;
    if (own) relative.set(node.id, outer ? { ...own, x: own.x - outer.x, y: own.y - outer.y } : own);
  }
  return relative;
}
