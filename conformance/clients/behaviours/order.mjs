import assert from "node:assert/strict";
import { behaviour } from "../lib/registry.mjs";
import { ask, collect, marker, once } from "../lib/context.mjs";

const range = (count) => Array.from({ length: count }, (_, index) => index);

behaviour("order: a thousand events to the server", { msgpack: true }, async (t) => {
  const socket = await t.connect();
  for (const index of range(1000)) socket.emit("push", index);
  assert.deepEqual(await ask(socket, "pushed"), range(1000));
});

behaviour("order: a thousand events from the server", { msgpack: true }, async (t) => {
  const socket = await t.connect();
  const name = t.name("event");
  const seen = collect(socket, name);
  const end = once(socket, "burst_end");
  socket.emit("burst", { event: name, count: 1000 });
  await end;
  assert.deepEqual(seen.map(([index]) => index), range(1000));
});

behaviour("order: both directions at once", { msgpack: true }, async (t) => {
  const socket = await t.connect();
  const seen = collect(socket, "tick");
  for (const index of range(500)) {
    socket.emit("push", index);
    socket.emit("emit", "tick", index);
  }
  const pushed = await ask(socket, "pushed");
  await marker(socket);
  assert.deepEqual(pushed, range(500));
  assert.deepEqual(seen.map(([index]) => index), range(500));
});

behaviour("order: across the upgrade, to the server", { only: ["upgrade"] }, async (t) => {
  const socket = t.socket();
  let index = 0;
  await once(socket, "connect");
  while (socket.io.engine.transport.name !== "websocket") {
    for (let round = 0; round < 5; round += 1) socket.emit("push", index++);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  for (let round = 0; round < 100; round += 1) socket.emit("push", index++);
  assert.deepEqual(await ask(socket, "pushed"), range(index));
});

behaviour("order: across the upgrade, from the server", { only: ["upgrade"] }, async (t) => {
  const [a, b] = [await t.connect(), t.socket()];
  const room = t.name();
  await t.upgraded(a);
  const seen = collect(b, "tick");
  await ask(b, "join", room);
  let index = 0;
  do {
    await ask(a, "broadcast", { via: "others", to: [room], event: "tick", args: [index++] });
  } while (b.io.engine.transport.name !== "websocket");
  for (let round = 0; round < 50; round += 1) await ask(a, "broadcast", { via: "others", to: [room], event: "tick", args: [index++] });
  await marker(b);
  assert.deepEqual(seen.map(([value]) => value), range(index));
});

behaviour("order: binary across the upgrade", { only: ["upgrade"] }, async (t) => {
  const socket = t.socket();
  await once(socket, "connect");
  const name = t.name("event");
  const seen = collect(socket, name);
  const end = once(socket, "burst_end");
  socket.emit("burst", { event: name, count: 400, binary_every: 2 });
  await end;
  assert.deepEqual(seen.map(([index]) => index), range(400));
});

behaviour("order: acknowledgements come in the order asked", async (t) => {
  const socket = await t.connect();
  const order = [];
  await Promise.all(range(100).map((index) => ask(socket, "echo", index).then((value) => order.push(value))));
  assert.deepEqual(order, range(100));
});

behaviour("order: never more than one copy, with ten busy clients", async (t) => {
  const sockets = await t.group(10, t.fresh());
  const seen = sockets.map((socket) => collect(socket, "tick"));
  for (const [from, socket] of sockets.entries()) {
    for (const index of range(20)) socket.emit("broadcast", { via: "all", event: "tick", args: [from, index] });
  }
  await Promise.all(sockets.map(marker));
  await Promise.all(sockets.map(marker));
  for (const events of seen) {
    assert.equal(new Set(events.map(([from, index]) => `${from}:${index}`)).size, 200);
    assert.equal(events.length, 200);
    for (const sender of range(10)) {
      assert.deepEqual(events.filter(([from]) => from === sender).map(([, index]) => index), range(20));
    }
  }
});
