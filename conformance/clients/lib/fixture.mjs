// Starts and stops the fixture server under test (FIXTURE.md).
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

const reference = `${process.execPath} ${fileURLToPath(new URL("../reference/server.mjs", import.meta.url))}`;

export const profiles = {
  default: [],
  recovery: ["--recovery"],
  msgpack: ["--msgpack"],
  deflate: ["--deflate"],
  limits: ["--max-payload", "20000", "--ping-interval", "500", "--ping-timeout", "1000", "--connect-timeout", "500"],
};

export async function startFixture(args, listen = "127.0.0.1:0") {
  const [command, ...fixed] = (process.env.FIXTURE_CMD || reference).split(/\s+/);
  const child = spawn(command, [...fixed, "--listen", listen, ...args], { stdio: ["ignore", "pipe", "inherit"] });
  const exited = new Promise((resolve) => child.once("exit", resolve));
  const address = await new Promise((resolve, reject) => {
    let text = "";
    child.once("error", reject);
    exited.then((code) => reject(new Error(`the fixture ended with code ${code} before it listened`)));
    child.stdout.on("data", (chunk) => {
      text += chunk;
      const match = /listening on (\S+)\n/.exec(text);
      if (match) resolve(match[1]);
    });
  });
  return {
    url: `http://${address}`,
    address,
    stop: async (signal = "SIGTERM") => {
      child.kill(signal);
      await exited;
    },
  };
}
