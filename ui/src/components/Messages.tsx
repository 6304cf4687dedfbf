/** What came of what somebody did: told at the edge of the page, and to screen readers. */
import { Button, Group, Paper, Text } from "@mantine/core";
import { createContext, type ReactNode, useCallback, useContext, useMemo, useRef, useState } from "react";
import { Link } from "wouter";
import { Icon } from "./Icons";

type Message = { id: number; bad: boolean; text: string; href?: string };
type Tell = { good: (text: string, href?: string) => void; bad: (text: string) => void };

const Context = createContext<Tell>({ good: () => {}, bad: () => {} });

export const useMessages = (): Tell => useContext(Context);

export function Messages({ children }: { children: ReactNode }) {
  const [messages, setMessages] = useState<Message[]>([]);
  const next = useRef(1);
  const remove = useCallback((id: number) => setMessages((all) => all.filter((each) => each.id !== id)), []);
  const add = useCallback(
    (message: Omit<Message, "id">) => {
      const id = next.current++;
      setMessages((all) => [...all.slice(-4), { ...message, id }]);
      if (!message.bad) setTimeout(() => remove(id), 6000);
    },
    [remove],
  );
  const tell = useMemo<Tell>(
    () => ({
      good: (text, href) => add(href ? { bad: false, text, href } : { bad: false, text }),
      bad: (text) => add({ bad: true, text }),
    }),
    [add],
  );
  return (
    <Context.Provider value={tell}>
      {children}
      <div
        role="log"
        aria-live="polite"
        aria-label="Messages"
        style={{ position: "fixed", right: 16, bottom: 16, zIndex: 500, display: "grid", gap: 8, maxWidth: 460 }}
      >
        {messages.map((message) => (
          <Paper key={message.id} withBorder shadow="md" p="xs">
            <Group gap="xs" wrap="nowrap" align="flex-start">
              <Icon name={message.bad ? "warning" : "check"} className={message.bad ? "bad" : "ok"} />
              <Text size="sm" style={{ whiteSpace: "pre-wrap", flex: 1 }}>
                {message.text} {message.href && <Link href={message.href}>Open</Link>}
              </Text>
              <Button size="compact-xs" variant="subtle" onClick={() => remove(message.id)} aria-label="Dismiss">
                <Icon name="cross" />
              </Button>
            </Group>
          </Paper>
        ))}
      </div>
    </Context.Provider>
  );
}
