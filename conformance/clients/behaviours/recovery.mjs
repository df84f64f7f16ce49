import assert from "node:assert/strict";
import { behaviour } from "../lib/registry.mjs";
import { ask, collect, marker, once, severed } from "../lib/context.mjs";

const recovery = { profile: "recovery", since: "4.6" };
const ours = { ...recovery, oursOnly: true };

/** Cuts the transport under `socket` from outside and waits until the server knows. */
async function away(observer, socket) {
  const { id } = socket;
  const end = once(socket, "disconnect");
  await ask(observer, "cut", id);
  await Promise.all([end, ask(observer, "ended", id)]);
}

async function back(t, socket) {
  const { sendBuffer } = socket;
  assert.deepEqual(sendBuffer, []);
  socket.connect();
  await t.connected(socket);
}

const publish = (observer, room, event, ...args) => ask(observer, "broadcast", { via: "all", to: [room], event, args });

/** An observer and a member of a fresh room, who has seen one event with a position. */
async function scene(t, options) {
  const [observer, socket] = [await t.connect(), await t.connect("/", options)];
  const room = t.name();
  await ask(socket, "join", room);
  const first = once(socket, "first");
  await publish(observer, room, "first");
  await first;
  return { observer, socket, room };
}

behaviour("recovery: a first connection is not a recovered one", recovery, async (t) => {
  const socket = await t.connect();
  assert.equal(socket.recovered, false);
  assert.equal((await ask(socket, "handshake")).recovered, false);
  assert.equal(typeof socket._pid, "string");
  assert.notEqual(socket._pid, socket.id);
});

behaviour("recovery: without the option there is no recovery id", { since: "4.6" }, async (t) => {
  const socket = await t.connect();
  assert.equal(socket._pid, undefined);
});

behaviour("recovery: events carry a position as an extra last argument", recovery, async (t) => {
  const socket = await t.connect();
  const event = once(socket, "news");
  socket.emit("emit", "news", 1);
  const args = await event;
  assert.equal(args.length, 2);
  assert.equal(args[0], 1);
  assert.equal(typeof args[1], "string");
});

behaviour("recovery: binary events carry a position", recovery, async (t) => {
  const socket = await t.connect();
  const event = once(socket, "news");
  socket.emit("emit", "news", Buffer.from([1, 2]));
  const args = await event;
  assert.deepEqual([...new Uint8Array(args[0])], [1, 2]);
  assert.equal(typeof args[1], "string");
});

behaviour("recovery: acknowledgements and questions carry none", recovery, async (t) => {
  const socket = await t.connect();
  assert.deepEqual(await ask(socket, "echo", 1), 1);
  const args = [];
  socket.on("question", (...all) => { args.push(...all.slice(0, -1)); all.at(-1)("yes"); });
  assert.deepEqual((await ask(socket, "request", { event: "question", args: [5], timeout_ms: 5000 })).args, ["yes"]);
  assert.deepEqual(args, [5]);
});

behaviour("recovery: missed events are replayed and the socket is the same", recovery, async (t) => {
  const { observer, socket, room } = await scene(t);
  const { id } = socket;
  await away(observer, socket);
  const seen = collect(socket, "missed");
  for (let index = 0; index < 5; index += 1) await publish(observer, room, "missed", index);
  await back(t, socket);
  await marker(socket);
  assert.equal(socket.recovered, true);
  assert.equal(socket.id, id);
  assert.deepEqual(seen.map(([index]) => index), [0, 1, 2, 3, 4]);
});

behaviour("recovery: the server knows it is a recovered socket", recovery, async (t) => {
  const { observer, socket } = await scene(t);
  await away(observer, socket);
  await back(t, socket);
  assert.equal((await ask(socket, "handshake")).recovered, true);
});

behaviour("recovery: rooms are restored", recovery, async (t) => {
  const { observer, socket, room } = await scene(t);
  await away(observer, socket);
  await back(t, socket);
  assert.deepEqual((await ask(socket, "rooms")).rooms, [socket.id, room].sort());
});

