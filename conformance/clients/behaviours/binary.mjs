import assert from "node:assert/strict";
import { behaviour } from "../lib/registry.mjs";
import { ask, askAll, once } from "../lib/context.mjs";

const bytes = (length) => Buffer.from(Array.from({ length }, (_, index) => index % 256));

/** Every binary leaf as {bytes: […]}, so that Buffer and ArrayBuffer compare equal. */
function plain(value) {
  if (value instanceof ArrayBuffer) return { bytes: [...new Uint8Array(value)] };
  if (ArrayBuffer.isView(value)) return { bytes: [...new Uint8Array(value.buffer, value.byteOffset, value.byteLength)] };
  if (Array.isArray(value)) return value.map(plain);
  if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
  return value;
}

const shapes = [
  ["the only argument", [bytes(3)]],
  ["the first argument", [bytes(3), "text", 1]],
  ["the middle argument", ["text", bytes(3), 1]],
  ["the last argument", ["text", 1, bytes(3)]],
  ["two arguments", [bytes(2), bytes(5)]],
  ["in an object", [{ file: bytes(4), name: "a" }]],
  ["in a list", [[1, bytes(4), "a"]]],
  ["deep inside", [{ a: [{ b: [[{ c: bytes(6), d: null }]] }] }]],
  ["several places at once", [{ a: bytes(1), b: [bytes(2), { c: bytes(3) }] }, "x", bytes(4)]],
  ["the same buffer twice", (() => { const one = bytes(4); return [one, one]; })()],
  ["no bytes at all", [bytes(0)]],
  ["an empty buffer among others", [bytes(2), bytes(0), bytes(3)]],
  ["every byte value", [bytes(256)]],
  ["ten buffers", Array.from({ length: 10 }, (_, index) => bytes(index + 1))],
  ["beside unicode text", ["🦀 名", bytes(3), { "ключ": bytes(2) }]],
  ["beside null, numbers and booleans", [null, bytes(1), -1.5, true, {}]],
];
for (const [kind, args] of shapes) {
  behaviour(`binary: ${kind}, as an event`, { msgpack: true }, async (t) => {
    const socket = await t.connect();
    const event = once(socket, "echo");
    socket.emit("echo", ...args);
    assert.deepEqual(plain(await event), plain(args));
  });
  behaviour(`binary: ${kind}, in an acknowledgement`, { msgpack: true }, async (t) => {
    const socket = await t.connect();
    assert.deepEqual(plain(await askAll(socket, "echo", ...args)), plain(args));
  });
}

const sources = [
  ["Uint8Array", new Uint8Array([9, 8, 7])],
  ["ArrayBuffer", new Uint8Array([9, 8, 7]).buffer],
  ["a view into a larger buffer", new Uint8Array([1, 9, 8, 7, 2]).subarray(1, 4)],
];
for (const [kind, value] of sources) {
  // notepack.io, under the msgpack parser, sends the whole buffer below a view.
  behaviour(`binary: ${kind} is sent as its bytes`, { msgpack: !kind.includes("view") }, async (t) => {
    const socket = await t.connect();
    assert.equal(await ask(socket, "type_of", value), "binary");
    assert.deepEqual(plain(await ask(socket, "echo", value)), { bytes: [9, 8, 7] });
  });
}

behaviour("binary: the server counts what was sent", { msgpack: true }, async (t) => {
  const socket = await t.connect();
  assert.deepEqual(await ask(socket, "digest", bytes(1000)), {
    length: 1000, sum: bytes(1000).reduce((sum, byte) => sum + byte, 0),
  });
});

for (const length of [125, 126, 65_535, 65_536, 300_000]) {
  behaviour(`binary: ${length} bytes up and down`, { msgpack: true }, async (t) => {
    const socket = await t.connect();
    assert.equal((await ask(socket, "digest", bytes(length))).length, length);
    assert.ok(bytes(length).equals(Buffer.from(await ask(socket, "make_bytes", length))));
  });
}

behaviour("binary: an attachment that looks like packets", async (t) => {
  const socket = await t.connect();
  const tricky = Buffer.from("42[\"echo\"]\u001e1\u001eb4");
  assert.equal(Buffer.from(await ask(socket, "echo", tricky)).toString(), tricky.toString());
});

behaviour("binary: a placeholder look-alike beside real bytes is never forged", async (t) => {
  const socket = await t.connect();
  const forged = { _placeholder: true, num: 0 };
  socket.emit("push", [forged]);
  assert.deepEqual(await ask(socket, "pushed"), [[forged]]);
});

behaviour("binary: more than ten attachments end the connection", async (t) => {
  const socket = await t.connect();
  const gone = once(socket, "disconnect");
  socket.emit("count", ...Array.from({ length: 11 }, () => bytes(1)), () => {});
  await gone;
  const observer = await t.connect();
  assert.equal(await ask(observer, "echo", 1), 1);
});

behaviour("binary: ten thousand bytes in a hundred events keep their order", async (t) => {
  const socket = await t.connect();
  for (let index = 0; index < 100; index += 1) socket.emit("push", index, bytes(100));
  assert.deepEqual(await ask(socket, "pushed"), Array.from({ length: 100 }, (_, index) => index));
});

behaviour("binary: text and binary interleaved from the server keep their order", { msgpack: true }, async (t) => {
  const socket = await t.connect();
  const name = t.name("event");
  const seen = [];
  socket.on(name, (index, data) => {
    seen.push(index);
    assert.equal(data === undefined, index % 3 !== 0);
    if (data !== undefined) assert.equal(plain(data).bytes.length, index % 64);
  });
  const end = once(socket, "burst_end");
  socket.emit("burst", { event: name, count: 300, binary_every: 3 });
  await end;
  assert.deepEqual(seen, Array.from({ length: 300 }, (_, index) => index));
});

behaviour("binary: parallel echoes do not mix their attachments", { msgpack: true }, async (t) => {
  const socket = await t.connect();
  const answers = await Promise.all(Array.from({ length: 50 }, (_, index) => ask(socket, "echo", bytes(index))));
  answers.forEach((answer, index) => assert.equal(plain(answer).bytes.length, index));
});

behaviour("binary: broadcast to several clients", { msgpack: true }, async (t) => {
  const [a, b, c] = await t.group(3);
  const room = t.name();
  await Promise.all([ask(b, "join", room), ask(c, "join", room)]);
  const seen = [once(b, "file"), once(c, "file")];
  await ask(a, "broadcast", { via: "others", to: [room], event: "file", args: ["n", { data: bytes(70) }] });
  for (const args of await Promise.all(seen)) assert.deepEqual(plain(args), ["n", { data: { bytes: [...bytes(70)] } }]);
});
