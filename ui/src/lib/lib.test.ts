import { describe, expect, it } from "vitest";
import { density } from "../components/Gantt";
import { visible } from "../components/JobGraph";
import {
  extras,
  pathAbove,
  rangeOf,
  type Schema,
  suggestions,
  syntaxMarks,
  valueAt,
  withMissing,
  withValue,
} from "./config";
import { filterOf, leftOut, parse, withToken, write } from "./filter";
import { layout } from "./layout";
import { refusal } from "./results";
import { look, worst } from "./status";
import {
  barsOf,
  bounds,
  countBy,
  merge,
  type Plan,
  ranByWorker,
  rowsOf,
  type Span,
  type StepTimes,
  unbegunOf,
  unfolded,
} from "./steps";
import { ago, duration, ticks } from "./time";
import { counted, toldTags } from "./words";

const SCHEMA: Schema = {
  type: "object",
  additionalProperties: false,
  properties: {
    ops: {
      type: "object",
      additionalProperties: false,
      properties: {
        one: {
          type: "object",
          properties: {
            config: {
              type: "object",
              additionalProperties: false,
              required: ["n"],
              properties: {
                n: { type: "integer", description: "How many." },
                mode: { enum: ["fast", "slow"], default: "fast" },
                on: { type: "boolean" },
                sub: { $ref: "#/$defs/Sub" },
              },
            },
          },
        },
      },
    },
  },
  $defs: { Sub: { type: "object", properties: { deep: { anyOf: [{ type: "string" }, { type: "null" }] } } } },
};

describe("the filter of runs", () => {
  it("reads what it writes", () => {
    const text = 'status:FAILURE job:census tag:team=a "id:x" tag:"note=two words"';
    const tokens = parse(text);
    expect(tokens).toContainEqual({ kind: "tag", value: "note=two words" });
    expect(parse(write(tokens))).toEqual(tokens);
  });
  it.each(['say="hi" to \\ all', 'a="', "two words=x", '\\"=\\', "plain\\=x"])("keeps the tag %s", (value) => {
    expect(parse(`job:a ${write([{ kind: "tag", value }])} id:1`)[1]).toEqual({ kind: "tag", value });
  });
  it("tells what it leaves out", () => {
    expect(leftOut('status:failure job:"a b" tag:k=v id:1 after:2026-01-01')).toEqual([]);
    expect(leftOut("census status:failed before:2026-13-01 who:me job: x")).toEqual([
      "census",
      "job:",
      "x",
      "status:failed",
      "before:2026-13-01",
      "who:me",
    ]);
  });
  it("becomes a filter of the API", () => {
    expect(filterOf(parse("status:failure status:SUCCESS status:nonsense job:a tag:k=v=w id:1"))).toEqual({
      statuses: ["FAILURE", "SUCCESS"],
      jobName: "a",
      tags: [{ key: "k", value: "v=w" }],
      runIds: ["1"],
    });
    expect(filterOf(parse("job:a location:eu.py"))).toEqual({ jobName: "a", repositoryLocationName: "eu.py" });
    expect(filterOf(parse("after:2026-01-01T00:00:00Z before:never"))).toEqual({ createdAfter: 1767225600 });
  });
  it("has one job at most", () => {
    const tokens = withToken(parse("job:a status:SUCCESS"), { kind: "job", value: "b" });
    expect(write(tokens)).toBe("status:SUCCESS job:b");
  });
});

