/** Small things that every page shows: statuses, times, errors, tags. */
import { Alert, Button, Group, Loader, Stack, Text, Title, Tooltip } from "@mantine/core";
import { type ReactNode, useEffect, useState } from "react";
import { Link } from "wouter";
import { look } from "../lib/status";
import { ago, duration, exact } from "../lib/time";
import { Dialog } from "./Dialog";
import { Icon } from "./Icons";

export function Status({ of, children }: { of: string; children?: ReactNode }) {
  const { tone, sign, text } = look(of);
  return (
    <span className={`status ${tone}`} data-status={of}>
      <Icon name={sign} className={sign === "spin" ? "spin" : undefined} strokeWidth={3} />
      {children ?? text}
    </span>
  );
}

/** The time now, in Unix seconds; changes while something goes on. */
export function useNow(every = 1000, active = true): number {
  const [now, setNow] = useState(() => Date.now() / 1000);
  useEffect(() => {
    if (!active) return;
    const timer = setInterval(() => setNow(Date.now() / 1000), every);
    return () => clearInterval(timer);
  }, [every, active]);
  return now;
}

export function When({ at }: { at: number | null | undefined }) {
  const now = useNow(10_000);
  if (at === null || at === undefined) return <span className="quiet">never</span>;
  return (
    <Tooltip label={exact(at)} openDelay={200}>
      <time className="nowrap" dateTime={new Date(at * 1000).toISOString()}>
        {ago(at, Math.max(now, Date.now() / 1000 - 10))}
      </time>
    </Tooltip>
  );
}

/** How long something took, or has taken so far. */
export function Took({ start, end }: { start: number | null | undefined; end: number | null | undefined }) {
  const going = start !== null && start !== undefined && (end === null || end === undefined);
  const now = useNow(1000, going);
  if (start === null || start === undefined) return null;
  return <span className="nowrap">{duration((end ?? Math.max(now, start)) - start)}</span>;
}

export function Problem({ title, children }: { title?: string; children: ReactNode }) {
  return (
    <Alert color="red" variant="outline" title={title} icon={<Icon name="warning" />} role="alert">
      <Text size="sm" style={{ whiteSpace: "pre-wrap" }}>
        {children}
      </Text>
    </Alert>
  );
}

/** What a query has to say while it has no data. */
export function Waiting({ error }: { error?: string | undefined }) {
  if (error) return <Problem title="The server does not answer">{error}</Problem>;
  return (
    <Group p="md" role="status">
      <Loader size="sm" aria-hidden="true" />
      <Text size="sm">Loading</Text>
    </Group>
  );
}

export function PageTitle({ title, children, sub }: { title: ReactNode; children?: ReactNode; sub?: ReactNode }) {
  useEffect(() => {
    document.title = typeof title === "string" ? `${title} – opgrid` : "opgrid";
  }, [title]);
  return (
    <Group justify="space-between" align="flex-start" mb="sm" wrap="wrap">
      <Stack gap={2} miw={0} style={{ overflowWrap: "anywhere" }}>
        <Title order={1} fz={22} className="clamped" title={typeof title === "string" ? title : undefined}>
          {title}
        </Title>
        {sub && (
          <Text component="div" size="sm" className="quiet">
            {sub}
          </Text>
        )}
      </Stack>
      <Group gap="xs">{children}</Group>
    </Group>
  );
}

export type ErrorData = {
  message: string;
  className?: string | null;
  stack?: string[];
  cause?: { message: string; className?: string | null; stack: string[] } | null;
};

export function ErrorBox({ error }: { error: ErrorData }) {
  return (
    <div>
      <pre className="code bad">
        {error.className ? `${error.className}: ` : ""}
        {error.message}
      </pre>
      {error.cause && (
        <pre className="code">
          Cause: {error.cause.className}: {error.cause.message}
        </pre>
      )}
      {error.stack && error.stack.length > 0 && (
        <details>
          <summary style={{ padding: "4px 10px", cursor: "pointer" }}>Traceback</summary>
          <pre className="code">{error.stack.join("")}</pre>
          {error.cause && <pre className="code">{error.cause.stack.join("")}</pre>}
        </details>
      )}
    </div>
  );
}

export function RunLink({ id }: { id: string }) {
  return (
    <Link href={`/runs/${encodeURIComponent(id)}`} className="mono">
      {id.slice(0, 8)}
    </Link>
  );
}

export const jobPath = (location: string, job: string, tab?: string): string =>
  `/locations/${encodeURIComponent(location)}/jobs/${encodeURIComponent(job)}${tab ? `/${tab}` : ""}`;

export function JobLink({ location, job }: { location: string | null | undefined; job: string }) {
  if (!location) return <span>{job}</span>;
  return <Link href={jobPath(location, job)}>{job}</Link>;
}

export function JobLinks({ location, jobs }: { location: string | null | undefined; jobs: string[] }) {
  return jobs.map((job, index) => (
    <span key={job}>
      {index > 0 && ", "}
      <JobLink location={location} job={job} />
    </span>
  ));
}

export function Empty({ children }: { children: ReactNode }) {
  return (
    <Text className="quiet" p="md" size="sm">
      {children}
    </Text>
  );
}

/** A question before something is done. */
export function Asked({
  opened,
  close,
  title,
  question,
  color,
  onYes,
}: {
  opened: boolean;
  close: () => void;
  title: string;
  question: string;
  color?: string | undefined;
  onYes: () => void;
}) {
  return (
    <Dialog opened={opened} onClose={close} title={title}>
      <Text size="sm" mb="md">
        {question}
      </Text>
      <Group justify="flex-end">
        <Button variant="default" onClick={close}>
          No
        </Button>
        <Button
          color={color}
          data-autofocus
          onClick={() => {
            close();
            onYes();
          }}
        >
          Yes
        </Button>
      </Group>
    </Dialog>
  );
}

/** A button that asks once more. */
export function Confirmed({
  label,
  question,
  onYes,
  color,
  disabled,
  children,
}: {
  label: string;
  question: string;
  onYes: () => void;
  color?: string;
  disabled?: boolean;
  children?: ReactNode;
}) {
  const [asking, setAsking] = useState(false);
  return (
    <>
      <Button size="xs" variant="default" disabled={disabled} onClick={() => setAsking(true)}>
        {children ?? label}
      </Button>
      <Asked
        opened={asking}
        close={() => setAsking(false)}
        title={label}
        question={question}
        color={color}
        onYes={onYes}
      />
    </>
  );
}
