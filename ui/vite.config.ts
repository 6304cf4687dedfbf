import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

// The pages are served under any path: index.html gets a <base>, and every address in it is relative.
export default defineConfig({
  base: "./",
  plugins: [react()],
  build: {
    outDir: "../orchestrator/api/static/ui",
    emptyOutDir: true,
    target: "es2022",
    chunkSizeWarningLimit: 700,
  },
  server: { proxy: { "/graphql": { target: "http://127.0.0.1:3000", ws: true } } },
  test: { environment: "happy-dom", include: ["src/**/*.test.{ts,tsx}"] },
});
