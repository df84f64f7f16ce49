import assert from "node:assert/strict";
import { behaviour } from "../lib/registry.mjs";
import { ask, collect, marker, once } from "../lib/context.mjs";

const send = (socket, options) => ask(socket, "broadcast", { args: [], event: "news", ...options });

/** Emits, then checks which of the sockets got exactly one copy (true) or none (false). */
async function reaches(sockets, sender, options, expected) {
  const seen = sockets.map((socket) => collect(socket, "news"));
  await send(sender, { args: ["x"], ...options });
  await Promise.all(sockets.map(marker));
  assert.deepEqual(seen.map((events) => events.length), expected.map(Number));
  for (const events of seen) for (const args of events) assert.deepEqual(args, ["x"]);
}

behaviour("rooms: every socket is in the room of its id", async (t) => {
  const socket = await t.connect();
  assert.deepEqual(await ask(socket, "rooms"), { id: socket.id, rooms: [socket.id] });
});

behaviour("rooms: join and leave", { msgpack: true }, async (t) => {
  const socket = await t.connect();
  const [one, two] = [t.name("a"), t.name("b")];
  assert.deepEqual(await ask(socket, "join", one), [one]);
  assert.deepEqual(await ask(socket, "join", two), [one, two].sort());
  assert.deepEqual(await ask(socket, "leave", one), [two]);
});

behaviour("rooms: join several at once", async (t) => {
  const socket = await t.connect();
  assert.deepEqual(await ask(socket, "join", ["r1", "r2", "r3"]), ["r1", "r2", "r3"]);
});

behaviour("rooms: joining twice is joining once", async (t) => {
  const [a, b] = await t.group(2);
  const room = t.name();
  await ask(b, "join", room);
  await ask(b, "join", room);
  await reaches([b], a, { via: "others", to: [room] }, [true]);
});

behaviour("rooms: leaving a room one is not in is harmless", async (t) => {
  const socket = await t.connect();
  assert.deepEqual(await ask(socket, "leave", t.name()), []);
});

behaviour("rooms: nothing arrives after leaving", async (t) => {
  const [a, b] = await t.group(2);
  const room = t.name();
  await ask(b, "join", room);
  await ask(b, "leave", room);
  await reaches([b], a, { via: "others", to: [room] }, [false]);
});

behaviour("rooms: names with unicode and punctuation", async (t) => {
  const [a, b] = await t.group(2);
  const room = `${t.name()} ,/#[]"🦀`;
  await ask(b, "join", room);
  await reaches([b], a, { via: "others", to: [room] }, [true]);
});

behaviour("rooms: members are listed", async (t) => {
  const [a, b] = await t.group(2);
  const room = t.name();
  await Promise.all([ask(a, "join", room), ask(b, "join", room)]);
  assert.deepEqual(await ask(a, "sockets", room), [a.id, b.id].sort());
});

behaviour("rooms: the namespace's sockets are listed", async (t) => {
  const sockets = await t.group(3, t.fresh());
  assert.deepEqual(await ask(sockets[0], "sockets", null), sockets.map(({ id }) => id).sort());
});

behaviour("rooms: an ended socket is in no list", async (t) => {
  const [a, b] = await t.group(2);
  const room = t.name();
  await Promise.all([ask(a, "join", room), ask(b, "join", room)]);
  const id = b.id;
  b.disconnect();
  await ask(a, "ended", id);
  assert.deepEqual(await ask(a, "sockets", room), [a.id]);
});

behaviour("rooms: the server moves a socket into a room", async (t) => {
  const [a, b] = await t.group(2);
  const room = t.name();
  await ask(a, "sockets_join", b.id, [room]);
  assert.deepEqual((await ask(b, "rooms")).rooms, [b.id, room].sort());
});

behaviour("rooms: the server moves a whole room into another", async (t) => {
  const sockets = await t.group(3);
  const [one, two] = [t.name("one"), t.name("two")];
  await Promise.all(sockets.slice(1).map((socket) => ask(socket, "join", one)));
  await ask(sockets[0], "sockets_join", one, two);
  await reaches(sockets, sockets[0], { via: "all", to: [two] }, [false, true, true]);
});

