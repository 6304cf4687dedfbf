/** In the place of what cannot be shown: its code is not there any more, or breaks. */
import { Button } from "@mantine/core";
import { Component, type ReactNode } from "react";
import { address } from "../api/client";
import { Problem } from "./Bits";

const RELOADED = "opgrid-reloaded";
const BUILD = import.meta.url;
/** Milliseconds after which pages that were loaded anew may be once more. */
const AGAIN = 30_000;

/** Pages that an update has left behind miss parts: they are loaded anew, once the server answers. Where that gave the
 * same ones, they miss something else.
 */
export function reloadWhenLeftBehind(): void {
  addEventListener("vite:preloadError", async () => {
    const [build, at] = JSON.parse(sessionStorage.getItem(RELOADED) ?? "[null, 0]");
    if (build === BUILD || Date.now() - at < AGAIN) return;
    const there = await fetch(address("healthz")).catch(() => undefined);
    if (!there?.ok) return;
    sessionStorage.setItem(RELOADED, JSON.stringify([BUILD, Date.now()]));
    location.reload();
  });
}

type State = { why?: string | undefined };

/** At another `path` it shows what there is again. */
export class Boundary extends Component<{ path: string; children: ReactNode }, State> {
  override state: State = {};

  static getDerivedStateFromError(error: unknown): State {
    return { why: error instanceof Error ? error.message : String(error) };
  }

  override componentDidUpdate(before: { path: string }): void {
    if (before.path !== this.props.path && this.state.why !== undefined) this.setState({ why: undefined });
  }

  override render(): ReactNode {
    if (this.state.why === undefined) return this.props.children;
    return (
      <>
        <Problem title="This page cannot be shown">{this.state.why}</Problem>
        <Button mt="sm" size="xs" onClick={() => location.reload()}>
          Load it anew
        </Button>
      </>
    );
  }
}
