import "@mantine/core/styles.css";
import "./app.css";
import { Anchor, createTheme, MantineProvider } from "@mantine/core";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { Provider } from "urql";
import { Router } from "wouter";
import { App } from "./App";
import { BASE, client } from "./api/client";
import { reloadWhenLeftBehind } from "./components/Boundary";
import { Messages } from "./components/Messages";

const theme = createTheme({
  primaryColor: "blue",
  primaryShade: 8,
  autoContrast: true,
  fontFamily: "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif",
  fontFamilyMonospace: "ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace",
  defaultRadius: "sm",
  cursorType: "pointer",
  components: { Anchor: Anchor.extend({ defaultProps: { underline: "always" } }) },
});

reloadWhenLeftBehind();

const root = document.getElementById("root");
if (root) {
  createRoot(root).render(
    <StrictMode>
      <MantineProvider theme={theme} defaultColorScheme="auto">
        <Provider value={client}>
          <Router base={BASE}>
            <Messages>
              <App />
            </Messages>
          </Router>
        </Provider>
      </MantineProvider>
    </StrictMode>,
  );
}
