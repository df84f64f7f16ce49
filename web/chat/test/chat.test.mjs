// The chat page in a real browser against the server of CHAT_CMD. Every test has its own server and windows.

import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, describe, test } from "node:test";
import { io } from "socket.io-client";
import { launchBrowser, openWindow, shot, startProxy, startServer } from "./harness.mjs";

let browser;
/** Runs `body` with a server, and closes whatever it opened, also when it fails. */
function chatTest(name, body) {
  test(name, { timeout: 40_000 }, async () => {
    const server = await startServer();
    const open = [];
    const chat = {
      url: server.url,
      server,
      async window(person, { path = "/", base = server.url, ...options } = {}) {
        const opened = await openWindow(browser, base + path, person, options);
        open.push(() => opened.close());
        return opened;
      },
      /** The stock client without a page. */
      async client() {
        const socket = io(server.url, { ackTimeout: 5_000, forceNew: true });
        open.push(() => socket.disconnect());
        await once(socket, "connect");
        return socket;
      },
      async proxy() {
        const proxy = await startProxy(server.port);
        open.push(() => proxy.stop());
        return proxy;
      },
      after: (close) => open.push(close),
    };
    try {
      await body(chat);
    } finally {
      for (const close of open.reverse()) await close();
      await server.stop();
    }
  });
}

