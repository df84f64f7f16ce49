// Runs every stock JavaScript client on every transport against the fixture server and prints a table.
//   node run.mjs [--client 4.5] [--setup polling] [--only "text in the name"] [--jobs 2] [--brief]
// FIXTURE_CMD names the server to start (FIXTURE.md); without it Node's reference server is used.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { io } from "socket.io-client";
import { profiles, startFixture } from "./lib/fixture.mjs";
import { clients } from "./lib/matrix.mjs";

const { values: flags } = parseArgs({
  options: {
    client: { type: "string" }, setup: { type: "string" }, only: { type: "string" }, jobs: { type: "string", default: "2" },
    brief: { type: "boolean", default: false },
  },
});
const here = (name) => fileURLToPath(new URL(name, import.meta.url));

const fixtures = Object.fromEntries(await Promise.all(
  Object.entries(profiles).map(async ([name, args]) => [name, await startFixture(args)]),
));
const urls = JSON.stringify(Object.fromEntries(Object.entries(fixtures).map(([name, { url }]) => [name, url])));

async function serverName() {
  const socket = io(fixtures.default.url, { reconnection: false });
  const answer = await new Promise((resolve, reject) => {
    socket.on("connect_error", reject);
    socket.emit("fixture", resolve);
  });
  socket.disconnect();
  return answer.server;
}
const server = await serverName();

function runOne({ module, version }, setup) {
  const child = spawn(process.execPath, [
    "--experimental-websocket", "--no-warnings", "--test-force-exit", `--test-reporter=${here("lib/reporter.mjs")}`, "--test-reporter-destination=stdout", here("suite.test.mjs"),
  ], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, CLIENT: module, VERSION: version, SETUP: setup, URLS: urls, SERVER: server, ONLY: flags.only ?? "" },
  });
  const results = [];
  createInterface({ input: child.stdout }).on("line", (line) => {
    if (line.startsWith("{")) results.push(JSON.parse(line));
    else console.log(line);
  });
  return new Promise((resolve) => child.once("close", (code) => resolve({ results, code })));
}

const work = clients
  .filter(({ version }) => !flags.client || version.startsWith(flags.client))
  .flatMap((client) => client.setups.filter((setup) => !flags.setup || setup === flags.setup).map((setup) => ({ client, setup })));
const rows = [];
let problems = 0;

async function worker() {
  for (let next = work.shift(); next; next = work.shift()) {
    const started = Date.now();
    const { results, code } = await runOne(next.client, next.setup);
    const failed = results.filter(({ passed }) => !passed);
    const passed = results.filter(({ passed: fine, skipped }) => fine && !skipped);
    const label = `${next.client.version} ${next.setup}`;
    for (const { name, detail } of failed) console.log(`FAILED ${label}: ${name}\n${flags.brief ? detail.split("\n", 1)[0] : detail}\n`);
    if (!flags.only && passed.length + failed.length < next.client.least) {
      problems += 1;
      console.log(`TOO FEW ${label}: ${passed.length + failed.length} of at least ${next.client.least} behaviours ran`);
    }
    if (results.length !== passed.length + failed.length) {
      problems += 1;
      console.log(`SKIPPED ${label}: no test may be skipped`);
    }
    if (code !== 0 && failed.length === 0) {
      problems += 1;
      console.log(`BROKEN ${label}: the test process ended with code ${code}`);
    }
    rows.push({ client: `socket.io-client ${next.client.version}`, transport: next.setup, passed: passed.length, failed: failed.length, seconds: ((Date.now() - started) / 1000).toFixed(1) });
  }
}
await Promise.all(Array.from({ length: Number(flags.jobs) }, worker));
await Promise.all(Object.values(fixtures).map((fixture) => fixture.stop()));

console.log(`server: ${server}`);
console.table(rows.sort((a, b) => a.client.localeCompare(b.client) || a.transport.localeCompare(b.transport)));
const passed = rows.reduce((sum, row) => sum + row.passed, 0);
const failed = rows.reduce((sum, row) => sum + row.failed, 0);
console.log(`${passed} passed, ${failed} failed${problems ? `, ${problems} other problems` : ""}`);
process.exit(failed || problems || passed === 0 ? 1 : 0);
