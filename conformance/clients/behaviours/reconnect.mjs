import assert from "node:assert/strict";
import { behaviour } from "../lib/registry.mjs";
import { ask, collect, marker, once, severed } from "../lib/context.mjs";

const again = { reconnection: true, reconnectionDelay: 10, reconnectionDelayMax: 50 };

async function comesBack(t, socket, breakIt) {
  const { id } = socket;
  const connect = once(socket, "connect");
  await breakIt();
  await connect;
  assert.notEqual(socket.id, id);
  assert.equal(await ask(socket, "echo", "back"), "back");
}

behaviour("reconnect: after the server closed the transport", { msgpack: true }, async (t) => {
  const socket = await t.connect("/", again);
  await comesBack(t, socket, () => socket.emit("cut", null));
});

behaviour("reconnect: after the client's transport was closed", async (t) => {
  const socket = await t.connect("/", again);
  await comesBack(t, socket, () => socket.io.engine.close());
});

for (const kind of ["cut", "reset"]) {
  behaviour(`reconnect: after the network was ${kind}`, async (t) => {
    const proxy = await t.proxy();
    const socket = await t.connect("/", { ...again, url: proxy.url });
    await comesBack(t, socket, async () => {
      await severed(socket, proxy, kind);
      proxy.accept();
    });
  });
}

behaviour("reconnect: after the upgrade, when the network is cut", { only: ["upgrade"] }, async (t) => {
  const proxy = await t.proxy();
  const socket = await t.connect("/", { ...again, url: proxy.url });
  await t.upgraded(socket);
  await comesBack(t, socket, async () => {
    await severed(socket, proxy);
    proxy.accept();
  });
});

behaviour("reconnect: the server is away for a while", async (t) => {
  const proxy = await t.proxy();
  const socket = await t.connect("/", { ...again, url: proxy.url });
  const failed = once(socket.io, "reconnect_error");
  await comesBack(t, socket, async () => {
    proxy.refuse();
    proxy.cut();
    await failed;
    proxy.accept();
  });
});

behaviour("reconnect: the server restarts", async (t) => {
  const first = await t.fixture();
  const socket = await t.connect("/", { ...again, url: first.url });
  const end = once(socket, "disconnect");
  await comesBack(t, socket, async () => {
    await first.stop();
    assert.match((await end)[0], /^transport (close|error)$/);
    await t.fixture(first.address);
  });
});

behaviour("reconnect: attempts and success are announced", async (t) => {
  const socket = await t.connect("/", again);
  const events = [once(socket.io, "reconnect_attempt"), once(socket.io, "reconnect")];
  socket.emit("cut", null);
  const [[attempt], [success]] = await Promise.all(events);
  assert.deepEqual([attempt, success], [1, 1]);
});

behaviour("reconnect: gives up after the allowed attempts", async (t) => {
  const proxy = await t.proxy();
  const socket = await t.connect("/", { ...again, reconnectionAttempts: 2, url: proxy.url });
  const failed = once(socket.io, "reconnect_failed");
  proxy.refuse();
  proxy.cut();
  await failed;
  assert.equal(socket.connected, false);
});

behaviour("reconnect: not after the server ended the socket", async (t) => {
  const socket = await t.connect("/", again);
  const end = once(socket, "disconnect");
  const attempts = collect(socket.io, "reconnect_attempt");
  socket.emit("disconnect_me", true);
  await end;
  assert.equal(socket.active, false);
  const other = await t.connect();
  await ask(other, "ack_late", 50);
  assert.equal(attempts.length, 0);
});

behaviour("reconnect: every namespace of the connection returns", async (t) => {
  const manager = t.manager(again);
  const sockets = ["/", "/chat", t.fresh()].map((name) => manager.socket(name));
  await Promise.all(sockets.map((socket) => t.connected(socket)));
  const connects = sockets.map((socket) => once(socket, "connect"));
  sockets[0].emit("cut", null);
  await Promise.all(connects);
  for (const socket of sockets) assert.equal((await ask(socket, "handshake")).namespace, socket.nsp);
});

