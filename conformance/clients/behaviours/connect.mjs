import assert from "node:assert/strict";
import { behaviour } from "../lib/registry.mjs";
import { ask, collect, marker, once, until } from "../lib/context.mjs";

behaviour("connect: the socket gets a 20-character id", { msgpack: true }, async (t) => {
  const socket = await t.connect();
  assert.match(socket.id, /^[\w-]{20}$/);
  assert.equal(socket.connected, true);
});

behaviour("connect: the socket id is not the transport's secret id", async (t) => {
  const socket = await t.connect();
  assert.match(socket.io.engine.id, /^[\w-]{20}$/);
  assert.notEqual(socket.id, socket.io.engine.id);
});

behaviour("connect: two clients get two ids", async (t) => {
  const [a, b] = await t.group(2);
  assert.notEqual(a.id, b.id);
});

behaviour("connect: client and server agree on the socket id", { msgpack: true }, async (t) => {
  const socket = await t.connect();
  assert.equal((await ask(socket, "handshake")).id, socket.id);
});

behaviour("connect: the fixture names itself", { msgpack: true }, async (t) => {
  const socket = await t.connect();
  const { server, options } = await ask(socket, "fixture");
  assert.match(server, /^(node|kentongan)$/);
  assert.equal(typeof options.recovery, "boolean");
});

behaviour("connect: the transport is the one asked for", async (t) => {
  const socket = await t.connect();
  if (t.transport === "upgrade") await t.upgraded(socket);
  assert.equal(socket.io.engine.transport.name, t.transport === "polling" ? "polling" : "websocket");
});

behaviour("connect: a polling-only client is never upgraded", { only: ["polling"] }, async (t) => {
  const socket = await t.connect();
  for (let round = 0; round < 5; round += 1) await marker(socket);
  assert.equal(socket.io.engine.transport.name, "polling");
});

behaviour("connect: websocket first, polling as the second choice", { only: ["websocket", "upgrade"] }, async (t) => {
  const socket = await t.connect("/", { transports: ["websocket", "polling"] });
  assert.equal(socket.io.engine.transport.name, "websocket");
  assert.equal(await ask(socket, "echo", 1), 1);
});

behaviour("connect: auth object reaches the server", { msgpack: true }, async (t) => {
  const socket = await t.connect("/", { auth: { token: "abc", level: 7 } });
  assert.deepEqual((await ask(socket, "handshake")).auth, { token: "abc", level: 7 });
});

behaviour("connect: auth callback function", async (t) => {
  const socket = await t.connect("/", { auth: (done) => done({ token: "from function" }) });
  assert.deepEqual((await ask(socket, "handshake")).auth, { token: "from function" });
});

behaviour("connect: auth function which answers later", async (t) => {
  const socket = await t.connect("/", { auth: async (done) => { await null; setImmediate(done, { late: true }); } });
  assert.deepEqual((await ask(socket, "handshake")).auth, { late: true });
});

behaviour("connect: auth with nesting and unicode", { msgpack: true }, async (t) => {
  const auth = { user: { name: "Łukasz 🦀", tags: ["a", null, { deep: [1.5, false] }] } };
  const socket = await t.connect("/", { auth });
  assert.deepEqual((await ask(socket, "handshake")).auth, auth);
});

behaviour("connect: no auth is an empty object", async (t) => {
  const socket = await t.connect();
  assert.deepEqual((await ask(socket, "handshake")).auth, {});
});

behaviour("connect: auth is given per namespace", async (t) => {
  const manager = t.manager();
  const a = manager.socket("/", { auth: { who: "a" } });
  const b = manager.socket("/chat", { auth: { who: "b" } });
  await Promise.all([t.connected(a), t.connected(b)]);
  assert.equal((await ask(a, "handshake")).auth.who, "a");
  assert.equal((await ask(b, "handshake")).auth.who, "b");
});

behaviour("connect: query option reaches the server", async (t) => {
  const socket = await t.connect("/", { query: { colour: "dark green", n: "1&2=3" } });
  const { query } = await ask(socket, "handshake");
  assert.equal(query.colour, "dark green");
  assert.equal(query.n, "1&2=3");
  assert.equal(query.EIO, "4");
});

