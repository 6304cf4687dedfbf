/** Asks for the token, when the server wants one. */
import { Button, Modal, PasswordInput, Text } from "@mantine/core";
import { useEffect, useState } from "react";
import { address, HEADERS, whenDenied } from "../api/client";

export function Login() {
  const [wanted, setWanted] = useState(false);
  const [token, setToken] = useState("");
  const [problem, setProblem] = useState("");
  useEffect(() => whenDenied(() => setWanted(true)), []);
  const send = async () => {
    const answer = await fetch(address("login"), {
      method: "POST",
      headers: { ...HEADERS, "content-type": "application/json" },
      body: JSON.stringify({ token }),
    });
    if (answer.ok) location.reload();
    else setProblem("Nobody has this token.");
  };
  return (
    <Modal opened={wanted} onClose={() => {}} withCloseButton={false} title="Sign in">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void send();
        }}
      >
        <Text size="sm" mb="xs">
          Whoever runs this service gives out tokens.
        </Text>
        <PasswordInput
          label="Token"
          data-autofocus
          value={token}
          error={problem}
          onChange={(event) => setToken(event.currentTarget.value)}
        />
        <Button type="submit" mt="md" fullWidth>
          Sign in
        </Button>
      </form>
    </Modal>
  );
}