describe("run config", () => {
  const text = "ops:\n  one:\n    config:\n      n: 3 # three\n      ";
  it("knows where the cursor is, also in what is no YAML yet", () => {
    expect(pathAbove(text, text.length).path).toEqual(["ops", "one", "config"]);
    expect(pathAbove("ops:\n  one:\n    config:\n      mode: fa", 39)).toMatchObject({ key: "mode", typed: "fa" });
  });
  it("offers the keys that are not there yet", () => {
    expect(suggestions(SCHEMA, text, text.length).map((each) => each.label)).toEqual(["mode", "on", "sub"]);
    expect(suggestions(SCHEMA, "", 0).map((each) => each.label)).toEqual(["ops"]);
  });
  it("offers values", () => {
    const mode = "ops:\n  one:\n    config:\n      mode: ";
    expect(suggestions(SCHEMA, mode, mode.length).map((each) => each.label)).toEqual(["fast", "slow"]);
    const on = "ops:\n  one:\n    config:\n      on: ";
    expect(suggestions(SCHEMA, on, on.length).map((each) => each.label)).toEqual(["true", "false"]);
  });
  it("follows references", () => {
    const sub = "ops:\n  one:\n    config:\n      sub:\n        ";
    expect(suggestions(SCHEMA, sub, sub.length).map((each) => each.label)).toEqual(["deep"]);
  });
  it("finds the line of an error, or the nearest above it", () => {
    const { from, to } = rangeOf(text, ["ops", "one", "config", "n"]);
    expect(text.slice(from, to)).toBe("n");
    const near = rangeOf(text, ["ops", "one", "config", "missing"]);
    expect(text.slice(near.from, near.to)).toBe("config");
  });
  it("tells what is no YAML", () => {
    expect(syntaxMarks("a: [1")).toHaveLength(1);
    expect(syntaxMarks("a: 1")).toEqual([]);
  });
  it("changes one value and leaves the comments", () => {
    const changed = withValue("ops:\n  one:\n    config:\n      n: 3 # three\n", ["ops", "one", "config", "n"], 4);
    expect(changed).toContain("n: 4 # three");
    expect(withValue("", ["ops", "one", "config", "n"], 1)).toBe("ops:\n  one:\n    config:\n      n: 1\n");
    expect(withValue("ops:\n  one:\n    config:\n      n: 1\n", ["ops", "one", "config", "n"], undefined)).toBe("");
    expect(withValue("ops:\n  one:\n    config:\n", ["ops", "one", "config", "n"], 1)).toContain("      n: 1");
    expect(valueAt("ops: {one: {config: {n: 7}}}", ["ops", "one", "config", "n"])).toBe(7);
  });
  it("finds keys that the schema does not have", () => {
    expect(extras("ops:\n  two: 1\n  one:\n    config: {n: 1, m: 2}\n", SCHEMA)).toEqual([
      ["ops", "two"],
      ["ops", "one", "config", "m"],
    ]);
  });
  it("adds what is missing and keeps what is there", () => {
    const made = withMissing(
      "ops:\n  one:\n    config:\n      mode: slow\n",
      "ops:\n  one:\n    config:\n      n: <int>\n      mode: fast\n",
    );
    expect(valueAt(made, ["ops", "one", "config", "mode"])).toBe("slow");
    expect(valueAt(made, ["ops", "one", "config", "n"])).toBe("<int>");
  });
});

