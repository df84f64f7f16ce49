import assert from "node:assert/strict";
import { behaviour } from "../lib/registry.mjs";
import { ask, askAll, marker, once } from "../lib/context.mjs";

behaviour("acks: several values", { msgpack: true }, async (t) => {
  const socket = await t.connect();
  assert.deepEqual(await askAll(socket, "echo", 1, "two", { three: 3 }), [1, "two", { three: 3 }]);
});

behaviour("acks: no values", { msgpack: true }, async (t) => {
  const socket = await t.connect();
  assert.deepEqual(await askAll(socket, "echo"), []);
});

behaviour("acks: answered later", async (t) => {
  const socket = await t.connect();
  assert.deepEqual(await askAll(socket, "ack_late", 30, "a", 1), ["a", 1]);
});

behaviour("acks: answers may overtake each other", async (t) => {
  const socket = await t.connect();
  const order = [];
  const late = ask(socket, "ack_late", 1000, "late").then((value) => order.push(value));
  const soon = ask(socket, "ack_late", 1, "soon").then((value) => order.push(value));
  await Promise.all([late, soon]);
  assert.deepEqual(order, ["soon", "late"]);
});

behaviour("acks: three hundred at once find their own callers", { msgpack: true }, async (t) => {
  const socket = await t.connect();
  const answers = await Promise.all(Array.from({ length: 300 }, (_, index) => ask(socket, "echo", index)));
  assert.deepEqual(answers, Array.from({ length: 300 }, (_, index) => index));
});

behaviour("acks: answering twice sends one answer", async (t) => {
  const socket = await t.connect();
  const answers = [];
  socket.emit("ack_twice", (value) => answers.push(value));
  await marker(socket);
  await marker(socket);
  assert.deepEqual(answers, ["first"]);
});

behaviour("acks: none asked for, none sent", async (t) => {
  const socket = await t.connect();
  const event = once(socket, "echo");
  socket.emit("echo", "as event");
  assert.deepEqual(await event, ["as event"]);
});

behaviour("acks: a callback that never comes does not disturb", async (t) => {
  const socket = await t.connect();
  socket.emit("ack_never", () => assert.fail("answered"));
  await marker(socket);
});

behaviour("acks: timeout() reports a missing answer", { since: "4.4" }, async (t) => {
  const socket = await t.connect();
  const error = await new Promise((resolve) => socket.timeout(30).emit("ack_never", resolve));
  assert.match(error.message, /timed out/);
});

behaviour("acks: timeout() passes an answer in time", { since: "4.4" }, async (t) => {
  const socket = await t.connect();
  const answer = await new Promise((resolve) => socket.timeout(5000).emit("echo", 1, 2, (...args) => resolve(args)));
  assert.deepEqual(answer, [null, 1, 2]);
});

behaviour("acks: an answer after the timeout is ignored", { since: "4.4" }, async (t) => {
  const socket = await t.connect();
  let calls = 0;
  await new Promise((resolve) => socket.timeout(20).emit("ack_late", 120, "x", () => { calls += 1; resolve(); }));
  await ask(socket, "ack_late", 200);
  assert.equal(calls, 1);
});

behaviour("acks: emitWithAck resolves", { since: "4.6", msgpack: true }, async (t) => {
  const socket = await t.connect();
  assert.equal(await socket.emitWithAck("echo", "value"), "value");
});

behaviour("acks: emitWithAck with timeout rejects", { since: "4.6" }, async (t) => {
  const socket = await t.connect();
  await assert.rejects(socket.timeout(30).emitWithAck("ack_never"), /timed out/);
});

behaviour("acks: the ackTimeout option", { since: "4.6" }, async (t) => {
  const socket = await t.connect("/", { ackTimeout: 30 });
  await assert.rejects(socket.emitWithAck("ack_never"));
});

behaviour("acks: a slow handler answers and the connection goes on", async (t) => {
  const [a, b] = await t.group(2);
  const slow = ask(a, "slow", 300);
  assert.equal(await ask(b, "echo", "other socket"), "other socket");
  assert.equal(await slow, "done");
  assert.equal(await ask(a, "echo", "after"), "after");
});

behaviour("acks: server asks, client answers", { msgpack: true }, async (t) => {
  const socket = await t.connect();
  socket.on("question", (a, b, reply) => reply(a + b));
  assert.deepEqual(await ask(socket, "request", { event: "question", args: [1, 2], timeout_ms: 5000 }), { outcome: "ack", args: [3] });
});

behaviour("acks: server asks, client answers with several values", { msgpack: true }, async (t) => {
  const socket = await t.connect();
  socket.on("question", (reply) => reply(1, "two", [3]));
  const { args } = await ask(socket, "request", { event: "question", args: [], timeout_ms: 5000 });
  assert.deepEqual(args, [1, "two", [3]]);
});

behaviour("acks: server asks, client answers with nothing", async (t) => {
  const socket = await t.connect();
  socket.on("question", (reply) => reply());
  assert.deepEqual(await ask(socket, "request", { event: "question", args: [], timeout_ms: 5000 }), { outcome: "ack", args: [] });
});

behaviour("acks: server asks with bytes, client answers with bytes", { msgpack: true }, async (t) => {
  const socket = await t.connect();
  socket.on("question", (data, reply) => reply({ twice: Buffer.concat([Buffer.from(data), Buffer.from(data)]) }));
  const { args } = await ask(socket, "request", { event: "question", args: [Buffer.from([1, 2])], timeout_ms: 5000 });
  assert.deepEqual([...new Uint8Array(args[0].twice)], [1, 2, 1, 2]);
});

