/** The installation: code locations, services, pools, settings, and who did what. */
import { Button, Group, NumberInput, Tabs, Text, TextInput } from "@mantine/core";
import { useState } from "react";
import { useClient } from "urql";
import { useLocation } from "wouter";
import {
  DeletePoolDocument,
  DeploymentDocument,
  type DeploymentQuery,
  FreeSlotsDocument,
  ReloadLocationDocument,
  SetPoolDocument,
} from "../api/gql";
import { useLive } from "../api/live";
import { Empty, ErrorBox, PageTitle, RunLink, Status, Waiting, When } from "../components/Bits";
import { Icon } from "../components/Icons";
import { useMessages } from "../components/Messages";
import { usePermission } from "../components/Shell";
import { refusal } from "../lib/results";
import { counted } from "../lib/words";

const TABS = ["code", "services", "pools", "settings", "audit"];

export function Deployment({ tab }: { tab: string }) {
  const [, go] = useLocation();
  const { data, error, refetch } = useLive(DeploymentDocument, {}, ["LOCATIONS", "RUNS", "FLEET", "AUTOMATION"], {
    every: 2000,
  });
  if (!data) return <Waiting error={error} />;
  return (
    <>
      <PageTitle title="Deployment" />
      <Tabs value={tab} onChange={(value) => go(`/deployment/${value}`)} keepMounted={false}>
        <Tabs.List mb="sm">
          <Tabs.Tab value="code">Code locations</Tabs.Tab>
          <Tabs.Tab value="services">Services</Tabs.Tab>
          <Tabs.Tab value="pools">Pools</Tabs.Tab>
          <Tabs.Tab value="settings">Settings</Tabs.Tab>
          <Tabs.Tab value="audit">Who did what</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="code">
          <Code data={data} />
        </Tabs.Panel>
        <Tabs.Panel value="services">
          <Services data={data} />
        </Tabs.Panel>
        <Tabs.Panel value="pools">
          <Pools data={data} refetch={refetch} />
        </Tabs.Panel>
        <Tabs.Panel value="settings">
          <div className="panel">
            <header>opgrid.yaml, with all defaults</header>
            <pre className="code">{data.instance.settingsYaml}</pre>
          </div>
        </Tabs.Panel>
        <Tabs.Panel value="audit">
          <Audit data={data} />
        </Tabs.Panel>
      </Tabs>
      {!TABS.includes(tab) && <Empty>There is no such page.</Empty>}
    </>
  );
}

function Code({ data }: { data: DeploymentQuery }) {
  const client = useClient();
  const { good, bad } = useMessages();
  const [may] = usePermission("launch");
  const [busy, setBusy] = useState("");
  if (data.workspaceOrError.__typename !== "Workspace") return null;
  return data.workspaceOrError.locationEntries.map((entry) => {
    const state = entry.locationOrLoadError;
    const counts = entry.repositories[0];
    const reload = async () => {
      setBusy(entry.name);
      const result = await client.mutation(ReloadLocationDocument, { name: entry.name }).toPromise();
      setBusy("");
      const problem = refusal(result.data?.reloadRepositoryLocation, result.error);
      if (problem !== undefined) bad(problem);
      else good(`Asked ${entry.name} to load its code.`);
    };
    return (
      <div key={entry.name} className="panel" style={{ marginBottom: 10 }}>
        <header>
          {entry.name}
          <Status
            of={
              state?.__typename === "PythonError" ? "FAILURE" : entry.loadStatus === "LOADING" ? "STARTING" : "SUCCESS"
            }
          >
            {state?.__typename === "PythonError"
              ? "Does not load"
              : entry.loadStatus === "LOADING"
                ? "Loading"
                : "Loaded"}
          </Status>
          <Button
            ml="auto"
            size="compact-xs"
            variant="default"
            disabled={!may}
            loading={busy === entry.name}
            onClick={reload}
            leftSection={<Icon name="again" />}
          >
            Reload
          </Button>
        </header>
        <div style={{ padding: 10 }}>
          <Text size="sm">
            {counted(counts?.jobs.length ?? 0, "job")}, {counted(counts?.schedules.length ?? 0, "schedule")},{" "}
            {counted(counts?.sensors.length ?? 0, "sensor")}
            {entry.updatedTimestamp && (
              <>
                , loaded <When at={entry.updatedTimestamp} />
                {entry.versionKey && <>, version {entry.versionKey}</>}
              </>
            )}
          </Text>
          <Text size="xs" className="quiet mono">
            {entry.source} {entry.python}
          </Text>
          {entry.envVars.length > 0 && (
            <Text size="xs" mt={4}>
              Takes from the environment:{" "}
              {entry.envVars.map((each, place) => (
                <span key={each.envVarName}>
                  {place > 0 && ", "}
                  <span className="mono">{each.envVarName}</span>{" "}
                  <span className="quiet">({each.envVarConsumers.map((consumer) => consumer.name).join(", ")})</span>
                </span>
              ))}
            </Text>
          )}
        </div>
        {state?.__typename === "PythonError" && (
          <>
            <Text size="sm" px={10}>
              {entry.updatedTimestamp ? "The version that loaded last stays in use." : "Nothing of it can be used."}
            </Text>
            <ErrorBox error={state} />
          </>
        )}
      </div>
    );
  });
}