// The built-in WebSocket cannot send headers, by its standard.
behaviour("connect: extra headers reach the server", { unless: ["websocket-builtin"] }, async (t) => {
  const socket = await t.connect("/", { extraHeaders: { "X-Test": "seen" } });
  assert.equal((await ask(socket, "handshake")).header, "seen");
});

behaviour("connect: the handshake describes the connection", async (t) => {
  const before = Date.now();
  const socket = await t.connect();
  const handshake = await ask(socket, "handshake");
  assert.equal(handshake.secure, false);
  assert.equal(handshake.namespace, "/");
  assert.equal(handshake.recovered, false);
  assert.ok(Math.abs(handshake.issued - before) < 60_000);
  assert.match(handshake.url, /^\/socket\.io\/\?/);
  assert.match(handshake.address, /127\.0\.0\.1/);
});

behaviour("connect: refused with a message only", { msgpack: true }, async (t) => {
  const socket = t.socket("/", { auth: { refuse: { message: "not you" } } });
  const [error] = await once(socket, "connect_error");
  assert.ok(error instanceof Error);
  assert.equal(error.message, "not you");
  assert.equal(error.data, undefined);
  assert.equal(socket.connected, false);
});

behaviour("connect: refused with data", { msgpack: true }, async (t) => {
  const data = { code: "token_expired", retry: false, detail: { at: [1, 2] } };
  const socket = t.socket("/", { auth: { refuse: { message: "expired", data } } });
  const [error] = await once(socket, "connect_error");
  assert.equal(error.message, "expired");
  assert.deepEqual(error.data, data);
});

for (const [kind, data] of [["text", "why"], ["number", 42], ["list", [1, "two"]], ["false", false]]) {
  behaviour(`connect: refused with data that is a ${kind}`, async (t) => {
    const socket = t.socket("/", { auth: { refuse: { message: "no", data } } });
    assert.deepEqual((await once(socket, "connect_error"))[0].data, data);
  });
}

behaviour("connect: refused with a unicode message", async (t) => {
  const socket = t.socket("/", { auth: { refuse: { message: "nö \"quoted\" 🚫" } } });
  assert.equal((await once(socket, "connect_error"))[0].message, "nö \"quoted\" 🚫");
});

behaviour("connect: no retry by itself after a refusal", async (t) => {
  const socket = t.socket("/", { auth: { refuse: { message: "no" } }, reconnection: true, reconnectionDelay: 1 });
  await once(socket, "connect_error");
  const errors = collect(socket, "connect_error");
  const other = await t.connect();
  await marker(other);
  assert.equal(errors.length, 0);
});

behaviour("connect: a second try with better auth succeeds", async (t) => {
  const socket = t.socket("/", { auth: { refuse: { message: "no" } } });
  await once(socket, "connect_error");
  socket.auth = { fine: true };
  socket.connect();
  await t.connected(socket);
  assert.deepEqual((await ask(socket, "handshake")).auth, { fine: true });
});

behaviour("connect: a refused namespace leaves the others alone", async (t) => {
  const manager = t.manager();
  const good = manager.socket("/");
  await t.connected(good);
  const bad = manager.socket("/chat", { auth: { refuse: { message: "no" } } });
  assert.equal((await once(bad, "connect_error"))[0].message, "no");
  assert.equal(await ask(good, "echo", "still here"), "still here");
});

behaviour("connect: a refused namespace can be asked for again on the same connection", async (t) => {
  const manager = t.manager();
  const good = manager.socket("/");
  await t.connected(good);
  const engine = manager.engine.id;
  const bad = manager.socket("/chat", { auth: { refuse: { message: "no" } } });
  await once(bad, "connect_error");
  bad.auth = {};
  bad.connect();
  await t.connected(bad);
  assert.equal(manager.engine.id, engine);
  assert.equal(await ask(bad, "echo", 5), 5);
});