behaviour("recovery: per-socket data is restored", recovery, async (t) => {
  const { observer, socket } = await scene(t);
  await ask(socket, "remember", { cart: [1] });
  await away(observer, socket);
  await back(t, socket);
  assert.deepEqual(await ask(socket, "recall"), { cart: [1] });
});

behaviour("recovery: events to the socket's own id are replayed", recovery, async (t) => {
  const { observer, socket } = await scene(t);
  const { id } = socket;
  await away(observer, socket);
  await publish(observer, id, "direct", "for you");
  const event = once(socket, "direct");
  await back(t, socket);
  assert.equal((await event)[0], "for you");
});

behaviour("recovery: binary events are replayed whole", recovery, async (t) => {
  const { observer, socket, room } = await scene(t);
  await away(observer, socket);
  await publish(observer, room, "file", { data: Buffer.from([1, 2, 3]) });
  const event = once(socket, "file");
  await back(t, socket);
  assert.deepEqual([...new Uint8Array((await event)[0].data)], [1, 2, 3]);
});

behaviour("recovery: what was seen before the cut is not repeated", recovery, async (t) => {
  const { observer, socket, room } = await scene(t);
  const seen = collect(socket, "news");
  for (let index = 0; index < 3; index += 1) await publish(observer, room, "news", index);
  await marker(socket);
  await away(observer, socket);
  await publish(observer, room, "news", 3);
  await back(t, socket);
  await marker(socket);
  assert.deepEqual(seen.map(([index]) => index), [0, 1, 2, 3]);
});

behaviour("recovery: other rooms' events are not replayed", recovery, async (t) => {
  const { observer, socket, room } = await scene(t);
  await away(observer, socket);
  const seen = collect(socket, "news");
  await publish(observer, t.name(), "news", "not yours");
  await publish(observer, room, "news", "yours");
  await back(t, socket);
  await marker(socket);
  assert.deepEqual(seen.map(([value]) => value), ["yours"]);
});

behaviour("recovery: events that except the socket are not replayed", recovery, async (t) => {
  const { observer, socket, room } = await scene(t);
  const { id } = socket;
  await away(observer, socket);
  const seen = collect(socket, "news");
  await ask(observer, "broadcast", { via: "all", to: [room], except: [id], event: "news", args: ["not you"] });
  await publish(observer, room, "news", "you");
  await back(t, socket);
  await marker(socket);
  assert.deepEqual(seen.map(([value]) => value), ["you"]);
});

behaviour("recovery: volatile events are not replayed", recovery, async (t) => {
  const { observer, socket, room } = await scene(t);
  await away(observer, socket);
  const seen = collect(socket, "news");
  await ask(observer, "broadcast", { via: "all", to: [room], volatile: true, event: "news", args: ["gone"] });
  await publish(observer, room, "news", "kept");
  await back(t, socket);
  await marker(socket);
  assert.deepEqual(seen.map(([value]) => value), ["kept"]);
});

behaviour("recovery: live events follow the replayed ones", recovery, async (t) => {
  const { observer, socket, room } = await scene(t);
  await away(observer, socket);
  const seen = collect(socket, "news");
  await publish(observer, room, "news", "missed");
  await back(t, socket);
  await publish(observer, room, "news", "live");
  await marker(socket);
  assert.deepEqual(seen.map(([value]) => value), ["missed", "live"]);
});

behaviour("recovery: missed events come before connect fires", recovery, async (t) => {
  const { observer, socket, room } = await scene(t);
  await away(observer, socket);
  await publish(observer, room, "news", 1);
  const order = [];
  socket.on("news", () => order.push("news"));
  socket.on("connect", () => order.push("connect"));
  await back(t, socket);
  await marker(socket);
  assert.deepEqual(order, ["news", "connect"]);
});

