import { defineConfig } from "vite";

export default defineConfig({
  build: {
    // Files rather than data: addresses, so that the page needs no wider content security policy than it must.
    assetsInlineLimit: 0,
    // Monaco is one big editor; the default warning at 500 kB would only ever repeat that.
    chunkSizeWarningLimit: 5000,
    // "use client" and the like in React libraries mean nothing in a page without server rendering.
    rolldownOptions: { checks: { moduleLevelDirective: false } },
  },
  // `npm run dev` shows this page against a server that runs on its usual port.
  server: { proxy: { "/graphql": { target: "http://localhost:8080", ws: true } } },
});
