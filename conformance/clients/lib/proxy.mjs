// A TCP proxy the tests put between a client and the fixture, to break the connection the way a network does.
import { connect, createServer } from "node:net";

export async function startProxy(target) {
  const { hostname, port } = new URL(target);
  const pairs = new Set();
  let refusing = false;
  let frozen = false;

  const server = createServer((inner) => {
    if (refusing) return inner.resetAndDestroy();
    const outer = connect(Number(port), hostname);
    const pair = { inner, outer };
    pairs.add(pair);
    for (const [from, to] of [[inner, outer], [outer, inner]]) {
      from.on("data", (chunk) => {
        if (!frozen) to.write(chunk);
      });
      from.on("error", () => {});
      from.on("end", () => {
        if (!frozen) to.end();
      });
      from.on("close", () => {
        if (!frozen) to.destroy();
        pairs.delete(pair);
      });
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));

  const destroyAll = (how) => {
    for (const { inner, outer } of pairs) {
      inner[how]();
      outer[how]();
    }
  };
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    /** Ends every connection at once, without any goodbye of the protocols above. */
    cut: () => destroyAll("destroy"),
    /** The same with a TCP reset. */
    reset: () => destroyAll("resetAndDestroy"),
    /** New connections are reset until `accept` is called. */
    refuse: () => { refusing = true; },
    accept: () => { refusing = false; },
    /** Bytes vanish in both directions while the connections stay open. */
    freeze: () => { frozen = true; },
    close: () => {
      destroyAll("destroy");
      server.close();
    },
  };
}