behaviour("rooms: the server takes a room's sockets out", async (t) => {
  const sockets = await t.group(2);
  const room = t.name();
  await Promise.all(sockets.map((socket) => ask(socket, "join", room)));
  await ask(sockets[0], "sockets_leave", room, room);
  assert.deepEqual(await ask(sockets[0], "sockets", room), []);
});

behaviour("rooms: the same name in two namespaces is two rooms", async (t) => {
  const [one, two] = [t.fresh(), t.fresh()];
  const [a, b] = [await t.connect(one), await t.connect(two)];
  await Promise.all([ask(a, "join", "lobby"), ask(b, "join", "lobby")]);
  await reaches([a, b], a, { via: "all", to: ["lobby"] }, [true, false]);
});

behaviour("broadcast: to everybody else", { msgpack: true }, async (t) => {
  const sockets = await t.group(3, t.fresh());
  await reaches(sockets, sockets[0], { via: "others" }, [false, true, true]);
});

behaviour("broadcast: to everybody", { msgpack: true }, async (t) => {
  const sockets = await t.group(3, t.fresh());
  await reaches(sockets, sockets[0], { via: "all" }, [true, true, true]);
});

behaviour("broadcast: to one room", { msgpack: true }, async (t) => {
  const sockets = await t.group(3);
  const room = t.name();
  await ask(sockets[1], "join", room);
  await reaches(sockets, sockets[0], { via: "all", to: [room] }, [false, true, false]);
});

behaviour("broadcast: to a room one is in, without oneself", async (t) => {
  const sockets = await t.group(3);
  const room = t.name();
  await Promise.all(sockets.map((socket) => ask(socket, "join", room)));
  await reaches(sockets, sockets[0], { via: "others", to: [room] }, [false, true, true]);
});

behaviour("broadcast: two rooms are a union, one copy each", { msgpack: true }, async (t) => {
  const sockets = await t.group(4);
  const [one, two] = [t.name("one"), t.name("two")];
  await ask(sockets[1], "join", [one, two]);
  await ask(sockets[2], "join", [two]);
  await reaches(sockets, sockets[0], { via: "others", to: [one, two] }, [false, true, true, false]);
});

behaviour("broadcast: except a room", async (t) => {
  const sockets = await t.group(4, t.fresh());
  await ask(sockets[2], "join", "quiet");
  await reaches(sockets, sockets[0], { via: "all", except: ["quiet"] }, [true, true, false, true]);
});

behaviour("broadcast: to a room except another room", async (t) => {
  const sockets = await t.group(4);
  const [one, two] = [t.name("one"), t.name("two")];
  await Promise.all(sockets.map((socket) => ask(socket, "join", one)));
  await ask(sockets[3], "join", two);
  await reaches(sockets, sockets[0], { via: "others", to: [one], except: [two] }, [false, true, true, false]);
});

behaviour("broadcast: except several rooms and ids", async (t) => {
  const sockets = await t.group(4, t.fresh());
  await ask(sockets[1], "join", "quiet");
  await reaches(sockets, sockets[0], { via: "all", except: ["quiet", sockets[2].id] }, [true, false, false, true]);
});

behaviour("broadcast: to one socket by its id", async (t) => {
  const sockets = await t.group(3);
  await reaches(sockets, sockets[0], { via: "others", to: [sockets[2].id] }, [false, false, true]);
});

behaviour("broadcast: a room and the id of its member give one copy", async (t) => {
  const sockets = await t.group(2);
  const room = t.name();
  await ask(sockets[1], "join", room);
  await reaches(sockets, sockets[0], { via: "others", to: [room, sockets[1].id] }, [false, true]);
});

behaviour("broadcast: to a room without members", async (t) => {
  const sockets = await t.group(2);
  await reaches(sockets, sockets[0], { via: "all", to: [t.name()] }, [false, false]);
});