behaviour("reconnect: auth is asked for each time", async (t) => {
  let round = 0;
  const socket = await t.connect("/", { ...again, auth: (done) => done({ round: (round += 1) }) });
  assert.equal((await ask(socket, "handshake")).auth.round, 1);
  await comesBack(t, socket, () => socket.emit("cut", null));
  assert.equal((await ask(socket, "handshake")).auth.round, 2);
});

behaviour("reconnect: events emitted while away arrive once, in order", { msgpack: true }, async (t) => {
  const socket = await t.connect("/", again);
  const [end, connect] = [once(socket, "disconnect"), once(socket, "connect")];
  socket.emit("cut", null);
  await end;
  for (let index = 0; index < 30; index += 1) socket.emit("push", index);
  await connect;
  assert.deepEqual(await ask(socket, "pushed"), Array.from({ length: 30 }, (_, index) => index));
});

behaviour("reconnect: binary emitted while away arrives whole", async (t) => {
  const socket = await t.connect("/", again);
  const end = once(socket, "disconnect");
  socket.emit("cut", null);
  await end;
  const { length } = await ask(socket, "digest", Buffer.alloc(5000, 7));
  assert.equal(length, 5000);
});

// The client may keep a volatile event it should have dropped (it looks at the old transport), but never sends it twice.
behaviour("reconnect: volatile events while away come once at most", async (t) => {
  const socket = await t.connect("/", again);
  const end = once(socket, "disconnect");
  socket.emit("cut", null);
  await end;
  socket.volatile.emit("push", "lost");
  socket.emit("push", "kept");
  const pushed = await ask(socket, "pushed");
  assert.equal(pushed.at(-1), "kept");
  assert.ok(pushed.filter((value) => value === "lost").length <= 1);
});

behaviour("reconnect: five times in a row", async (t) => {
  const socket = await t.connect("/", again);
  const ids = new Set([socket.id]);
  for (let round = 0; round < 5; round += 1) {
    await comesBack(t, socket, () => socket.emit("cut", null));
    ids.add(socket.id);
  }
  assert.equal(ids.size, 6);
});

behaviour("reconnect: listeners are not doubled", async (t) => {
  const socket = await t.connect("/", again);
  const seen = collect(socket, "news");
  await comesBack(t, socket, () => socket.emit("cut", null));
  socket.emit("emit", "news", 1);
  await marker(socket);
  assert.deepEqual(seen, [[1]]);
});

behaviour("reconnect: the old socket is gone from the server", async (t) => {
  const name = t.fresh();
  const observer = await t.connect(name);
  const socket = await t.connect(name, again);
  const { id } = socket;
  await comesBack(t, socket, () => socket.emit("cut", null));
  await ask(observer, "ended", id);
  assert.deepEqual(await ask(observer, "sockets", null), [observer.id, socket.id].sort());
});

behaviour("retries: events arrive in order, one at a time", { since: "4.6" }, async (t) => {
  const socket = await t.connect("/", { ...again, retries: 3, ackTimeout: 2000 });
  const answers = await Promise.all([1, 2, 3].map((value) => new Promise((resolve) => socket.emit("echo", value, (error, answer) => resolve(error ?? answer)))));
  assert.deepEqual(answers, [1, 2, 3]);
});

behaviour("retries: a silent server is asked again, then it fails", { since: "4.6" }, async (t) => {
  const socket = await t.connect("/", { retries: 2, ackTimeout: 500 });
  const error = await new Promise((resolve) => socket.emit("ack_never", resolve));
  assert.match(error.message, /timed out/);
  const { incoming } = await new Promise((resolve) => socket.emit("tail", (_, value) => resolve(value)));
  assert.equal(incoming.filter((name) => name === "ack_never").length, 3);
});

behaviour("retries: an event survives a broken connection", { since: "4.6" }, async (t) => {
  const socket = await t.connect("/", { ...again, retries: 5, ackTimeout: 1000 });
  const connect = once(socket, "connect");
  const answer = new Promise((resolve, reject) => socket.emit("ack_late", 60, "kept", (error, value) => (error ? reject(error) : resolve(value))));
  socket.io.engine.close();
  await connect;
  assert.equal(await answer, "kept");
});