function Services({ data }: { data: DeploymentQuery }) {
  return (
    <div className="panel">
      <table className="rows">
        <thead>
          <tr>
            <th>Duty</th>
            <th>State</th>
            <th>Who does it</th>
          </tr>
        </thead>
        <tbody>
          {data.instance.daemonHealth.allDaemonStatuses.map((each) => (
            <tr key={each.daemonType}>
              <td>{each.daemonType}</td>
              <td>
                <Status of={each.healthy ? "SUCCESS" : "FAILURE"}>{each.healthy ? "Running" : "Nobody does it"}</Status>
              </td>
              <td className="mono">{each.owner}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Pools({ data, refetch }: { data: DeploymentQuery; refetch: () => void }) {
  const client = useClient();
  const { bad } = useMessages();
  const [may, whyNot] = usePermission("configure");
  const [name, setName] = useState("");
  const [limit, setLimit] = useState<number | "">(1);
  const set = async (key: string, slots: number) => {
    const result = await client.mutation(SetPoolDocument, { key, limit: slots }).toPromise();
    const done = result.data?.setConcurrencyLimit;
    const problem = result.error?.message ?? (done ? undefined : "A pool needs a name, and a limit from 0 on.");
    if (problem !== undefined) bad(problem);
    refetch();
  };
  const queue = data.instance.runQueueConfig;
  return (
    <>
      <Text size="sm" mb="sm">
        Runs at a time: {queue.maxConcurrentRuns < 0 ? "no limit" : queue.maxConcurrentRuns}.{" "}
        {queue.tagConcurrencyLimitsYaml}
      </Text>
      <div className="panel">
        <table className="rows">
          <thead>
            <tr>
              <th>Pool</th>
              <th>Slots</th>
              <th>In use</th>
              <th>
                <span className="quiet">Change</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {data.instance.concurrencyLimits.map((pool) => (
              <tr key={pool.concurrencyKey}>
                <td>{pool.concurrencyKey}</td>
                <td>
                  {pool.hasLimit ? pool.slotCount : "no limit"}
                  {pool.usingDefaultLimit && " (default_limit)"}
                </td>
                <td>
                  {pool.claimedSlots.length}{" "}
                  {pool.claimedSlots.slice(0, 5).map((slot) => (
                    <span key={slot.runId + slot.stepKey} style={{ marginRight: 8 }}>
                      <RunLink id={slot.runId} /> {slot.stepKey}{" "}
                      {slot.stepKey !== "" && (
                        <Button
                          size="compact-xs"
                          variant="default"
                          disabled={!may}
                          aria-label={`Free the slot of ${slot.stepKey}`}
                          onClick={async () => {
                            await client
                              .mutation(FreeSlotsDocument, { runId: slot.runId, stepKey: slot.stepKey })
                              .toPromise();
                            refetch();
                          }}
                        >
                          free
                        </Button>
                      )}
                    </span>
                  ))}
                </td>
                <td>
                  <Button
                    size="compact-xs"
                    variant="default"
                    disabled={!may || !pool.hasLimit || pool.usingDefaultLimit}
                    onClick={async () => {
                      await client.mutation(DeletePoolDocument, { key: pool.concurrencyKey }).toPromise();
                      refetch();
                    }}
                    aria-label={`Remove the limit of ${pool.concurrencyKey}`}
                  >
                    Remove limit
                  </Button>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
        {data.instance.concurrencyLimits.length === 0 && <Empty>No pool has a limit, and none is in use.</Empty>}
        <Group p={10} align="flex-end" gap="xs">
          <TextInput size="xs" label="Pool" value={name} onChange={(event) => setName(event.currentTarget.value)} />
          <NumberInput
            size="xs"
            label="Slots"
            min={0}
            value={limit}
            onChange={(value) => setLimit(value === "" ? "" : Number(value))}
            w={100}
          />
          <Button
            size="xs"
            disabled={!may || !name || limit === ""}
            title={whyNot || undefined}
            onClick={() => limit !== "" && set(name, limit)}
          >
            Set limit
          </Button>
        </Group>
      </div>
    </>
  );
}

function Audit({ data }: { data: DeploymentQuery }) {
  if (data.audit.length === 0) return <Empty>Nothing was changed by way of the web yet.</Empty>;
  return (
    <div className="panel">
      <table className="rows">
        <thead>
          <tr>
            <th>When</th>
            <th>Who</th>
            <th>What</th>
            <th>To what</th>
            <th>Outcome</th>
          </tr>
        </thead>
        <tbody>
          {data.audit.map((entry) => (
            <tr key={entry.id}>
              <td>
                <When at={entry.timestamp} />
              </td>
              <td>{entry.who}</td>
              <td>{entry.action}</td>
              <td className="mono" style={{ overflowWrap: "anywhere" }}>
                {entry.about}
              </td>
              <td>{entry.outcome}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
