// Which clients run on which transport set-ups.
/** Node's own WebSocket gives bytes as Blob, which the client's Node build cannot read, unless told otherwise. */
const builtin = (WebSocket) => class extends WebSocket {
  doOpen() {
    super.doOpen();
    this.ws.binaryType = "arraybuffer";
  }
};

const names = (...list) => () => list;

export const setups = {
  "websocket": { transport: "websocket", parsers: true, transports: names("websocket") },
  "polling": { transport: "polling", parsers: true, transports: names("polling") },
  "upgrade": { transport: "upgrade", parsers: true, transports: names("polling", "websocket") },
  // Newest client only. By name, Node gets the NodeXHR and ws implementations; these are the other two.
  "websocket-builtin": { transport: "websocket", transports: ({ WebSocket }) => [builtin(WebSocket)] },
  "polling-fetch": { transport: "polling", transports: ({ Fetch }) => [Fetch] },
  "upgrade-fetch-builtin": { transport: "upgrade", transports: ({ Fetch, WebSocket }) => [Fetch, builtin(WebSocket)] },
};

const three = ["websocket", "polling", "upgrade"];
const old = ["4.0.2", "4.1.3", "4.2.0", "4.3.2", "4.4.1", "4.5.4", "4.6.2", "4.7.5"];

/** `least`: the run fails when fewer behaviours than this were run. */
export const clients = [
  { module: "socket.io-client", version: "4.8.4", setups: [...three, "websocket-builtin", "polling-fetch", "upgrade-fetch-builtin"], least: 120 },
  ...old.map((version) => ({ module: `client-${version.split(".").slice(0, 2).join("-")}`, version, setups: three, least: 30 })),
];
