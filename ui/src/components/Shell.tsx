/** What surrounds every page: navigation, search, theme, who asks. */
import {
  ActionIcon,
  AppShell,
  Badge,
  Box,
  Burger,
  Button,
  Group,
  Kbd,
  NavLink,
  Table,
  Text,
  TextInput,
  UnstyledButton,
  useComputedColorScheme,
  useMantineColorScheme,
} from "@mantine/core";
import { type HotkeyItem, useDisclosure, useHotkeys } from "@mantine/hooks";
import { createContext, type ReactNode, useContext, useEffect, useMemo, useRef, useState } from "react";
import { Link, useLocation } from "wouter";
import { address, HEADERS } from "../api/client";
import { ShellDocument, type ShellQuery } from "../api/gql";
import { useLive, useTrouble } from "../api/live";
import { jobPath, Problem } from "./Bits";
import { Dialog } from "./Dialog";
import { Icon, type IconName } from "./Icons";

const PLACES: [path: string, label: string, icon: IconName, key: string][] = [
  ["/", "Overview", "overview", "o"],
  ["/runs", "Runs", "runs", "r"],
  ["/jobs", "Jobs", "jobs", "j"],
  ["/automation", "Automation", "automation", "a"],
  ["/backfills", "Backfills", "backfills", "b"],
  ["/workers", "Workers, queues", "workers", "w"],
  ["/deployment", "Deployment", "deployment", "d"],
];

const Data = createContext<ShellQuery | undefined>(undefined);

export const useShell = (): ShellQuery | undefined => useContext(Data);

/** Whether whoever asks may do something; and if not, why. */
export function usePermission(name: "launch" | "terminate" | "automate" | "delete" | "configure"): [boolean, string] {
  const found = useShell()?.permissions.find((each) => each.permission === name);
  return [found?.value ?? false, found?.disabledReason ?? ""];
}

export type Place = { label: string; sub: string; path: string };

/** Everything that search finds by name. */
export function placesOf(shell: ShellQuery | undefined): Place[] {
  const found: Place[] = PLACES.map(([path, label]) => ({ label, sub: "page", path }));
  found.push({ label: "GraphQL playground", sub: "page", path: "/graphiql" });
  if (shell?.workspaceOrError.__typename !== "Workspace") return found;
  for (const entry of shell.workspaceOrError.locationEntries)
    for (const repository of entry.repositories) {
      for (const job of repository.jobs)
        found.push({ label: job.name, sub: `job in ${entry.name}`, path: jobPath(entry.name, job.name) });
      for (const each of repository.schedules)
        found.push({
          label: each.name,
          sub: `schedule in ${entry.name}`,
          path: `/locations/${encodeURIComponent(entry.name)}/schedules/${encodeURIComponent(each.name)}`,
        });
      for (const each of repository.sensors)
        found.push({
          label: each.name,
          sub: `sensor in ${entry.name}`,
          path: `/locations/${encodeURIComponent(entry.name)}/sensors/${encodeURIComponent(each.name)}`,
        });
    }
  return found;
}

function Search({ opened, close, places }: { opened: boolean; close: () => void; places: Place[] }) {
  const [text, setText] = useState("");
  const [at, setAt] = useState(0);
  const [, go] = useLocation();
  const found = useMemo(() => {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    const matching = places.filter((place) =>
      words.every((word) => `${place.label} ${place.sub}`.toLowerCase().includes(word)),
    );
    if (/^[0-9a-f-]{6,}$/i.test(text.trim()))
      matching.unshift({ label: text.trim(), sub: "run by id", path: `/runs/${text.trim()}` });
    return matching.slice(0, 12);
  }, [text, places]);
  const open = (place: Place | undefined) => {
    if (!place) return;
    close();
    setText("");
    go(place.path);
  };
  return (
    <Dialog opened={opened} onClose={close} withCloseButton={false} size="lg" padding="xs" title="Search">
      <TextInput
        data-autofocus
        aria-label="Search for jobs, schedules, sensors, pages and run ids"
        placeholder="Jobs, schedules, sensors, pages, run ids"
        leftSection={<Icon name="search" />}
        value={text}
        onChange={(event) => {
          setText(event.currentTarget.value);
          setAt(0);
        }}
        onKeyDown={(event) => {
          if (event.key === "ArrowDown") setAt((place) => Math.min(place + 1, found.length - 1));
          else if (event.key === "ArrowUp") setAt((place) => Math.max(place - 1, 0));
          else if (event.key === "Enter") open(found[at]);
          else return;
          event.preventDefault();
        }}
      />
      <div role="listbox" aria-label="Found" style={{ marginTop: 8 }}>
        {found.map((place, index) => (
          <UnstyledButton
            key={place.path + place.sub}
            role="option"
            aria-selected={index === at}
            onClick={() => open(place)}
            style={{
              display: "flex",
              width: "100%",
              justifyContent: "space-between",
              padding: "6px 10px",
              borderRadius: 4,
              background: index === at ? "var(--panel)" : undefined,
            }}
          >
            <span>{place.label}</span>
            <span className="quiet">{place.sub}</span>
          </UnstyledButton>
        ))}
      </div>
    </Dialog>
  );
}

