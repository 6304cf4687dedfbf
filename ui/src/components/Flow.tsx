/** A graph on a surface that can be moved and zoomed. */
import "@xyflow/react/dist/style.css";
import { useComputedColorScheme } from "@mantine/core";
import { Controls, type Edge, Handle, type Node, type NodeProps, Position, ReactFlow } from "@xyflow/react";
import { type ReactNode, useMemo } from "react";
import { type Edge as Line, layout, type Placed } from "../lib/layout";

export type Shown = Placed & { body: ReactNode; label: string; onClick?: () => void };

type Data = { body: ReactNode };

function Card({ data }: NodeProps<Node<Data>>) {
  return (
    <>
      <Handle type="target" position={Position.Left} isConnectable={false} style={{ opacity: 0 }} />
      {data.body}
      <Handle type="source" position={Position.Right} isConnectable={false} style={{ opacity: 0 }} />
    </>
  );
}

function Box({ data }: NodeProps<Node<Data>>) {
  return (
    <div className="react-flow__node-box" style={{ width: "100%", height: "100%" }}>
      {data.body}
    </div>
  );
}

const TYPES = { card: Card, box: Box };

export function Flow({ nodes, edges, height = 460 }: { nodes: Shown[]; edges: Line[]; height?: number }) {
  const scheme = useComputedColorScheme("light");
  const shape =
    nodes.map((node) => `${node.id} ${node.parent ?? ""} ${node.height}`).join("|") +
    edges.map((edge) => `${edge.from}>${edge.to}`).join("|");
  // biome-ignore lint/correctness/useExhaustiveDependencies: places depend on the shape alone
  const spots = useMemo(() => layout(nodes, edges), [shape]);
  const flowNodes = nodes.map((node): Node<Data> => {
    const spot = spots.get(node.id) ?? { x: 0, y: 0, width: node.width, height: node.height };
    return {
      id: node.id,
      type: node.box ? "box" : "card",
      position: { x: spot.x, y: spot.y },
      data: { body: node.body },
      ...(node.parent ? { parentId: node.parent } : {}),
      // without it nothing in a node that cannot be moved or chosen takes clicks
      style: { pointerEvents: "all", ...(node.box ? { width: spot.width, height: spot.height } : {}) },
      ...(node.box ? { zIndex: -1 } : {}),
      ariaLabel: node.label,
      draggable: false,
      connectable: false,
      selectable: false,
      focusable: false,
    };
  });
  const flowEdges = edges.map(
    (edge): Edge => ({ id: `${edge.from}>${edge.to}`, source: edge.from, target: edge.to, focusable: false }),
  );
  return (
    <section style={{ height }} aria-label="Graph">
      <ReactFlow
        key={shape.length}
        nodes={flowNodes}
        edges={flowEdges}
        nodeTypes={TYPES}
        colorMode={scheme}
        fitView
        fitViewOptions={{ maxZoom: 1, padding: 0.1 }}
        minZoom={0.05}
        nodesDraggable={false}
        nodesConnectable={false}
        onlyRenderVisibleElements={nodes.length > 200}
        proOptions={{ hideAttribution: true }}
      >
        <Controls showInteractive={false} />
      </ReactFlow>
    </section>
  );
}
