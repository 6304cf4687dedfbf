/** The steps of a run as a graph; instances of a mapped step are one node with counts. */
import { useMemo } from "react";
import { look, worst } from "../lib/status";
import { countBy, type Plan, type StepTimes, unbegun } from "../lib/steps";
import { duration } from "../lib/time";
import { Flow, type Shown } from "./Flow";
import { Icon } from "./Icons";

/** How long its last attempt ran, or the whole of it so far. */
function took(step: StepTimes | undefined): string {
  const span = step?.spans.at(-1);
  return span?.[2] && span[3] ? duration(span[3] - span[2]) : "";
}

export default function RunGraph({
  plan,
  steps,
  going,
  chosen,
  choose,
}: {
  plan: Plan;
  steps: Map<string, StepTimes>;
  going: boolean;
  chosen: string | null;
  choose: (key: string | null) => void;
}) {
  const { nodes, edges } = useMemo(() => {
    const byNode = new Map<string, StepTimes[]>();
    for (const step of steps.values()) {
      const list = byNode.get(step.node);
      if (list) list.push(step);
      else byNode.set(step.node, [step]);
    }
    const known = new Set(plan.known);
    const there = plan.steps.filter((each) => each.runs !== false || byNode.has(each.key));
    const keys = new Set(there.map((each) => each.key));
    const nodes = there.map((planned): Shown => {
      const instances = byNode.get(planned.key) ?? [];
      const counts = countBy(instances);
      const status = instances.length ? worst(counts) : known.has(planned.key) ? "SUCCESS" : unbegun(going);
      const { tone, sign, text } = look(status);
      const isMapped = (planned.mapped ?? 0) > 0;
      const told = isMapped
        ? Object.entries(counts)
            .map(([each, count]) => `${count} ${look(each).text.toLowerCase()}`)
            .join(", ") || (going ? "mapped" : text)
        : [text, took(instances[0])].filter(Boolean).join(", ");
      return {
        id: planned.key,
        width: 190,
        height: 50,
        label: `${planned.key}: ${told}`,
        body: (
          <button
            type="button"
            className={`node s-${tone} ${chosen === planned.key ? "chosen" : ""}`}
            onClick={() =>
              choose(isMapped ? (instances.find((each) => each.status === status)?.key ?? null) : planned.key)
            }
          >
            <span className="head">
              <Icon name={sign} className={`${tone} ${sign === "spin" ? "spin" : ""}`} strokeWidth={3} />
              <span className="text">{planned.key}</span>
            </span>
            <span className="sub" style={{ display: "block" }}>
              {told}
            </span>
          </button>
        ),
      };
    });
    const lines = new Set<string>();
    const edges = there
      .flatMap((planned) => planned.needs.map((need) => ({ from: need.step, to: planned.key })))
      .filter(({ from, to }) => {
        const key = `${from}>${to}`;
        if (!keys.has(from) || lines.has(key)) return false;
        lines.add(key);
        return true;
      });
    return { nodes, edges };
  }, [plan, steps, going, chosen, choose]);
  return <Flow nodes={nodes} edges={edges} height={420} />;
}