const step = (key: string, status: string, start = 1, end: number | null = 2, worker = "w"): StepTimes => ({
  key,
  node: key.replace(/\[.*$/, ""),
  status,
  spans: [[1, start - 0.5, start, end, status, worker]],
});

describe("the steps of a run", () => {
  const plan: Plan = {
    steps: [
      { key: "a", op: "a", needs: [] },
      { key: "m", op: "m", needs: [], mapped: 1 },
      { key: "z", op: "z", needs: [] },
    ],
    known: [],
  };
  const steps = new Map(
    [step("a", "SUCCESS"), step("m[1]", "SUCCESS"), step("m[2]", "FAILURE")].map((each) => [each.key, each]),
  );
  it("folds the instances of a mapped step", () => {
    const rows = rowsOf(plan, steps, new Set(), null, worst, true);
    expect(rows.map((row) => [row.key, row.status])).toEqual([
      ["a", "SUCCESS"],
      ["m", "FAILURE"],
      ["z", "PENDING"],
    ]);
    expect(rowsOf(plan, steps, new Set(["m"]), null, worst, true).map((row) => row.key)).toEqual([
      "a",
      "m",
      "m[1]",
      "m[2]",
      "z",
    ]);
    expect(rowsOf(plan, steps, new Set(["m"]), new Set(["FAILURE"]), worst, true).map((row) => row.key)).toEqual([
      "m",
      "m[2]",
    ]);
  });
  it("says that what has not begun when the run has ended did not run", () => {
    const rows = rowsOf(plan, new Map([["a", step("a", "FAILURE")]]), new Set(), null, worst, false);
    expect(rows.map((row) => [row.key, row.status])).toEqual([
      ["a", "FAILURE"],
      ["m", "NOT_RUN"],
      ["z", "NOT_RUN"],
    ]);
    expect(rowsOf(plan, steps, new Set(), new Set(["NOT_RUN"]), worst, false).map((row) => row.key)).toEqual(["z"]);
    expect(look("NOT_RUN").text).toBe("Not run");
  });
  it("finds steps by a part of their key", () => {
    const found = (text: string) => rowsOf(plan, steps, new Set(), null, worst, true, text).map((row) => row.key);
    expect(found("[2")).toEqual(["m", "m[2]"]);
    expect(found(" Z ")).toEqual(["z"]);
    expect(found("none")).toEqual([]);
    expect(rowsOf(plan, new Map(), new Set(), null, worst, true, "m").map((row) => row.key)).toEqual(["m"]);
  });
  it("counts what has not begun", () => {
    expect(unbegunOf(plan, steps)).toBe(1);
    const again = { ...plan, known: ["a", "m[1]", "m[2]", "m[3]"] };
    expect(unbegunOf(again, new Map())).toBe(1);
  });
  it("counts, merges and bounds", () => {
    expect(countBy(steps.values())).toEqual({ SUCCESS: 2, FAILURE: 1 });
    expect(merge(steps, [])).toBe(steps);
    expect(merge(steps, [step("a", "FAILURE")]).get("a")?.status).toBe("FAILURE");
    expect(bounds(steps.values(), 0, 5, 9)).toEqual([0.5, 5]);
    expect(bounds([], 3, null, 4)).toEqual([3, 4]);
  });
  it("sorts attempts by worker", () => {
    const some = new Map(
      [step("a", "SUCCESS", 1, 2, "w2"), step("b", "SUCCESS", 1, 2, "w1")].map((each) => [each.key, each]),
    );
    expect(ranByWorker(some).map((row) => row.worker)).toEqual(["w1", "w2"]);
  });
  it("draws what is seen, and as one what is too near", () => {
    const ran = Array.from({ length: 100_000 }, (_, place) => ({
      key: `m[${place}]`,
      span: [1, 0, place, place + 0.9, place === 7 ? "FAILURE" : "SUCCESS", "w"] as Span,
    }));
    const all = barsOf(ran, { from: 0, to: 100_000, pixel: 100 }, 0, worst);
    expect(all.length).toBeLessThan(500);
    expect(all.reduce((sum, bar) => sum + bar.count, 0)).toBe(100_000);
    expect(all[0]).toMatchObject({ key: "m[7]", counts: { FAILURE: 1 } });
    expect(all[0]?.span.slice(2, 5)).toEqual([0, (all[0]?.count ?? 0) - 0.1, "FAILURE"]);
    const some = barsOf(ran, { from: 5000.95, to: 5003.5, pixel: 0.01 }, 0, worst);
    expect(some.map((bar) => bar.key)).toEqual(["m[5001]", "m[5002]", "m[5003]"]);
    const going = barsOf(
      [{ key: "a", span: [1, null, 3, null, "RUNNING", "w"] }],
      { from: 8, to: 9, pixel: 1 },
      8.5,
      worst,
    );
    expect(going).toEqual([{ key: "a", span: [1, null, 3, null, "RUNNING", "w"], count: 1, counts: { RUNNING: 1 } }]);
  });
  it("unfolds what is told in brief", () => {
    const brief = {
      last: 9,
      start: 1000,
      nodes: ["m", "z"],
      workers: ["", "w"],
      statuses: ["SUCCESS", "FAILURE", "SKIPPED"],
      steps: [
        [0, "[a]", 0, 1, 0, 500_000, 1_000_000, 1, 1, 2, null, 2_000_000, null, 0, 1],
        [1, "", 2],
      ],
    };
    expect(unfolded(brief)).toEqual([
      {
        key: "m[a]",
        node: "m",
        status: "SUCCESS",
        spans: [
          [1, 1000, 1000.5, 1001, "FAILURE", "w"],
          [2, null, 1002, null, "SUCCESS", "w"],
        ],
      },
      { key: "z", node: "z", status: "SKIPPED", spans: [] },
    ]);
  });
});

describe("a graph of graphs", () => {
  const structure = {
    name: "j",
    graph: "j",
    ops: { op: { name: "op" } },
    graphs: {
      j: {
        name: "j",
        nodes: [
          { name: "a", definition: "op" },
          { name: "g", definition: "inner", is_graph: true, wires: { x: { type: "node" as const, node: "a" } } },
          { name: "z", definition: "op", wires: { x: { type: "node" as const, node: "g" } } },
        ],
      },
      inner: {
        name: "inner",
        nodes: [
          { name: "b", definition: "op", wires: { x: { type: "input" as const, name: "x" } } },
          {
            name: "c",
            definition: "op",
            wires: { x: { type: "fan_in" as const, items: [{ type: "node" as const, node: "b" }] } },
          },
        ],
        outputs: [{ name: "result", source: { type: "node" as const, node: "c" } }],
      },
    },
  };
  const lines = (open: string[]) => visible(structure, new Set(open)).edges.map((edge) => `${edge.from}>${edge.to}`);
  it("closed, a graph is one node", () => {
    expect(lines([])).toEqual(["a>g", "g>z"]);
  });
  it("open, lines lead to what is inside", () => {
    expect(lines(["g"]).sort()).toEqual(["a>g.b", "g.b>g.c", "g.c>z"]);
  });
  it("has places that do not overlap", () => {
    const { nodes, edges } = visible(structure, new Set());
    const spots = layout(
      nodes.map((each) => ({ id: each.path, width: 100, height: 40 })),
      edges,
    );
    const xs = ["a", "g", "z"].map((id) => spots.get(id)?.x ?? Number.NaN);
    expect(xs[1]).toBeGreaterThan((xs[0] ?? 0) + 100);
    expect(xs[2]).toBeGreaterThan((xs[1] ?? 0) + 100);
  });
});

describe("words", () => {
  it("tells durations and times", () => {
    expect([0.0001, 0.25, 0.9996, 3, 42, 125, 7260, 90000].map(duration)).toEqual([
      "0 ms",
      "250 ms",
      "1.00 s",
      "3.00 s",
      "42.0 s",
      "2 min 5 s",
      "2 h 1 min",
      "1 d 1 h",
    ]);
    const start = 1767225600.123;
    expect(ticks(start, start + 0.003, 9, start).map((at) => duration(at - start))).toEqual([
      "0 ms",
      "1 ms",
      "2 ms",
      "3 ms",
    ]);
    expect(ago(100, 220)).toBe("2 minutes ago");
    expect(ago(100, 101)).toBe("just now");
    expect(ticks(0, 10, 5)).toEqual([0, 2, 4, 6, 8, 10]);
  });
  it("tells refusals from successes", () => {
    expect(refusal({ __typename: "LaunchRunSuccess" })).toBeUndefined();
    expect(refusal({ __typename: "PythonError", message: "no" })).toBe("no");
    expect(refusal({ __typename: "RunConfigValidationInvalid", errors: [{ path: ["a", "b"], message: "bad" }] })).toBe(
      "a › b: bad",
    );
    expect(refusal(undefined, { message: "away" })).toBe("away");
  });
});

describe("what lists say", () => {
  it("count", () => {
    expect([counted(1, "run"), counted(0, "run"), counted(12345, "step")]).toEqual(["1 run", "0 runs", "12,345 steps"]);
  });
  it("tell the tags of a user first, ours by their short name, and not those that say nothing", () => {
    const tags = ["opgrid/partition", "opgrid/partition_set", "team", ".opgrid/x"].map((key) => ({ key, value: "v" }));
    expect(toldTags(tags).map((tag) => tag.text)).toEqual(["team=v", "partition=v"]);
  });
});

describe("a folded row", () => {
  const step = (key: string, spans: StepTimes["spans"]): StepTimes => ({ key, node: "m", status: "SUCCESS", spans });
  it("tells the wait before the first, and how many ran at a time", () => {
    const found = density(
      [
        step("m[a]", [[1, 0, 2, 6, "SUCCESS", "w"]]),
        step("m[b]", [[1, 1, 4, null, "RUNNING", "w"]]),
        step("m[c]", [[1, 1, null, null, "DISPATCHED", ""]]),
      ],
      10,
    );
    expect(found).toMatchObject({ waits: 0, from: 2, to: 10 });
    expect(found?.busy[0]).toBeCloseTo(1);
    expect(found?.most).toBeCloseTo(2);
    expect(found?.busy.at(-1)).toBeCloseTo(1);
    expect(density([step("m[c]", [[1, 1, null, null, "DISPATCHED", ""]])], 10)).toBeNull();
  });
});
