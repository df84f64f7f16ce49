import assert from "node:assert/strict";
import { behaviour } from "../lib/registry.mjs";
import { ask, marker, once } from "../lib/context.mjs";

behaviour("namespaces: a static one", { msgpack: true }, async (t) => {
  const socket = await t.connect("/chat");
  assert.equal((await ask(socket, "handshake")).namespace, "/chat");
  assert.equal(await ask(socket, "echo", 1), 1);
});

behaviour("namespaces: events and binary in one", { msgpack: true }, async (t) => {
  const socket = await t.connect("/chat");
  const event = once(socket, "echo");
  socket.emit("echo", Buffer.from([1]), "x");
  const [data, text] = await event;
  assert.deepEqual([...new Uint8Array(data)], [1]);
  assert.equal(text, "x");
});

behaviour("namespaces: an unknown one is refused", { msgpack: true }, async (t) => {
  const socket = t.socket("/nowhere");
  const [error] = await once(socket, "connect_error");
  assert.equal(error.message, "Invalid namespace");
});

behaviour("namespaces: an unknown one leaves the others alone", async (t) => {
  const manager = t.manager();
  const good = manager.socket("/");
  await t.connected(good);
  await once(manager.socket("/nowhere"), "connect_error");
  assert.equal(await ask(good, "echo", 1), 1);
});

behaviour("namespaces: two share one connection and have two ids", async (t) => {
  const manager = t.manager();
  const [a, b] = [manager.socket("/"), manager.socket("/chat")];
  await Promise.all([t.connected(a), t.connected(b)]);
  assert.notEqual(a.id, b.id);
  assert.equal(a.io.engine, b.io.engine);
});

behaviour("namespaces: only /chat, without the root", async (t) => {
  const manager = t.manager();
  const chat = manager.socket("/chat");
  await t.connected(chat);
  assert.deepEqual(Object.keys(manager.nsps), ["/chat"]);
  assert.equal(await ask(chat, "echo", 2), 2);
});

behaviour("namespaces: dynamic by pattern", { msgpack: true }, async (t) => {
  const name = t.fresh();
  const socket = await t.connect(name);
  assert.equal((await ask(socket, "handshake")).namespace, name);
});

behaviour("namespaces: the pattern must fit the whole name", async (t) => {
  const socket = t.socket(`${t.fresh()}/more`);
  assert.equal((await once(socket, "connect_error"))[0].message, "Invalid namespace");
});

behaviour("namespaces: dynamic by function, allowed by auth", async (t) => {
  const socket = await t.connect(`/auth-${t.name("x")}`, { auth: { allow: true } });
  assert.equal(await ask(socket, "echo", 3), 3);
});

behaviour("namespaces: dynamic by function, denied", async (t) => {
  const socket = t.socket(`/auth-${t.name("x")}`, { auth: { allow: false } });
  assert.equal((await once(socket, "connect_error"))[0].message, "Invalid namespace");
});

behaviour("namespaces: a dynamic one has its middleware", async (t) => {
  const socket = t.socket(t.fresh(), { auth: { refuse: { message: "dyn no", data: 1 } } });
  const [error] = await once(socket, "connect_error");
  assert.deepEqual([error.message, error.data], ["dyn no", 1]);
});

behaviour("namespaces: two clients meet in a dynamic one", async (t) => {
  const name = t.fresh();
  const [a, b] = await t.group(2, name);
  const event = once(b, "hi");
  await ask(a, "broadcast", { via: "others", event: "hi", args: ["there"] });
  assert.deepEqual(await event, ["there"]);
});

behaviour("namespaces: twenty on one connection", { msgpack: true }, async (t) => {
  const manager = t.manager();
  const sockets = Array.from({ length: 20 }, () => manager.socket(t.fresh()));
  await Promise.all(sockets.map((socket) => t.connected(socket)));
  const answers = await Promise.all(sockets.map((socket) => ask(socket, "handshake")));
  assert.deepEqual(answers.map(({ namespace }) => namespace), sockets.map(({ nsp }) => nsp));
  assert.equal(new Set(sockets.map(({ id }) => id)).size, 20);
});

behaviour("namespaces: binary events interleaved over several do not mix", { msgpack: true }, async (t) => {
  const manager = t.manager();
  const sockets = Array.from({ length: 5 }, () => manager.socket(t.fresh()));
  await Promise.all(sockets.map((socket) => t.connected(socket)));
  const answers = await Promise.all(Array.from({ length: 50 }, (_, index) =>
    ask(sockets[index % 5], "echo", { index, data: Buffer.alloc(index + 1, index) })));
  answers.forEach(({ index, data }, position) => {
    assert.equal(index, position);
    assert.deepEqual([...new Uint8Array(data)], Array(position + 1).fill(position));
  });
});

behaviour("namespaces: acknowledgement ids are apart", async (t) => {
  const manager = t.manager();
  const [a, b] = [manager.socket("/"), manager.socket("/chat")];
  await Promise.all([t.connected(a), t.connected(b)]);
  const answers = await Promise.all([ask(a, "ack_late", 20, "a"), ask(b, "ack_late", 10, "b"), ask(a, "echo", "c"), ask(b, "echo", "d")]);
  assert.deepEqual(answers, ["a", "b", "c", "d"]);
});

behaviour("namespaces: leaving one keeps the other", async (t) => {
  const manager = t.manager();
  const [a, b] = [manager.socket("/"), manager.socket("/chat")];
  await Promise.all([t.connected(a), t.connected(b)]);
  const id = b.id;
  b.disconnect();
  assert.equal((await ask(a, "ended", id)).reason, "client namespace disconnect");
  assert.equal(await ask(a, "echo", 1), 1);
});

behaviour("namespaces: leaving and coming back on the same connection", async (t) => {
  const manager = t.manager();
  const [a, b] = [manager.socket("/"), manager.socket("/chat")];
  await Promise.all([t.connected(a), t.connected(b)]);
  const [id, engine] = [b.id, manager.engine.id];
  b.disconnect();
  await ask(a, "ended", id);
  b.connect();
  await t.connected(b);
  assert.notEqual(b.id, id);
  assert.equal(manager.engine.id, engine);
  assert.equal(await ask(b, "echo", 1), 1);
});

// Node may handle the CONNECT before the DISCONNECT that precedes it, and then closes the session.
behaviour("namespaces: leaving and coming back at once", { oursOnly: true }, async (t) => {
  const manager = t.manager();
  const [a, b] = [manager.socket("/"), manager.socket("/chat")];
  await Promise.all([t.connected(a), t.connected(b)]);
  const [id, engine] = [b.id, manager.engine.id];
  b.disconnect();
  b.connect();
  await t.connected(b);
  assert.notEqual(b.id, id);
  assert.equal(manager.engine.id, engine);
  assert.equal(await ask(b, "echo", 1), 1);
});

behaviour("namespaces: the server ends one and the other lives", async (t) => {
  const manager = t.manager();
  const [a, b] = [manager.socket("/"), manager.socket("/chat")];
  await Promise.all([t.connected(a), t.connected(b)]);
  const end = once(b, "disconnect");
  b.emit("disconnect_me", false);
  assert.equal((await end)[0], "io server disconnect");
  await marker(a);
});

behaviour("namespaces: a name with unicode", async (t) => {
  const socket = t.socket("/nö-🦀");
  assert.equal((await once(socket, "connect_error"))[0].message, "Invalid namespace");
});
