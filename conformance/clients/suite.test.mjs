// One client version on one transport set-up: every behaviour that applies becomes a node:test test.
// Started by run.mjs, which hands over CLIENT, SETUP, URLS and SERVER.
import { describe, test } from "node:test";
import * as msgpack from "socket.io-msgpack-parser";
import "./behaviours/all.mjs";
import { Context } from "./lib/context.mjs";
import { behaviours } from "./lib/registry.mjs";
import { setups } from "./lib/matrix.mjs";

const { CLIENT, VERSION, SETUP, SERVER, ONLY } = process.env;
const urls = JSON.parse(process.env.URLS);
const client = await import(CLIENT);
const { transport, transports, parsers } = setups[SETUP];
const newer = (a, b) => a.localeCompare(b, "en", { numeric: true }) >= 0;

const applies = (one) =>
  newer(VERSION, one.since)
  && (!one.only || one.only.includes(transport))
  && !one.unless?.includes(SETUP)
  && (!one.oursOnly || SERVER === "kentongan")
  && (!ONLY || one.name.includes(ONLY));

function register(one, profile, parser, prefix = "") {
  test(prefix + one.name, { timeout: 20_000 }, async () => {
    const bound = { client: { io: client.io, Manager: client.Manager }, transport, transports: transports(client), urls, version: VERSION };
    const context = new Context(bound, profile, parser);
    try {
      await one.run(context);
    } finally {
      await context.close();
    }
  });
}

describe(`${CLIENT} ${SETUP}`, { concurrency: 8 }, () => {
  for (const one of behaviours.filter(applies)) {
    register(one, one.profile);
    if (one.msgpack && parsers) register(one, "msgpack", msgpack.default ?? msgpack, "msgpack: ");
  }
});
