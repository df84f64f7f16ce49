// Makes docs/demo.png and docs/demo-reconnecting.png: two windows of one chat, side by side.
// Takes the server from CHAT_CMD, as the tests do.

import { stat } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { launchBrowser, openWindow, startProxy, startServer } from "./harness.mjs";

const BYTES_MAX = 300_000;
const WINDOW = { viewport: { width: 720, height: 640 }, deviceScaleFactor: 1.25, locale: "en-GB" };

const server = await startServer();
const proxy = await startProxy(server.port);
const browser = await launchBrowser();
try {
  const ayu = await openWindow(browser, proxy.url, "Ayu", { ...WINDOW, colorScheme: "light" });
  const budi = await openWindow(browser, server.url, "Budi", { ...WINDOW, colorScheme: "dark" });
  const citra = await openWindow(browser, server.url, "Citra", WINDOW);
  await ayu.phase("connected", '[data-transport="websocket"]');
  await budi.phase("connected", '[data-transport="websocket"]');

  const talk = [
    [citra, "Morning! The mill bridge is open again."],
    [budi, "Finally. Who struck the drum at five?"],
    [ayu, "That was me, one long and two short: water in the channel."],
    [ayu, "The upper gate holds, but we need four people before noon."],
    [citra, "Two from our house are on the way."],
    [budi, "I bring the ladder and my brother."],
  ];
  for (const [person, text] of talk) {
    await person.say(text);
    for (const other of [ayu, budi]) await other.sees(text);
  }
  await citra.room("market").click();
  for (const text of ["Fresh tempeh on Friday", "And the first mangoes"]) await citra.say(text);
  for (const person of [ayu, budi]) await person.room("market").locator(".badge", { hasText: /^2$/ }).waitFor();
  await budi.page.locator("#text").pressSequentially("Save us some coffee");
  await ayu.page.locator("#typing-text", { hasText: "Budi is typing" }).waitFor();
  await picture("demo.png");

  await budi.page.fill("#text", "");
  proxy.set("cut");
  await ayu.phase("reconnecting");
  await ayu.say("Four of us now. Starting at the upper gate.");
  await budi.say("Ayu, are you there already?");
  await budi.memberGone("Ayu");
  await ayu.detail(/next try in [23] s · attempt [23]/);
  await picture("demo-reconnecting.png");

  async function picture(name) {
    const shots = await Promise.all([ayu, budi].map((person) => person.page.screenshot()));
    const stage = await browser.newPage({ viewport: { width: 1528, height: 704 }, deviceScaleFactor: 1.25 });
    const images = shots.map((shot) => `<img src="data:image/png;base64,${shot.toString("base64")}">`).join("");
    await stage.setContent(`<style>
      body { margin: 0; height: 704px; display: flex; gap: 24px; justify-content: center; align-items: center; background: #d9cbb6; }
      img { width: 720px; height: 640px; border-radius: 12px; box-shadow: 0 6px 18px rgb(60 35 10 / 28%); }
    </style>${images}`);
    const path = fileURLToPath(new URL(`../../../docs/${name}`, import.meta.url));
    await stage.screenshot({ path });
    await stage.close();
    const { size } = await stat(path);
    if (size > BYTES_MAX) throw new Error(`${name} has ${size} bytes, more than ${BYTES_MAX}`);
    console.log(`docs/${name}: ${size} bytes`);
  }
} finally {
  await browser.close();
  await proxy.stop();
  await server.stop();
}
