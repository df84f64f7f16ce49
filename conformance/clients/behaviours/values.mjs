import assert from "node:assert/strict";
import { behaviour } from "../lib/registry.mjs";
import { ask, askAll, once } from "../lib/context.mjs";

const nest = (depth) => (depth === 0 ? "bottom" : { inner: [nest(depth - 1)] });
const same = [
  ["text", "hello"],
  ["empty text", ""],
  ["unicode text", "žluťoučký kůň — 日本語 — עברית — 🦀👩‍👩‍👧‍👦"],
  ["quotes, backslashes and control characters", "\"\\\b\f\n\r\t\u0000\u0001\u001e\u007f"],
  ["the polling separator and line separators", "a\u001eb\u001e\u2028c\u2029"],
  ["text that looks like packets", "42[\"x\"]\u001e1\u001e40/admin,"],
  ["small whole numbers", [0, 1, -1, 127, 128, 255, 256, -128, -129, 65535, 65536]],
  ["large whole numbers", [2 ** 31 - 1, 2 ** 31, 2 ** 32, -(2 ** 31), Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER]],
  ["fractions", [0.1, -2.5, 1e-7, 123456.789]],
  ["true and false", [true, false]],
  ["null", null],
  ["an empty object", {}],
  ["an empty list", []],
  ["nested lists", [[], [[]], [1, [2, [3]]]]],
  ["an object with odd keys", { "": 1, "a b": 2, "ключ": 3, "1": 4, "with\"quote": 5 }],
  ["a deep structure", nest(15)],
  ["a list of a thousand", Array.from({ length: 1000 }, (_, index) => index)],
  ["an object of a thousand keys", Object.fromEntries(Array.from({ length: 1000 }, (_, index) => [`k${index}`, index]))],
  ["a text of 100 000 characters", "é".repeat(50_000) + "x".repeat(50_000)],
];

for (const [kind, value] of same) {
  behaviour(`values: ${kind} returns unchanged`, { msgpack: true }, async (t) => {
    const socket = await t.connect();
    assert.deepEqual(await ask(socket, "echo", value), value);
    const event = once(socket, "echo");
    socket.emit("echo", value);
    assert.deepEqual((await event)[0], value);
  });
}

const converted = [
  // notepack.io, under the msgpack parser, loses the largest doubles; hence here and not above.
  ["the extreme doubles survive", [1.7976931348623157e308, 5e-324], [1.7976931348623157e308, 5e-324]],
  ["a Date becomes its ISO text", new Date(0), "1970-01-01T00:00:00.000Z"],
  ["undefined members vanish", { a: undefined, b: 1 }, { b: 1 }],
  ["undefined in a list is null", [undefined, 1], [null, 1]],
  ["NaN and the infinities are null", [NaN, Infinity, -Infinity], [null, null, null]],
  ["toJSON is used", { toJSON: () => ({ seen: true }) }, { seen: true }],
  ["a placeholder look-alike is plain data", { _placeholder: true, num: 0 }, { _placeholder: true, num: 0 }],
];
for (const [kind, value, expected] of converted) {
  behaviour(`values: ${kind}`, async (t) => {
    const socket = await t.connect();
    assert.deepEqual(await ask(socket, "echo", value), expected);
  });
}

behaviour("values: an undefined argument is null", async (t) => {
  const socket = await t.connect();
  assert.deepEqual(await askAll(socket, "echo", undefined, 1), [null, 1]);
});

behaviour("values: the server sees the right types", { msgpack: true }, async (t) => {
  const socket = await t.connect();
  for (const [value, type] of [["", "string"], [0, "number"], [true, "boolean"], [null, "null"], [[], "array"], [{}, "object"]]) {
    assert.equal(await ask(socket, "type_of", value), type);
  }
});

behaviour("values: an event without arguments", { msgpack: true }, async (t) => {
  const socket = await t.connect();
  const event = once(socket, "nothing");
  socket.emit("emit", "nothing");
  assert.deepEqual(await event, []);
  assert.equal(await ask(socket, "count"), 0);
});

behaviour("values: fifty arguments", { msgpack: true }, async (t) => {
  const socket = await t.connect();
  const args = Array.from({ length: 50 }, (_, index) => ({ index }));
  assert.equal(await ask(socket, "count", ...args), 50);
  assert.deepEqual(await askAll(socket, "echo", ...args), args);
});

for (const name of ["with space", "a,b", "/slash", "\"quoted\"", "unicode-🦀-名", "123", "n".repeat(200), "error", "message", "open", "constructor"]) {
  behaviour(`values: an event named ${name.slice(0, 20)}`, { msgpack: true }, async (t) => {
    const socket = await t.connect();
    const event = once(socket, name);
    socket.emit("emit", name, "value");
    assert.deepEqual(await event, ["value"]);
  });
}

behaviour("values: many sizes of text around the frame-length steps", { msgpack: true }, async (t) => {
  const socket = await t.connect();
  const lengths = [0, 1, 100, 110, 115, 120, 125, 126, 127, 128, 200, 65_500, 65_520, 65_530, 65_535, 65_536, 65_540];
  const answers = await Promise.all(lengths.map((length) => ask(socket, "echo", "y".repeat(length))));
  assert.deepEqual(answers.map(({ length }) => length), lengths);
});

behaviour("values: a long text from the server", { msgpack: true }, async (t) => {
  const socket = await t.connect();
  const text = await ask(socket, "make_text", 2_000_000);
  assert.equal(text.length, 2_000_000);
});