behaviour("recovery: two cuts in a row, each with missed events", recovery, async (t) => {
  const { observer, socket, room } = await scene(t);
  const { id } = socket;
  const seen = collect(socket, "news");
  for (let round = 0; round < 2; round += 1) {
    await away(observer, socket);
    await publish(observer, room, "news", round);
    await back(t, socket);
    assert.equal(socket.recovered, true);
  }
  await marker(socket);
  assert.equal(socket.id, id);
  assert.deepEqual(seen.map(([value]) => value), [0, 1]);
});

behaviour("recovery: the reconnection of the client itself recovers", recovery, async (t) => {
  const { observer, socket, room } = await scene(t, { reconnection: true, reconnectionDelay: 100 });
  const { id } = socket;
  const seen = collect(socket, "news");
  const connect = once(socket, "connect");
  await away(observer, socket);
  await publish(observer, room, "news", 1);
  await connect;
  await marker(socket);
  assert.equal(socket.recovered, true);
  assert.equal(socket.id, id);
  assert.deepEqual(seen.map(([value]) => value), [1]);
});

// Over websocket only: a cut between two polls is noticed after the ping timeout, far too late for a test.
behaviour("recovery: after a network cut", { ...recovery, only: ["websocket"] }, async (t) => {
  const proxy = await t.proxy();
  const { observer, socket, room } = await scene(t, { url: proxy.url });
  const { id } = socket;
  await severed(socket, proxy);
  proxy.accept();
  await ask(observer, "ended", id);
  await publish(observer, room, "news", 1);
  const event = once(socket, "news");
  await back(t, socket);
  assert.equal((await event)[0], 1);
  assert.equal(socket.recovered, true);
});

behaviour("recovery: not after the client left on purpose", recovery, async (t) => {
  const manager = t.manager();
  const { observer, room } = await scene(t);
  const [keep, socket] = [manager.socket("/chat"), manager.socket("/")];
  await Promise.all([t.connected(keep), t.connected(socket)]);
  await ask(socket, "join", room);
  const { id } = socket;
  socket.disconnect();
  assert.equal((await ask(observer, "ended", id)).reason, "client namespace disconnect");
  const seen = collect(socket, "news");
  await publish(observer, room, "news", 1);
  socket.connect();
  await t.connected(socket);
  await marker(socket);
  assert.equal(socket.recovered, false);
  assert.notEqual(socket.id, id);
  assert.equal(seen.length, 0);
});

behaviour("recovery: not after the server ended the socket", recovery, async (t) => {
  const { observer, socket, room } = await scene(t);
  const { id } = socket;
  const end = once(socket, "disconnect");
  socket.emit("disconnect_me", false);
  await Promise.all([end, ask(observer, "ended", id)]);
  const seen = collect(socket, "news");
  await publish(observer, room, "news", 1);
  await back(t, socket);
  await marker(socket);
  assert.equal(socket.recovered, false);
  assert.equal(seen.length, 0);
});

behaviour("recovery: an unknown recovery id gives a fresh socket", recovery, async (t) => {
  const socket = await t.connect("/", { auth: { pid: "nobodyknowsthispid00", offset: "whatever" } });
  assert.equal(socket.recovered, false);
  assert.equal((await ask(socket, "handshake")).recovered, false);
  assert.equal(await ask(socket, "echo", 1), 1);
});

behaviour("recovery: two namespaces of one connection recover apart", recovery, async (t) => {
  const observer = await t.connect();
  const manager = t.manager();
  const sockets = [manager.socket("/"), manager.socket("/chat")];
  await Promise.all(sockets.map((socket) => t.connected(socket)));
  for (const socket of sockets) {
    const first = once(socket, "first");
    socket.emit("emit", "first");
    await first;
  }
  const ids = sockets.map(({ id }) => id);
  const ends = sockets.map((socket) => once(socket, "disconnect"));
  await ask(observer, "cut", ids[0]);
  await Promise.all([...ends, ...ids.map((id) => ask(observer, "ended", id))]);
  sockets.forEach((socket) => socket.connect());
  await Promise.all(sockets.map((socket) => t.connected(socket)));
  assert.deepEqual(sockets.map(({ id }) => id), ids);
  assert.deepEqual(sockets.map(({ recovered }) => recovered), [true, true]);
});