// Two at a time: most of a test is waiting, and nothing is shared but the browser.
describe("chat page", { concurrency: 2 }, () => {
  before(async () => { browser = await launchBrowser(); });
  after(() => browser?.close());

  chatTest("two windows chat, own messages are sending and then sent", async (chat) => {
    const ayu = await chat.window("Ayu");
    const budi = await chat.window("Budi");
    await ayu.phase("connected", '[data-transport="websocket"]');

    await ayu.page.evaluate(() => {
      window.deliveries = [];
      new MutationObserver(() => {
        const now = document.querySelector(".message.own")?.dataset.delivery;
        if (now && window.deliveries.at(-1) !== now) window.deliveries.push(now);
      }).observe(document.querySelector("#messages"), { childList: true, subtree: true, attributes: true });
    });
    await ayu.say("Who has a ladder?");
    await ayu.sees("Who has a ladder?");
    await budi.sees("Who has a ladder?");
    assert.deepEqual(await ayu.page.evaluate(() => window.deliveries), ["sending", "sent"]);

    await budi.say("I do.");
    await ayu.sees("I do.");
    assert.deepEqual(await ayu.texts(), ["Who has a ladder?", "I do."]);
    assert.deepEqual(await budi.texts(), await ayu.texts());
    assert.equal(await budi.page.locator(".message:not(.own) .name").first().textContent(), "Ayu");
    await shot(ayu, "two-windows");
    assert.deepEqual([...ayu.complaints, ...budi.complaints], []);
  });

  chatTest("typing is shown and gone, by stopping, by sending and by leaving", async (chat) => {
    const ayu = await chat.window("Ayu");
    const budi = await chat.window("Budi");
    // Volatile: while a window changes its transport, a sign may rightly be dropped.
    for (const person of [ayu, budi]) await person.phase("connected", '[data-transport="websocket"]');
    const sign = (text) => ayu.page.locator("#typing-text").filter({ hasText: text }).waitFor();
    const noSign = () => ayu.page.waitForFunction(() => document.querySelector("#typing-text").textContent === "");

    await budi.page.locator("#text").pressSequentially("Hello");
    await sign("Budi is typing");
    await shot(ayu, "typing");
    assert.equal(await budi.page.locator("#typing-text").textContent(), "", "nobody sees their own sign");
    await budi.page.fill("#text", "");
    await noSign();

    await budi.page.locator("#text").pressSequentially("Hello");
    await sign("Budi is typing");
    await budi.page.press("#text", "Enter");
    await ayu.sees("Hello");
    await noSign();

    await budi.page.locator("#text").pressSequentially("On second thought");
    await sign("Budi is typing");
    await budi.close();
    await noSign();
  });

  chatTest("members come, are renamed and go", async (chat) => {
    const ayu = await chat.window("Ayu");
    const budi = await chat.window("Budi");
    await ayu.member("Budi");
    assert.equal(await ayu.page.locator("#member-count").textContent(), "2");

    await budi.page.click("#rename");
    await budi.page.fill("#name", "  Pak   Budi ");
    await budi.page.press("#name", "Enter");
    await ayu.member("Pak Budi");
    await ayu.memberGone("Budi");

    await budi.close();
    await ayu.memberGone("Pak Budi");
    assert.equal(await ayu.page.locator("#member-count").textContent(), "1");
  });

  chatTest("a reload keeps the name, the room and the history; a new window is a new person", async (chat) => {
    const ayu = await chat.window("Ayu");
    await ayu.room("market").click();
    await ayu.say("Fresh tempeh on Friday");
    await ayu.sees("Fresh tempeh on Friday");
    await ayu.page.reload();
    await ayu.sees("Fresh tempeh on Friday");
    assert.equal(await ayu.page.locator("#me-name").textContent(), "Ayu");
    assert.equal(await ayu.page.locator("#name-dialog").evaluate((dialog) => dialog.open), false);
    assert.equal(await ayu.page.locator(".message.own").count(), 1, "still her own message");
    await ayu.member("Ayu");
    assert.equal(await ayu.page.locator(".member").count(), 1, "not here twice");

    const other = await chat.window(null);
    assert.notEqual(await other.page.inputValue("#name"), "", "a name is suggested");
    await shot(other, "name");
    await other.page.press("#name", "Enter");
    await ayu.page.locator(".member").nth(1).waitFor();
  });

  chatTest("the last 50 messages are there on joining", async (chat) => {
    const ayu = await chat.window("Ayu");
    for (let number = 1; number <= 53; number += 1) {
      await ayu.say(`message ${number}`);
      // At most 50 may wait for their answers, so pace by the answers.
      if (number % 10 === 0) await ayu.sees(`message ${number}`);
    }
    await ayu.sees("message 53");
    const budi = await chat.window("Budi");
    await budi.sees("message 53");
    const texts = await budi.texts();
    assert.deepEqual(texts, Array.from({ length: 50 }, (_, index) => `message ${index + 4}`));
    assert.ok(await budi.page.locator("#scroller").evaluate((box) => box.scrollHeight - box.scrollTop - box.clientHeight < 80), "at the end");
  });

  chatTest("unread marks in other rooms, a line where the new begins", async (chat) => {
    const ayu = await chat.window("Ayu");
    const budi = await chat.window("Budi");
    await budi.room("market").click();
    await budi.say("Bananas!");
    await budi.say("And mangoes");
    await ayu.room("market").locator(".badge", { hasText: /^2$/ }).waitFor();
    await ayu.page.waitForFunction(() => document.title.startsWith("(2)"));
    await shot(ayu, "unread");
    await ayu.room("market").click();
    await ayu.sees("And mangoes");
    await ayu.page.locator(".separator.new", { hasText: "New" }).waitFor();
    await ayu.room("market").locator(".badge", { hasText: /^$/ }).waitFor({ state: "attached" });
    await ayu.page.waitForFunction(() => document.title === "Kentongan chat");
  });

  chatTest("network cut: reconnecting with a countdown, offline, then back with nothing missing and nothing twice", async (chat) => {
    const proxy = await chat.proxy();
    const ayu = await chat.window("Ayu", { base: proxy.url, path: "/?offline-after=4" });
    const budi = await chat.window("Budi");
    await ayu.phase("connected", '[data-transport="websocket"]');
    await budi.say("before the storm");
    await ayu.sees("before the storm");

    proxy.set("cut");
    await ayu.phase("reconnecting");
    assert.match(await ayu.detail(/next try in \d+ s/), /next try in \d+ s · attempt \d+/);
    await shot(ayu, "reconnecting");
    await ayu.say("written without a line");
    await ayu.sees("written without a line", "sending");
    await budi.say("while Ayu was away 1");
    await budi.say("while Ayu was away 2");
    await budi.sees("while Ayu was away 2");
    await budi.memberGone("Ayu");
    await ayu.phase("offline");
    assert.equal(await ayu.page.locator("#members-title").textContent(), "Last seen here");
    assert.match(await ayu.detail(/no answer/), /no answer for 4 s · (next try|trying)/);
    await ayu.page.locator("#retry").waitFor();
    await shot(ayu, "offline");

    proxy.set("pass");
    await ayu.page.click("#retry");
    await ayu.phase("connected");
    await ayu.sees("written without a line");
    await ayu.detail(/2 new messages/);
    assert.match(await ayu.page.locator("#status").getAttribute("data-comeback"), /^(recovered|reloaded)$/);
    await shot(ayu, "back");
    await budi.sees("written without a line");
    const expected = ["before the storm", "while Ayu was away 1", "while Ayu was away 2", "written without a line"];
    assert.deepEqual(await ayu.texts(), expected);
    assert.deepEqual(await budi.texts(), expected);
    await budi.member("Ayu");
    await ayu.page.locator(".separator.new", { hasText: "While you were away" }).waitFor();
  });

  chatTest("a held network is noticed by the heartbeat; a message of unknown fate arrives once", async (chat) => {
    const proxy = await chat.proxy();
    const ayu = await chat.window("Ayu", { base: proxy.url });
    const budi = await chat.window("Budi");
    await ayu.phase("connected", '[data-transport="websocket"]');
    await budi.say("hello");
    await ayu.sees("hello");

    proxy.set("hold");
    await ayu.say("into the void");
    await ayu.sees("into the void", "sending");
    await budi.say("are you there?");
    await ayu.phase("reconnecting", "", 15_000);
    proxy.set("pass");
    await ayu.phase("connected", "", 15_000);
    await ayu.sees("into the void");
    await ayu.sees("are you there?");
    await budi.sees("into the void");
    assert.deepEqual((await ayu.texts()).sort(), ["are you there?", "hello", "into the void"]);
    assert.deepEqual(await ayu.texts(), await budi.texts());
  });

  chatTest("an answer lost on the way back: the message in the outbox and the one in the history are one", async (chat) => {
    const ayu = await chat.window("Ayu");
    const budi = await chat.window("Budi");
    await ayu.say("only once");
    await budi.sees("only once");
    await ayu.sees("only once");
    // As if the tab had died between sending and the answer: the message is in the outbox of the next page.
    await ayu.page.evaluate(() => {
      const { id } = document.querySelector(".message.own").dataset;
      const entry = { id, user: sessionStorage.getItem("chat.user"), name: "Ayu", text: "only once", at: Date.now(), seq: null, delivery: "sending", error: "" };
      sessionStorage.setItem("chat.outbox", JSON.stringify([{ room: "square", entry }]));
    });
    await ayu.page.reload();
    await ayu.sees("only once");
    await ayu.say("and on");
    await budi.sees("and on");
    assert.deepEqual(await ayu.texts(), ["only once", "and on"]);
    assert.deepEqual(await budi.texts(), ["only once", "and on"]);
  });

  chatTest("the server: an id posted again is answered and not sent again, by its own author only", async (chat) => {
    const [ayu, budi] = await Promise.all([chat.client(), chat.client()]);
    const heard = [];
    budi.on("message", (message) => heard.push(message));
    const joined = await ayu.emitWithAck("join", { room: "square", user: "u-ayu", name: "Ayu" });
    assert.deepEqual({ ...joined, epoch: typeof joined.epoch }, { ok: true, epoch: "string", history: [], members: [{ user: "u-ayu", name: "Ayu" }] });
    const { members } = await budi.emitWithAck("join", { room: "square", user: "u-budi", name: " Budi " });
    assert.deepEqual(members, [{ user: "u-ayu", name: "Ayu" }, { user: "u-budi", name: "Budi" }]);

    const first = await ayu.emitWithAck("post", { room: "square", id: "m1", text: " once " });
    assert.deepEqual({ ...first, at: typeof first.at }, { ok: true, seq: 1, at: "number" });
    assert.deepEqual(await ayu.emitWithAck("post", { room: "square", id: "m1", text: "once" }), first);
    const foreign = await budi.emitWithAck("post", { room: "square", id: "m1", text: "not Ayu's" });
    assert.equal(foreign.seq, 2);
    await ayu.emitWithAck("post", { room: "square", id: "m2", text: "end" });
    // In order, so the answer to a later request says that everything before it has arrived.
    const { history } = await budi.emitWithAck("join", { room: "square", user: "u-budi", name: "Budi" });
    assert.deepEqual(heard.map(({ id, text }) => [id, text]), [["m1", "once"], ["m2", "end"]]);
    assert.deepEqual(heard[0], { room: "square", id: "m1", seq: 1, user: "u-ayu", name: "Ayu", text: "once", at: first.at });
    assert.deepEqual(history.map(({ seq, user }) => [seq, user]), [[1, "u-ayu"], [2, "u-budi"], [3, "u-ayu"]]);
  });

  chatTest("the server: what is not allowed is refused by name", async (chat) => {
    const ayu = await chat.client();
    const me = { user: "u-ayu", name: "Ayu" };
    const code = async (event, request) => {
      const answer = await ayu.emitWithAck(event, request);
      return answer.ok ? "ok" : answer.error.code;
    };
    const message = { room: "square", id: "m1", text: "hello" };
    for (const [event, request, expected] of [
      ["post", message, "not_joined"],
      ["join", { ...me, room: "palace" }, "no_such_room"],
      ["join", { ...me, room: "square", name: "   " }, "bad_name"],
      ["join", { ...me, room: "square", name: "x".repeat(33) }, "bad_name"],
      ["join", { ...me, room: "square", name: 7 }, "bad_name"],
      ["join", { room: "square", name: "Ayu" }, "bad_name"],
      ["join", { ...me, room: "square", name: "x".repeat(32) }, "ok"],
      ["post", { ...message, text: " \n " }, "bad_message"],
      ["post", { ...message, text: "x".repeat(2001) }, "bad_message"],
      ["post", { ...message, id: "" }, "bad_message"],
      ["post", { ...message, id: "x".repeat(65) }, "bad_message"],
      ["post", { ...message, room: "market" }, "not_joined"],
      ["post", { ...message, text: "x".repeat(2000) }, "ok"],
    ]) {
      assert.equal(await code(event, request), expected, `${event} ${JSON.stringify(request).slice(0, 80)}`);
    }
  });

  chatTest("the browser goes offline and comes back", async (chat) => {
    const ayu = await chat.window("Ayu");
    const budi = await chat.window("Budi");
    await ayu.phase("connected", '[data-transport="websocket"]');
    await ayu.context.setOffline(true);
    await ayu.phase("offline");
    await ayu.detail(/your device has no network/);
    await budi.say("missed this?");
    await ayu.say("typed in a tunnel");
    await ayu.sees("typed in a tunnel", "sending");
    await ayu.context.setOffline(false);
    await ayu.phase("connected");
    await ayu.sees("missed this?");
    await ayu.sees("typed in a tunnel");
    await budi.sees("typed in a tunnel");
    assert.deepEqual(await ayu.texts(), ["missed this?", "typed in a tunnel"]);
  });

  chatTest("the server restarts: the page comes back, says so, and sends what it still has", async (chat) => {
    const ayu = await chat.window("Ayu");
    await ayu.say("lost with the old server");
    await ayu.sees("lost with the old server");
    await chat.server.stop();
    await ayu.phase("reconnecting");
    await ayu.say("for the new server");
    const again = await startServer(chat.server.port);
    chat.after(() => again.stop());
    await ayu.phase("connected", '[data-comeback="reloaded"]');
    await ayu.sees("for the new server");
    await ayu.page.locator("#notice", { hasText: "restarted" }).waitFor();
    assert.deepEqual(await ayu.texts(), ["for the new server"]);
  });

  chatTest("WebSocket blocked: the chat works over long-polling and says why", async (chat) => {
    const proxy = await chat.proxy();
    proxy.set("no-websocket");
    const ayu = await chat.window("Ayu", { base: proxy.url });
    const budi = await chat.window("Budi", { base: proxy.url });
    await ayu.phase("connected", '[data-transport="polling"]');
    await ayu.detail(/long-polling \(WebSocket is blocked\)/);
    await shot(ayu, "long-polling");
    await ayu.say("over long-polling");
    await budi.sees("over long-polling");
    await budi.say("me too");
    await ayu.sees("me too");
    assert.ok(proxy.refusedUpgrades >= 2, "both windows tried WebSocket");
  });

  chatTest("one transport can be forced, by the address and by the control", async (chat) => {
    const ayu = await chat.window("Ayu", { path: "/?transport=polling" });
    await ayu.phase("connected", '[data-transport="polling"]');
    assert.equal(await ayu.page.inputValue("#transport"), "polling");
    await ayu.say("by polling");
    await ayu.sees("by polling");
    await ayu.page.selectOption("#transport", "websocket");
    await ayu.phase("connected", '[data-transport="websocket"]');
    assert.match(ayu.page.url(), /transport=websocket/);
    await ayu.say("by websocket");
    await ayu.sees("by websocket");
    assert.deepEqual(await ayu.texts(), ["by polling", "by websocket"]);
  });

  chatTest("markup in names and messages is text", async (chat) => {
    const name = "<img src=x onerror=alert(1)>";
    const texts = [
      "<script>alert(1)</script>",
      '<img src=x onerror="document.title=1">',
      "<svg/onload=alert(1)><a href='javascript:alert(1)'>x</a>",
      "</p></li></ol><h1>gone</h1>",
      "&lt;b&gt; {{constructor}} ${alert(1)}",
    ];
    const evil = await chat.window(name);
    const ayu = await chat.window("Ayu");
    // Typing signs are volatile: while a window changes its transport, one may rightly be dropped.
    await ayu.phase("connected", '[data-transport="websocket"]');
    for (const text of texts) await evil.say(text);
    await ayu.sees(texts.at(-1));
    await evil.page.locator("#text").pressSequentially("x");
    await ayu.page.locator("#typing-text", { hasText: name }).waitFor();
    for (const person of [ayu, evil]) {
      assert.deepEqual(await person.texts(), texts);
      assert.equal(await person.page.locator("#messages, #members, #typing").locator("img, script, svg, a, h1, b").count(), 0);
      assert.deepEqual(person.complaints, []);
    }
    await ayu.member(name);
    await shot(ayu, "markup");
  });

  chatTest("the policy forbids inline code and nothing on the page breaks it", async (chat) => {
    const answer = await fetch(chat.url);
    const policy = answer.headers.get("content-security-policy") ?? "";
    assert.match(policy, /default-src 'none'|default-src 'self'/);
    assert.doesNotMatch(policy, /unsafe-inline|unsafe-eval/);
    const html = await answer.text();
    assert.doesNotMatch(html, /<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)/i);
    assert.equal((await fetch(`${chat.url}/nothing-here`)).status, 404);
  });

  chatTest("narrow and dark windows keep everything within reach", async (chat) => {
    const ayu = await chat.window("Ayu", { viewport: { width: 360, height: 640 }, colorScheme: "dark" });
    await ayu.say("From a small screen, with a-word-that-is-far-too-long-to-fit-on-one-line-of-it-all");
    await ayu.room("night-watch").click();
    await ayu.room("square").click();
    await ayu.page.click("#members-panel summary");
    assert.equal(await ayu.page.locator("#members .member-name").isVisible(), true, "the people can be unfolded");
    await ayu.page.click("#members-panel summary");
    assert.equal(await ayu.page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), true, "no sideways scrolling");
    for (const part of ["#status", "#text", ".composer .send", "#transport", "#rename"]) {
      const box = await ayu.page.locator(part).boundingBox();
      assert.ok(box && box.x >= 0 && box.x + box.width <= 360 && box.y + box.height <= 640, `${part} is on the screen`);
    }
    await shot(ayu, "narrow-dark");
  });
});
