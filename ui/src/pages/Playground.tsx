/** Ask the API in GraphQL, by hand. */
import { Button, Group, Text } from "@mantine/core";
import { useState } from "react";
import { address, HEADERS } from "../api/client";
import { PageTitle } from "../components/Bits";
import { YamlEditor } from "../components/YamlEditor";

const FIRST = `{
  runsOrError(limit: 5) {
    __typename
    ... on Runs {
      count
      results { runId jobName status tags { key value } }
    }
  }
}
`;

export default function Playground() {
  const [query, setQuery] = useState(FIRST);
  const [variables, setVariables] = useState("{}");
  const [answer, setAnswer] = useState("");
  const [busy, setBusy] = useState(false);
  const ask = async () => {
    setBusy(true);
    try {
      const given = JSON.parse(variables || "{}") as unknown;
      const response = await fetch(address("graphql"), {
        method: "POST",
        headers: { ...HEADERS, "content-type": "application/json" },
        body: JSON.stringify({ query, variables: given }),
      });
      setAnswer(JSON.stringify(await response.json(), null, 2));
    } catch (error) {
      setAnswer(String(error));
    }
    setBusy(false);
  };
  return (
    <>
      <PageTitle
        title="GraphQL playground"
        sub={
          <span>
            The schema is at <a href={address("schema.graphql")}>schema.graphql</a>.
          </span>
        }
      >
        <Button size="xs" onClick={ask} loading={busy}>
          Ask
        </Button>
      </PageTitle>
      <div style={{ display: "grid", gridTemplateColumns: "repeat(auto-fit, minmax(min(360px, 100%), 1fr))", gap: 12 }}>
        <div>
          <div className="panel">
            <header>Query</header>
            <YamlEditor label="Query" value={query} onChange={setQuery} onSubmit={ask} height={360} />
          </div>
          <div className="panel" style={{ marginTop: 12 }}>
            <header>Variables</header>
            <YamlEditor
              label="Variables as JSON"
              value={variables}
              onChange={setVariables}
              onSubmit={ask}
              height={90}
            />
          </div>
        </div>
        <div className="panel">
          <header>
            <Group>
              Answer
              <Text size="xs" className="quiet" fw={400}>
                Ctrl Enter asks
              </Text>
            </Group>
          </header>
          <pre className="code" tabIndex={0} aria-label="Answer" role="region" style={{ height: 500 }}>
            {answer}
          </pre>
        </div>
      </div>
    </>
  );
}
