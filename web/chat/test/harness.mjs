// What the browser tests share: the server under test, a browser, and a TCP proxy that plays a bad network.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir } from "node:fs/promises";
import net from "node:net";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const REFERENCE = `${process.execPath} ${fileURLToPath(new URL("../reference-server.mjs", import.meta.url))}`;

/** Starts `CHAT_CMD --listen 127.0.0.1:<port>` (the Node reference without it) and waits for its first line. */
export async function startServer(port = 0) {
  const [command, ...words] = (process.env.CHAT_CMD || REFERENCE).split(" ").filter(Boolean);
  // Its own process group, so that a wrapper such as `cargo run` ends together with the server.
  const child = spawn(command, [...words, "--listen", `127.0.0.1:${port}`], { stdio: ["ignore", "pipe", "inherit"], detached: true });
  const exited = once(child, "exit");
  const url = await new Promise((resolve, reject) => {
    exited.then(([code]) => reject(new Error(`the server ended with ${code} before it listened`)));
    child.on("error", reject);
    createInterface(child.stdout).on("line", (line) => {
      const found = /listening on (http:\/\/\S+?)\/?$/.exec(line);
      if (found) resolve(found[1]);
    });
  });
  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null) process.kill(-child.pid, "SIGKILL");
    await exited;
  };
  return { url, port: Number(new URL(url).port), stop };
}

export function launchBrowser() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
    headless: true,
    chromiumSandbox: false,
    args: [
      "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
      "--disable-background-networking", "--disable-component-update", "--disable-sync",
    ],
  });
}

/**
 * A proxy in front of `target` (a port) with a `mode`:
 * `pass`; `hold`: connections stay open and nothing moves; `cut`: connections break, new ones too;
 * `no-websocket`: upgrade requests get a 403 and the rest passes.
 */
export async function startProxy(target) {
  const pairs = new Set();
  const proxy = { mode: "pass", refusedUpgrades: 0, target, url: "", set, stop };
  const server = net.createServer((near) => {
    if (proxy.mode === "cut") return void near.destroy();
    const pair = { near, far: null, stuck: false };
    pairs.add(pair);
    const end = () => {
      pairs.delete(pair);
      near.destroy();
      pair.far?.destroy();
    };
    near.on("error", end).on("close", end);
    if (proxy.mode === "hold") {
      pair.stuck = true;
      near.pause();
      return;
    }
    near.on("data", (chunk) => {
      // Browsers open a connection of its own for every upgrade, so the request starts a chunk.
      if (proxy.mode === "no-websocket" && /\r\nupgrade: websocket\r\n/i.test(chunk.toString("latin1"))) {
        proxy.refusedUpgrades += 1;
        near.end("HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        return;
      }
      pair.far?.write(chunk);
    });
    pair.far = net.connect(proxy.target, "127.0.0.1").on("error", end).on("close", end);
    pair.far.on("data", (chunk) => near.write(chunk));
  });
  function set(mode) {
    proxy.mode = mode;
    for (const pair of [...pairs]) {
      if (mode === "hold") {
        pair.stuck = true;
        pair.near.pause();
        pair.far?.pause();
      } else if (mode === "cut" || pair.stuck) {
        // What was held is lost, as it is when a network comes back.
        pair.near.destroy();
        pair.far?.destroy();
      }
    }
  }
  async function stop() {
    set("cut");
    server.close();
    await once(server, "close");
  }
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  proxy.url = `http://127.0.0.1:${server.address().port}`;
  return proxy;
}

/** A window with one person in it. Console errors and policy violations are collected in `person.complaints`. */
export async function openWindow(browser, url, name, options = {}) {
  const context = await browser.newContext({ viewport: { width: 760, height: 720 }, reducedMotion: "reduce", ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(8_000);
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => {
    const network = /Failed to load resource|WebSocket connection to|net::ERR/.test(message.text());
    if (message.type() === "error" && !network) complaints.push(message.text());
  });
  page.on("dialog", (dialog) => {
    complaints.push(`a dialog opened: ${dialog.message()}`);
    void dialog.dismiss();
  });
  await page.goto(url);
  const person = new Person(page, context, complaints);
  if (name !== null) {
    await page.fill("#name", name);
    await page.press("#name", "Enter");
    await person.member(name);
  }
  return person;
}

export class Person {
  constructor(page, context, complaints) {
    Object.assign(this, { page, context, complaints });
  }

  async say(text) {
    await this.page.fill("#text", text);
    await this.page.press("#text", "Enter");
  }

  /** Waits until a message with exactly this text stands in the list. */
  async sees(text, delivery = "sent") {
    await this.page.locator(`.message[data-delivery="${delivery}"] .text`, { hasText: exactly(text) }).first().waitFor();
  }

  async member(name) {
    await this.page.locator("#members .member-name", { hasText: exactly(name) }).first().waitFor({ state: "attached" });
  }

  async memberGone(name) {
    await this.page.locator("#members .member-name", { hasText: exactly(name) }).waitFor({ state: "detached" });
  }

  async phase(phase, more = "", timeout = 8_000) {
    await this.page.locator(`#status[data-phase="${phase}"]${more}`).waitFor({ timeout });
  }

  async detail(pattern, timeout = 8_000) {
    await this.page.locator("#status-detail", { hasText: pattern }).waitFor({ timeout });
    return this.page.locator("#status-detail").textContent();
  }

  texts() {
    return this.page.locator(".message .text").allTextContents();
  }

  room(id) {
    return this.page.locator(`.room[data-room="${id}"]`);
  }

  close() {
    return this.context.close();
  }
}

/** Writes a picture into the folder SHOTS, when it is given. */
export async function shot(person, name) {
  if (!process.env.SHOTS) return;
  await mkdir(process.env.SHOTS, { recursive: true });
  await person.page.screenshot({ path: `${process.env.SHOTS}/${name}.png` });
}

function exactly(text) {
  return new RegExp(`^${text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}$`);
}
