import assert from "node:assert/strict";
import { behaviour } from "../lib/registry.mjs";
import { ask, collect, leave, marker, once, severed } from "../lib/context.mjs";

/** The server's reason for the end of `socket`, told by an observer. */
async function serverReason(t, id) {
  const observer = await t.connect();
  return ask(observer, "ended", id);
}

behaviour("ending: the client leaves", { msgpack: true }, async (t) => {
  const socket = await t.connect();
  const id = socket.id;
  const end = once(socket, "disconnect");
  socket.disconnect();
  assert.equal((await end)[0], "io client disconnect");
  assert.equal(socket.id, undefined);
  assert.match((await serverReason(t, id)).reason, /^(client namespace disconnect|transport close)$/);
});

behaviour("ending: the client leaves one namespace of two", async (t) => {
  const manager = t.manager();
  const [a, b] = [manager.socket("/"), manager.socket("/chat")];
  await Promise.all([t.connected(a), t.connected(b)]);
  const id = b.id;
  b.disconnect();
  assert.deepEqual(await ask(a, "ended", id), { reason: "client namespace disconnect", rooms: [], namespace: "/chat" });
});

behaviour("ending: the server ends the socket", { msgpack: true }, async (t) => {
  const socket = await t.connect();
  const id = socket.id;
  const end = once(socket, "disconnect");
  socket.emit("disconnect_me", false);
  assert.equal((await end)[0], "io server disconnect");
  assert.equal((await serverReason(t, id)).reason, "server namespace disconnect");
});

behaviour("ending: the server ends the whole connection", async (t) => {
  const manager = t.manager();
  const [a, b] = [manager.socket("/"), manager.socket("/chat")];
  await Promise.all([t.connected(a), t.connected(b)]);
  const id = b.id;
  const ends = [once(a, "disconnect"), once(b, "disconnect")];
  a.emit("disconnect_me", true);
  for (const [reason] of await Promise.all(ends)) assert.equal(reason, "io server disconnect");
  assert.equal((await serverReason(t, id)).reason, "server namespace disconnect");
});

behaviour("ending: the server ends another socket by id", async (t) => {
  const [a, b] = await t.group(2);
  const end = once(b, "disconnect");
  await ask(a, "disconnect_sockets", b.id, false);
  assert.equal((await end)[0], "io server disconnect");
  await marker(a);
});

behaviour("ending: the server ends a room with its connections", async (t) => {
  const sockets = await t.group(3);
  const room = t.name();
  await Promise.all(sockets.slice(1).map((socket) => ask(socket, "join", room)));
  const ends = sockets.slice(1).map((socket) => once(socket, "disconnect"));
  await ask(sockets[0], "disconnect_sockets", room, true);
  for (const [reason] of await Promise.all(ends)) assert.equal(reason, "io server disconnect");
  await marker(sockets[0]);
});

behaviour("ending: the server closes the transport under the socket", async (t) => {
  const socket = await t.connect();
  const id = socket.id;
  const end = once(socket, "disconnect");
  socket.emit("cut", null);
  assert.equal((await end)[0], "transport close");
  assert.equal((await serverReason(t, id)).reason, "forced close");
});

behaviour("ending: the client closes the transport under the socket", async (t) => {
  const socket = await t.connect();
  const id = socket.id;
  const end = once(socket, "disconnect");
  socket.io.engine.close();
  assert.equal((await end)[0], "forced close");
  assert.equal((await serverReason(t, id)).reason, "transport close");
});

for (const kind of ["cut", "reset"]) {
  behaviour(`ending: the network is ${kind}`, { profile: "limits" }, async (t) => {
    const proxy = await t.proxy();
    const socket = await t.connect("/", { url: proxy.url });
    const id = socket.id;
    assert.match(await severed(socket, proxy, kind), /^transport (close|error)$/);
    // A polling session that was cut between two polls is noticed by the heartbeat only.
    const expected = t.transport === "websocket" ? /^transport (close|error)$/ : /^(transport (close|error)|ping timeout)$/;
    assert.match((await serverReason(t, id)).reason, expected);
  });
}

behaviour("ending: rooms are still known while disconnecting", async (t) => {
  const socket = await t.connect();
  const { id } = socket;
  const rooms = [t.name("a"), t.name("b")].sort();
  await ask(socket, "join", rooms);
  socket.disconnect();
  assert.deepEqual((await serverReason(t, id)).rooms, rooms);
});

behaviour("ending: nothing arrives after the end", async (t) => {
  const [a, b] = await t.group(2);
  const room = t.name();
  await ask(b, "join", room);
  const seen = collect(b, "late");
  const id = b.id;
  b.disconnect();
  await ask(a, "ended", id);
  await ask(a, "broadcast", { via: "others", to: [room], event: "late", args: [] });
  await marker(a);
  assert.equal(seen.length, 0);
});

// Node drops an event whose DISCONNECT arrives in the same turn of its event loop.
behaviour("ending: what was emitted before disconnect() is still heard", { only: ["websocket"], oursOnly: true }, async (t) => {
  const [a, b] = await t.group(2);
  const event = once(a, "bye");
  b.emit("broadcast", { via: "others", to: [a.id], event: "bye", args: ["last words"] });
  b.disconnect();
  assert.deepEqual(await event, ["last words"]);
});

behaviour("ending: what the server emitted before it ended the socket is heard", async (t) => {
  const socket = await t.connect();
  const order = [];
  socket.on("news", (value) => order.push(value));
  const end = once(socket, "disconnect");
  for (let index = 0; index < 10; index += 1) socket.emit("emit", "news", index);
  socket.emit("disconnect_me", true);
  await end;
  assert.deepEqual(order, Array.from({ length: 10 }, (_, index) => index));
});

behaviour("ending: coming back gives a new id and works", { msgpack: true }, async (t) => {
  const socket = await t.connect();
  const { id } = socket;
  await leave(socket);
  socket.connect();
  await t.connected(socket);
  assert.notEqual(socket.id, id);
  assert.equal(await ask(socket, "echo", 1), 1);
});

behaviour("ending: coming back after the server ended the socket", async (t) => {
  const socket = await t.connect();
  // Older clients cannot connect again while the transport is still closing.
  const closed = new Promise((resolve) => socket.io.engine.once("close", resolve));
  const end = once(socket, "disconnect");
  socket.emit("disconnect_me", true);
  await Promise.all([end, closed]);
  socket.connect();
  await t.connected(socket);
  assert.equal(await ask(socket, "echo", 1), 1);
});

behaviour("ending: rooms do not survive a new connection", async (t) => {
  const socket = await t.connect();
  await ask(socket, "join", t.name());
  await leave(socket);
  socket.connect();
  await t.connected(socket);
  assert.deepEqual((await ask(socket, "rooms")).rooms, [socket.id]);
});

behaviour("ending: twenty clients come and go, none stays listed", async (t) => {
  const name = t.fresh();
  const observer = await t.connect(name);
  const sockets = await t.group(20, name);
  const ids = sockets.map(({ id }) => id);
  sockets.forEach((socket) => socket.disconnect());
  await Promise.all(ids.map((id) => ask(observer, "ended", id)));
  assert.deepEqual(await ask(observer, "sockets", null), [observer.id]);
});