behaviour("connect: a slow middleware delays only its own namespace", async (t) => {
  const manager = t.manager();
  const slow = manager.socket("/chat", { auth: { delay: 1000 } });
  const quick = manager.socket("/");
  const order = [];
  slow.on("connect", () => order.push("slow"));
  quick.on("connect", () => order.push("quick"));
  await Promise.all([t.connected(slow), t.connected(quick)]);
  assert.deepEqual(order, ["quick", "slow"]);
});

behaviour("connect: leaving while the middleware still thinks is harmless", async (t) => {
  const socket = t.socket("/", { auth: { delay: 100, user: "quitter" } });
  const connects = collect(socket, "connect");
  await once(socket.io, "open");
  socket.disconnect();
  const other = await t.connect("/", { auth: { delay: 150 } });
  await marker(other);
  assert.equal(connects.length, 0);
});

behaviour("connect: rooms joined by the middleware hold", async (t) => {
  const room = t.name();
  const socket = await t.connect("/", { auth: { join: [room] } });
  assert.deepEqual((await ask(socket, "rooms")).rooms, [room, socket.id].sort());
});

behaviour("connect: events emitted before the connection arrive afterwards, in order", { msgpack: true }, async (t) => {
  const socket = t.socket();
  for (let index = 0; index < 20; index += 1) socket.emit("push", index);
  assert.deepEqual(await ask(socket, "pushed"), Array.from({ length: 20 }, (_, index) => index));
});

behaviour("connect: what the connection handler emits comes after connect", { msgpack: true }, async (t) => {
  const socket = t.socket("/welcome");
  const order = [];
  socket.on("connect", () => order.push("connect"));
  socket.on("welcome", (value) => order.push(value));
  await until(() => order.length === 3, "two welcomes");
  assert.equal(order[0], "connect");
  assert.equal(order[1], socket.id);
  assert.deepEqual([...new Uint8Array(order[2])], [0, 1, 2, 3]);
});

behaviour("connect: a wrong path is a connect_error", async (t) => {
  const socket = t.socket("/", { path: "/elsewhere/" });
  const [error] = await once(socket, "connect_error");
  assert.ok(error instanceof Error);
});

behaviour("connect: autoConnect false waits for connect()", async (t) => {
  const socket = t.socket("/", { autoConnect: false });
  assert.equal(socket.connected, false);
  socket.connect();
  await t.connected(socket);
  assert.equal(await ask(socket, "echo", 1), 1);
});

behaviour("connect: forceBase64", async (t) => {
  const socket = await t.connect("/", { forceBase64: true });
  const bytes = await ask(socket, "echo", Buffer.from([0, 1, 254, 255]));
  assert.deepEqual([...new Uint8Array(bytes)], [0, 1, 254, 255]);
});

behaviour("connect: without cache-busting parameters", async (t) => {
  const socket = await t.connect("/", { timestampRequests: false });
  assert.equal(await ask(socket, "echo", 1), 1);
});

behaviour("connect: rememberUpgrade goes straight to websocket the second time", { only: ["upgrade"] }, async (t) => {
  // The client's memory is one flag per process, which another test's failed connection clears: hence several tries.
  for (let round = 0; round < 20; round += 1) {
    const socket = await t.connect("/", { rememberUpgrade: true });
    if (socket.io.engine.transport.name === "websocket") return;
    await t.upgraded(socket);
  }
  assert.fail("every connection began with polling");
});

behaviour("connect: the upgrade keeps the engine session", { only: ["upgrade"] }, async (t) => {
  const socket = await t.connect();
  const id = socket.io.engine.id;
  await t.upgraded(socket);
  await marker(socket);
  assert.equal(socket.io.engine.id, id);
});

behaviour("connect: fifty clients at once", async (t) => {
  const sockets = await t.group(50);
  const answers = await Promise.all(sockets.map((socket, index) => ask(socket, "echo", index)));
  assert.deepEqual(answers, sockets.map((_, index) => index));
  assert.equal(new Set(sockets.map((socket) => socket.id)).size, 50);
});