behaviour("broadcast: to oneself only", async (t) => {
  const sockets = await t.group(2);
  await reaches(sockets, sockets[0], { via: "self" }, [true, false]);
});

behaviour("broadcast: local to this server", async (t) => {
  const sockets = await t.group(2, t.fresh());
  await reaches(sockets, sockets[0], { via: "all", local: true }, [true, true]);
});

for (const compress of [true, false]) {
  behaviour(`broadcast: with compress(${compress})`, async (t) => {
    const sockets = await t.group(2, t.fresh());
    await reaches(sockets, sockets[0], { via: "all", compress }, [true, true]);
  });
}

behaviour("broadcast: stays inside the namespace on one connection", async (t) => {
  const manager = t.manager();
  const [a, b] = [manager.socket(t.fresh()), manager.socket(t.fresh())];
  await Promise.all([t.connected(a), t.connected(b)]);
  await reaches([a, b], a, { via: "all" }, [true, false]);
});

behaviour("broadcast: a large text to ten clients", async (t) => {
  const sockets = await t.group(10, t.fresh());
  const seen = sockets.map((socket) => once(socket, "big"));
  await send(sockets[0], { via: "all", event: "big", args: ["z".repeat(200_000)] });
  for (const [text] of await Promise.all(seen)) assert.equal(text.length, 200_000);
});

behaviour("broadcast: two hundred in a row, one copy each, the same order for all", async (t) => {
  const sockets = await t.group(5, t.fresh());
  const seen = sockets.map((socket) => collect(socket, "news"));
  for (let index = 0; index < 200; index += 1) {
    sockets[index % 2].emit("broadcast", { via: "all", event: "news", args: [index] });
  }
  await Promise.all([marker(sockets[0]), marker(sockets[1])]);
  await Promise.all(sockets.map(marker));
  for (const events of seen) {
    assert.equal(events.length, 200);
    assert.deepEqual(events, seen[0]);
    const even = events.map(([value]) => value).filter((value) => value % 2 === 0);
    assert.deepEqual(even, [...even].sort((a, b) => a - b));
  }
});

behaviour("volatile: an event from the server reaches an idle client", async (t) => {
  const sockets = await t.group(2, t.fresh());
  if (t.transport !== "websocket") {
    // While a poll is under way nothing is parked, and a volatile event may rightly be dropped: repeat until one passes.
    const seen = collect(sockets[1], "news");
    for (let round = 0; seen.length === 0; round += 1) {
      assert.ok(round < 200, "two hundred volatile events were all dropped");
      await send(sockets[0], { via: "others", volatile: true });
      await ask(sockets[0], "ack_late", 5);
    }
    return;
  }
  await marker(sockets[1]);
  const event = once(sockets[1], "news");
  await send(sockets[0], { via: "others", volatile: true });
  await event;
});

behaviour("volatile: many in a row stay in order, none twice, and a reliable event follows", async (t) => {
  const socket = await t.connect();
  const name = t.name("event");
  const seen = [];
  socket.on(name, (index) => seen.push(index));
  const end = once(socket, "volatile_end");
  socket.emit("volatile", name, 50);
  await end;
  assert.deepEqual(seen, [...new Set(seen)].sort((a, b) => a - b));
  assert.ok(seen.length <= 50);
});

behaviour("volatile: from the client while connected", { only: ["websocket"] }, async (t) => {
  const socket = await t.connect();
  await marker(socket);
  // The client drops it while its transport is still busy with the question, also when the answer is here already.
  while (!socket.io.engine.transport.writable) await new Promise(setImmediate);
  socket.volatile.emit("push", "v");
  assert.deepEqual(await ask(socket, "pushed"), ["v"]);
});

behaviour("volatile: from the client before it is connected is dropped", async (t) => {
  const socket = t.socket();
  socket.volatile.emit("push", "lost");
  socket.emit("push", "kept");
  assert.deepEqual(await ask(socket, "pushed"), ["kept"]);
});
