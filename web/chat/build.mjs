// Bundles src/ into dist/: three files, no inline script or style, nothing fetched from elsewhere.
import { build } from "esbuild";
import { copyFile, mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

await mkdir(here("dist"), { recursive: true });
await build({
  entryPoints: [here("src/chat.ts"), here("src/chat.css")],
  outdir: here("dist"),
  bundle: true,
  minify: true,
  format: "iife",
  target: ["es2022", "chrome109", "firefox115", "safari16"],
  legalComments: "none",
  logLevel: "info",
});
await copyFile(here("src/index.html"), here("dist/index.html"));