behaviour("recovery, better: without any event before the cut", ours, async (t) => {
  const [observer, socket] = await t.group(2);
  const room = t.name();
  await ask(socket, "join", room);
  const { id } = socket;
  await away(observer, socket);
  const seen = collect(socket, "news");
  await publish(observer, room, "news", 1);
  await back(t, socket);
  await marker(socket);
  assert.equal(socket.recovered, true);
  assert.equal(socket.id, id);
  assert.deepEqual(seen.map(([value]) => value), [1]);
});

behaviour("recovery, better: without any event at all", ours, async (t) => {
  const [observer, socket] = await t.group(2);
  const { id } = socket;
  await away(observer, socket);
  await back(t, socket);
  assert.equal(socket.recovered, true);
  assert.equal(socket.id, id);
});

behaviour("recovery, better: a volatile event with a text does not spoil the position", ours, async (t) => {
  const { observer, socket, room } = await scene(t);
  await marker(socket);
  const seen = collect(socket, "news");
  await ask(observer, "broadcast", { via: "all", to: [room], volatile: true, event: "passing", args: ["some text"] });
  await ask(socket, "echo", 1);
  await away(observer, socket);
  await publish(observer, room, "news", 1);
  await back(t, socket);
  await marker(socket);
  assert.equal(socket.recovered, true);
  assert.deepEqual(seen.map(([value]) => value), [1]);
});

behaviour("recovery, better: a question with a text does not spoil the position", ours, async (t) => {
  const { observer, socket, room } = await scene(t);
  socket.on("question", (...args) => args.at(-1)("yes"));
  await ask(socket, "request", { event: "question", args: ["some text"], timeout_ms: 5000 });
  await away(observer, socket);
  await publish(observer, room, "news", 1);
  const event = once(socket, "news");
  await back(t, socket);
  assert.equal(socket.recovered, true);
  assert.equal((await event)[0], 1);
});

behaviour("recovery, better: three cuts in a row without traffic between", ours, async (t) => {
  const { observer, socket, room } = await scene(t);
  const seen = collect(socket, "news");
  await away(observer, socket);
  await publish(observer, room, "news", 1);
  await back(t, socket);
  for (let round = 0; round < 2; round += 1) {
    await away(observer, socket);
    await back(t, socket);
    assert.equal(socket.recovered, true);
  }
  await marker(socket);
  assert.deepEqual(seen.map(([value]) => value), [1]);
});

behaviour("recovery, better: the middleware decides before the replay; a banned user gets nothing", ours, async (t) => {
  const user = t.name("user");
  const { observer, socket, room } = await scene(t, { auth: { user } });
  await away(observer, socket);
  await publish(observer, room, "secret", 1);
  await ask(observer, "ban", user);
  const seen = [];
  socket.onAny((...args) => seen.push(args));
  const refused = once(socket, "connect_error");
  socket.connect();
  const [error] = await refused;
  assert.deepEqual([error.message, error.data], ["banned", { code: "banned" }]);
  await marker(observer);
  assert.deepEqual(seen, []);
  assert.deepEqual(socket.receiveBuffer, []);
});

behaviour("recovery, better: the client returns before the server noticed the loss", ours, async (t) => {
  const proxy = await t.proxy();
  const { observer, socket, room } = await scene(t, { url: proxy.url });
  const { id, _pid: pid, _lastOffset: offset } = socket;
  proxy.freeze();
  await publish(observer, room, "news", "while frozen");
  const fresh = t.socket("/", { auth: { pid, offset } });
  const seen = collect(fresh, "news");
  await t.connected(fresh);
  await marker(fresh);
  assert.equal(fresh.id, id);
  assert.deepEqual(seen.map(([value]) => value), ["while frozen"]);
});
