import assert from "node:assert/strict";
import { behaviour } from "../lib/registry.mjs";
import { ask, collect, heartbeats, marker, once } from "../lib/context.mjs";

const limits = { profile: "limits" };
const LIMIT = 20_000;

/** A text such that the engine message `420["count","…"]` has exactly `length` bytes. */
const textFor = (length) => "x".repeat(length - "42".length - "0".length - "[\"count\",\"\"]".length);

behaviour("limits: the handshake tells the limits", limits, async (t) => {
  const socket = t.socket("/");
  const [data] = await new Promise((resolve) => socket.io.engine.once("handshake", (...args) => resolve(args)));
  assert.equal(data.maxPayload, LIMIT);
  assert.equal(data.pingInterval, 500);
  assert.equal(data.pingTimeout, 1000);
  await t.connected(socket);
});

behaviour("limits: a message of exactly the limit passes", limits, async (t) => {
  const socket = await t.connect();
  assert.equal(await ask(socket, "count", textFor(LIMIT)), 1);
});

behaviour("limits: a message over the limit ends the connection", limits, async (t) => {
  const socket = await t.connect();
  const end = once(socket, "disconnect");
  socket.emit("count", textFor(LIMIT + 1), () => assert.fail("accepted"));
  assert.match((await end)[0], /^transport (close|error)$/);
});

behaviour("limits: a client whose message was too large can come back", limits, async (t) => {
  const socket = await t.connect();
  const end = once(socket, "disconnect");
  socket.emit("push", "x".repeat(LIMIT * 3));
  await end;
  socket.sendBuffer = [];
  socket.connect();
  await t.connected(socket);
  assert.equal(await ask(socket, "echo", 1), 1);
});

behaviour("limits: an attachment of exactly the limit passes", { ...limits, only: ["websocket"] }, async (t) => {
  const socket = await t.connect();
  assert.equal((await ask(socket, "digest", Buffer.alloc(LIMIT))).length, LIMIT);
});

behaviour("limits: an attachment over the limit ends the connection", limits, async (t) => {
  const socket = await t.connect();
  const end = once(socket, "disconnect");
  socket.emit("digest", Buffer.alloc(LIMIT + 1), () => assert.fail("accepted"));
  await end;
});

behaviour("limits: the limit does not bind the server's own messages", limits, async (t) => {
  const socket = await t.connect();
  assert.equal((await ask(socket, "make_text", LIMIT * 5)).length, LIMIT * 5);
});

behaviour("limits: many small messages pass though their sum is larger", { ...limits, since: "4.6" }, async (t) => {
  const socket = await t.connect();
  for (let index = 0; index < 60; index += 1) socket.emit("push", index, "x".repeat(1000));
  assert.deepEqual(await ask(socket, "pushed"), Array.from({ length: 60 }, (_, index) => index));
});

behaviour("heartbeat: pings arrive and keep the connection", limits, async (t) => {
  const socket = await t.connect();
  const ends = collect(socket, "disconnect");
  await heartbeats(socket, 3);
  await marker(socket);
  assert.equal(ends.length, 0);
});

behaviour("heartbeat: a slow handler does not starve it", limits, async (t) => {
  const socket = await t.connect();
  const two = heartbeats(socket, 2);
  assert.equal(await ask(socket, "slow", 1500), "done");
  await two;
  assert.equal(socket.connected, true);
});

behaviour("heartbeat: a frozen network is noticed on both sides", limits, async (t) => {
  const proxy = await t.proxy();
  const socket = await t.connect("/", { url: proxy.url });
  if (t.transport === "upgrade") await t.upgraded(socket);
  // Node forgets an unanswered ping when a session is upgraded: let one heartbeat pass on the final transport.
  await heartbeats(socket, 1);
  await marker(socket);
  const { id } = socket;
  const end = once(socket, "disconnect");
  proxy.freeze();
  assert.equal((await end)[0], "ping timeout");
  const observer = await t.connect();
  assert.equal((await ask(observer, "ended", id)).reason, "ping timeout");
});

behaviour("heartbeat: a frozen client comes back through a fresh network", limits, async (t) => {
  const frozen = await t.proxy();
  const socket = await t.connect("/", { url: frozen.url });
  const end = once(socket, "disconnect");
  frozen.freeze();
  await end;
  const second = await t.connect();
  assert.equal(await ask(second, "echo", 1), 1);
});

behaviour("limits: a connection which joins no namespace is closed", limits, async (t) => {
  const manager = t.manager({ autoConnect: false });
  await new Promise((resolve, reject) => manager.open((error) => (error ? reject(error) : resolve())));
  const [reason] = await once(manager, "close");
  assert.match(reason, /^transport (close|error)$/);
});

behaviour("limits: a connection with one namespace refused is closed in time too", limits, async (t) => {
  const manager = t.manager({ autoConnect: false });
  const closed = new Promise((resolve) => manager.once("close", resolve));
  await new Promise((resolve, reject) => manager.open((error) => (error ? reject(error) : resolve())));
  await closed;
});

const deflate = { profile: "deflate" };
behaviour("deflate: a long text both ways", deflate, async (t) => {
  const socket = await t.connect();
  const text = "compressible ".repeat(5000);
  assert.equal(await ask(socket, "echo", text), text);
});
behaviour("deflate: bytes both ways", deflate, async (t) => {
  const socket = await t.connect();
  const data = Buffer.alloc(50_000, "pattern");
  assert.ok(data.equals(Buffer.from(await ask(socket, "echo", data))));
});
behaviour("deflate: short messages", deflate, async (t) => {
  const socket = await t.connect();
  for (let index = 0; index < 20; index += 1) assert.equal(await ask(socket, "echo", index), index);
});
behaviour("deflate: mixed sizes keep their order", deflate, async (t) => {
  const socket = await t.connect();
  const seen = collect(socket, "tick");
  for (let index = 0; index < 100; index += 1) socket.emit("emit", "tick", index, "y".repeat((index % 10) * 300));
  await marker(socket);
  assert.deepEqual(seen.map(([index, text]) => [index, text.length]), Array.from({ length: 100 }, (_, index) => [index, (index % 10) * 300]));
});
behaviour("deflate: a broadcast to five clients", deflate, async (t) => {
  const sockets = await t.group(5, t.fresh());
  const seen = sockets.map((socket) => once(socket, "big"));
  await ask(sockets[0], "broadcast", { via: "all", event: "big", args: ["abc".repeat(10_000)] });
  for (const [text] of await Promise.all(seen)) assert.equal(text, "abc".repeat(10_000));
});
behaviour("deflate: switched off for one message by each side", deflate, async (t) => {
  const socket = await t.connect();
  const event = once(socket, "plain");
  socket.compress(false).emit("broadcast", { via: "self", compress: false, event: "plain", args: ["p".repeat(5000)] });
  assert.equal((await event)[0].length, 5000);
});
