import assert from "node:assert/strict";
import { behaviour } from "../lib/registry.mjs";
import { ask, collect, marker, once } from "../lib/context.mjs";

behaviour("listeners: onAny sees every event", async (t) => {
  const socket = await t.connect();
  const seen = [];
  socket.onAny((...args) => seen.push(args));
  socket.emit("emit", "one", 1);
  socket.emit("emit", "two", 2, 3);
  await once(socket, "two");
  assert.deepEqual(seen, [["one", 1], ["two", 2, 3]]);
});

behaviour("listeners: prependAny runs first, offAny stops it", async (t) => {
  const socket = await t.connect();
  const order = [];
  const first = () => order.push("first");
  socket.onAny(() => order.push("any"));
  socket.prependAny(first);
  socket.on("x", () => order.push("on"));
  socket.emit("emit", "x");
  await marker(socket);
  assert.deepEqual(order.slice(0, 3), ["first", "any", "on"]);
  socket.offAny(first);
  order.length = 0;
  socket.emit("emit", "x");
  await once(socket, "x");
  assert.deepEqual(order, ["any", "on"]);
});

behaviour("listeners: onAnyOutgoing sees what is sent", { since: "4.5" }, async (t) => {
  const socket = await t.connect();
  const seen = [];
  socket.onAnyOutgoing((...args) => seen.push(args));
  socket.emit("push", 1);
  assert.deepEqual(seen, [["push", 1]]);
  await marker(socket);
});

behaviour("listeners: the server's catch-all sees events in both directions", async (t) => {
  const socket = await t.connect();
  socket.emit("push", 1);
  socket.emit("emit", "downwards");
  const { incoming, outgoing } = await ask(socket, "tail");
  assert.deepEqual(incoming, ["push", "emit", "tail"]);
  assert.deepEqual(outgoing, ["downwards"]);
});

behaviour("listeners: an event middleware of the server refuses one event", async (t) => {
  const socket = await t.connect();
  const not = collect(socket, "not_blocked");
  const refused = once(socket, "refused");
  socket.emit("blocked");
  assert.deepEqual(await refused, ["blocked by middleware"]);
  await marker(socket);
  assert.equal(not.length, 0);
});

behaviour("listeners: an event nobody listens to is harmless", async (t) => {
  const socket = await t.connect();
  socket.emit("unheard of", { any: "thing" }, Buffer.from([1]));
  await marker(socket);
});

behaviour("listeners: once and off on the client", async (t) => {
  const socket = await t.connect();
  let calls = 0;
  const count = () => { calls += 1; };
  socket.once("x", count);
  socket.on("y", count);
  socket.off("y", count);
  for (const name of ["x", "x", "y"]) socket.emit("emit", name);
  await marker(socket);
  assert.equal(calls, 1);
});

for (const compress of [true, false]) {
  behaviour(`listeners: client compress(${compress})`, async (t) => {
    const socket = await t.connect();
    socket.compress(compress).emit("push", "x".repeat(3000));
    assert.equal((await ask(socket, "pushed"))[0].length, 3000);
  });
}

behaviour("listeners: the server remembers per-socket data", async (t) => {
  const [a, b] = await t.group(2);
  await ask(a, "remember", { cart: [1, 2] });
  assert.deepEqual(await ask(a, "recall"), { cart: [1, 2] });
  assert.equal(await ask(b, "recall"), null);
});
