// The table of behaviours. Options:
//   since      first client minor that has the API ("4.6"); default: every client
//   profile    which fixture it needs ("default", "recovery", "limits", "deflate")
//   msgpack    also run with socket.io-msgpack-parser against the msgpack fixture
//   only       transports on which it means something; default: all three
//   unless     exact transport set-ups to leave out, with the reason at the test
//   oursOnly   behaviour in which Kentongan is deliberately better than Node: run only against {server:"kentongan"}
export const behaviours = [];

export function behaviour(name, options, run) {
  if (typeof options === "function") [options, run] = [{}, options];
  if (behaviours.some((other) => other.name === name)) throw new Error(`two behaviours are called "${name}"`);
  behaviours.push({ name, since: "4.0", profile: "default", ...options, run });
}