function Keys({ opened, close }: { opened: boolean; close: () => void }) {
  const rows: [string[], string][] = [
    [["Ctrl", "K"], "Search"],
    [["?"], "This sheet"],
    ...PLACES.map(([, label, , key]): [string[], string] => [["g", key], label]),
    [["Ctrl", "Enter"], "Launch, in the Launchpad"],
    [["Ctrl", "Space"], "Complete, in the config editor"],
    [["Esc", "Tab"], "Leave the config editor"],
    [["↑", "↓"], "From row to row, in the chart and the events of a run; also Home and End"],
    [["←", "→"], "From partition to partition; also Home and End"],
  ];
  return (
    <Dialog opened={opened} onClose={close} title="Keyboard">
      <Table>
        <Table.Tbody>
          {rows.map(([keys, label]) => (
            <Table.Tr key={label}>
              <Table.Td>
                {keys.map((key) => (
                  <Kbd key={key} mr={4}>
                    {key}
                  </Kbd>
                ))}
              </Table.Td>
              <Table.Td>{label}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Dialog>
  );
}

async function signOut(): Promise<void> {
  await fetch(address("logout"), { method: "POST", headers: HEADERS });
  location.reload();
}

/** Another page begins where it begins, for who sees it and for who hears it; the first is as the browser has it. */
function useArrival(path: string): void {
  const before = useRef(path);
  useEffect(() => {
    if (before.current === path) return;
    before.current = path;
    document.getElementById("main")?.focus({ preventScroll: true });
  }, [path]);
}

/** What it was when it first was there. */
function useFirst<T>(value: T | undefined): T | undefined {
  const first = useRef(value);
  first.current ??= value;
  return first.current;
}

export function Shell({ children }: { children: ReactNode }) {
  const [path, go] = useLocation();
  const [menu, { toggle, close: closeMenu }] = useDisclosure();
  const [searching, search] = useDisclosure();
  const [keys, sheet] = useDisclosure();
  const { setColorScheme } = useMantineColorScheme();
  const scheme = useComputedColorScheme("light");
  const { data } = useLive(ShellDocument, {}, ["LOCATIONS"]);
  const trouble = useTrouble();
  const version = useFirst(data?.version);
  const burger = useRef<HTMLButtonElement>(null);
  const [armed, setArmed] = useState(0);
  useHotkeys([
    ["mod+K", search.open],
    ["shift+?", sheet.open],
    ["?", sheet.open],
    ["g", () => setArmed(Date.now())],
    [
      "Escape",
      () => {
        if (!menu) return;
        closeMenu();
        burger.current?.focus();
      },
      { preventDefault: false },
    ],
    ...PLACES.map(
      ([to, , , key]): HotkeyItem => [
        key,
        () => {
          if (Date.now() - armed < 1500) go(to);
        },
      ],
    ),
  ]);
  const places = useMemo(() => placesOf(data), [data]);
  useArrival(path);
  const broken =
    data?.workspaceOrError.__typename === "Workspace" &&
    data.workspaceOrError.locationEntries.some((entry) => entry.locationOrLoadError?.__typename === "PythonError");
  const isAt = (to: string) =>
    to === "/"
      ? path === "/" || path === "/overview"
      : path.startsWith(to) ||
        (to === "/jobs" && path.includes("/jobs/")) ||
        (to === "/automation" && /\/(schedules|sensors)\//.test(path));
  return (
    <Data.Provider value={data}>
      <a className="skip" href="#main">
        Skip to content
      </a>
      <AppShell
        header={{ height: 46 }}
        navbar={{ width: 200, breakpoint: "sm", collapsed: { mobile: !menu } }}
        padding="md"
      >
        <AppShell.Header>
          <Group h="100%" px="md" justify="space-between" wrap="nowrap">
            <Group gap="xs" wrap="nowrap">
              <Burger
                ref={burger}
                opened={menu}
                onClick={toggle}
                hiddenFrom="sm"
                size="sm"
                aria-label="Navigation"
                aria-expanded={menu}
              />
              <Link
                href="/"
                style={{ display: "flex", gap: 8, alignItems: "center", textDecoration: "none", color: "inherit" }}
              >
                <svg viewBox="0 0 32 32" width="24" height="24" aria-hidden="true">
                  <rect width="32" height="32" rx="7" fill="#1c4fd8" />
                  <g fill="none" stroke="#fff" strokeWidth="2.4">
                    <path d="M9 9v14M9 16h7M16 16l7-7M16 16l7 7" />
                  </g>
                </svg>
                <Text fw={700}>opgrid</Text>
              </Link>
              {data?.instance.isReadOnly && <Badge variant="outline">read only</Badge>}
            </Group>
            <Group gap="xs" wrap="nowrap">
              <UnstyledButton
                onClick={search.open}
                title="Search"
                style={{
                  display: "flex",
                  gap: 8,
                  alignItems: "center",
                  border: "1px solid var(--line)",
                  borderRadius: 4,
                  padding: "3px 10px",
                  color: "var(--quiet)",
                }}
              >
                <Icon name="search" />
                <Text size="sm" visibleFrom="sm">
                  Search
                </Text>
                <Kbd visibleFrom="sm" size="xs">
                  Ctrl K
                </Kbd>
              </UnstyledButton>
              <ActionIcon variant="subtle" color="gray" aria-label="Keyboard shortcuts" onClick={sheet.open}>
                <Icon name="keyboard" />
              </ActionIcon>
              <ActionIcon
                variant="subtle"
                color="gray"
                aria-label={scheme === "dark" ? "Light theme" : "Dark theme"}
                onClick={() => setColorScheme(scheme === "dark" ? "light" : "dark")}
              >
                <Icon name={scheme === "dark" ? "sun" : "moon"} />
              </ActionIcon>
            </Group>
          </Group>
        </AppShell.Header>
        <AppShell.Navbar p="xs" aria-label="Pages">
          {PLACES.map(([to, label, icon]) => (
            <NavLink
              key={to}
              component={Link}
              href={to}
              label={label}
              active={isAt(to)}
              aria-current={isAt(to) ? "page" : undefined}
              onClick={closeMenu}
              leftSection={<Icon name={icon} />}
              rightSection={
                to === "/deployment" && broken ? (
                  <Icon name="warning" className="bad" aria-label="Code does not load" />
                ) : undefined
              }
            />
          ))}
          <Group mt="auto" p="xs" gap="xs" justify="space-between">
            <Text size="xs" className="quiet">
              {data && `opgrid ${data.version}, ${data.viewer}`}
            </Text>
            {data && data.viewer !== "local" && (
              <Button size="compact-xs" variant="default" onClick={signOut}>
                Sign out
              </Button>
            )}
          </Group>
        </AppShell.Navbar>
        <AppShell.Main id="main" tabIndex={-1}>
          {trouble && (
            <Box mb="sm">
              <Problem title="What is shown may be out of date">{trouble}</Problem>
            </Box>
          )}
          {data && version !== data.version && (
            <Box mb="sm">
              <Problem title="opgrid was updated">
                These pages are of version {version}, and the service is {data.version} now.{" "}
                <Button size="compact-xs" variant="default" onClick={() => location.reload()}>
                  Load them anew
                </Button>
              </Problem>
            </Box>
          )}
          {children}
        </AppShell.Main>
      </AppShell>
      <Search opened={searching} close={search.close} places={places} />
      <Keys opened={keys} close={sheet.close} />
    </Data.Provider>
  );
}