behaviour("acks: server asks, client answers later", async (t) => {
  const socket = await t.connect();
  socket.on("question", (reply) => setTimeout(reply, 30, "later"));
  assert.deepEqual((await ask(socket, "request", { event: "question", args: [], timeout_ms: 5000 })).args, ["later"]);
});

behaviour("acks: server asks, client keeps silent", async (t) => {
  const socket = await t.connect();
  assert.deepEqual(await ask(socket, "request", { event: "unheard", args: [], timeout_ms: 40 }), { outcome: "timeout" });
});

behaviour("acks: an answer after the server's timeout is ignored", async (t) => {
  const socket = await t.connect();
  let reply;
  socket.on("question", (callback) => { reply = callback; });
  assert.deepEqual(await ask(socket, "request", { event: "question", args: [], timeout_ms: 30 }), { outcome: "timeout" });
  reply("too late");
  await marker(socket);
  assert.equal(socket.connected, true);
});

behaviour("acks: a client that answers twice is heard once", async (t) => {
  const socket = await t.connect();
  socket.on("question", (reply) => { reply("one"); reply("two"); });
  assert.deepEqual((await ask(socket, "request", { event: "question", args: [], timeout_ms: 5000 })).args, ["one"]);
  await marker(socket);
});

behaviour("acks: server asks another socket", async (t) => {
  const [a, b] = await t.group(2);
  b.on("question", (value, reply) => reply(`b saw ${value}`));
  const options = { id: b.id, event: "question", args: [7], timeout_ms: 5000 };
  assert.deepEqual((await ask(a, "request", options)).args, ["b saw 7"]);
});

behaviour("acks: server asks a socket that is not there", async (t) => {
  const socket = await t.connect();
  const options = { id: "A".repeat(20), event: "question", args: [], timeout_ms: 5000 };
  assert.deepEqual(await ask(socket, "request", options), { outcome: "missing" });
});

behaviour("acks: fifty questions from the server at once", async (t) => {
  const socket = await t.connect();
  socket.on("question", (value, reply) => setImmediate(reply, value * 2));
  const answers = await Promise.all(Array.from({ length: 50 }, (_, index) =>
    ask(socket, "request", { event: "question", args: [index], timeout_ms: 5000 })));
  assert.deepEqual(answers.map(({ args }) => args[0]), Array.from({ length: 50 }, (_, index) => index * 2));
});

behaviour("acks: broadcast collects every answer", { msgpack: true }, async (t) => {
  const sockets = await t.group(3);
  const room = t.name();
  await Promise.all(sockets.map((socket) => ask(socket, "join", room)));
  sockets.forEach((socket, index) => socket.on("vote", (reply) => reply(index)));
  const { timed_out, responses } = await ask(sockets[0], "broadcast_request", { via: "all", to: [room], event: "vote", args: [], timeout_ms: 5000 });
  assert.equal(timed_out, false);
  assert.deepEqual(responses.sort(), [0, 1, 2]);
});

behaviour("acks: broadcast to others leaves the sender out", async (t) => {
  const sockets = await t.group(3);
  const room = t.name();
  await Promise.all(sockets.map((socket) => ask(socket, "join", room)));
  sockets.forEach((socket, index) => socket.on("vote", (reply) => reply(index)));
  const { responses } = await ask(sockets[0], "broadcast_request", { via: "others", to: [room], event: "vote", args: [], timeout_ms: 5000 });
  assert.deepEqual(responses.sort(), [1, 2]);
});

behaviour("acks: broadcast to nobody is answered at once", async (t) => {
  const socket = await t.connect();
  const options = { via: "all", to: [t.name()], event: "vote", args: [], timeout_ms: 5000 };
  assert.deepEqual(await ask(socket, "broadcast_request", options), { timed_out: false, responses: [] });
});

behaviour("acks: broadcast keeps the answers it has when one is missing", async (t) => {
  const sockets = await t.group(3);
  const room = t.name();
  await Promise.all(sockets.map((socket) => ask(socket, "join", room)));
  sockets.slice(1).forEach((socket, index) => socket.on("vote", (reply) => reply(index)));
  const { timed_out, responses } = await ask(sockets[0], "broadcast_request", { via: "all", to: [room], event: "vote", args: [], timeout_ms: 1000 });
  assert.equal(timed_out, true);
  assert.deepEqual(responses.sort(), [0, 1]);
});

behaviour("acks: broadcast with bytes collects bytes", { msgpack: true }, async (t) => {
  const [a, b] = await t.group(2);
  const room = t.name();
  await ask(b, "join", room);
  b.on("vote", (data, reply) => reply(data));
  const { responses } = await ask(a, "broadcast_request", { via: "all", to: [room], event: "vote", args: [Buffer.from([5, 6])], timeout_ms: 5000 });
  assert.deepEqual([...new Uint8Array(responses[0])], [5, 6]);
});

behaviour("acks: pending answers fail when the connection ends", { since: "4.8" }, async (t) => {
  const socket = await t.connect();
  const pending = new Promise((resolve) => socket.timeout(60_000).emit("ack_never", resolve));
  socket.emit("disconnect_me", false);
  assert.match((await pending).message, /disconnected/);
});
