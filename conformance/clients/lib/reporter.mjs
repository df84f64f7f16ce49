// A node:test reporter with one JSON line per finished test, for run.mjs to count.
export default async function* reporter(source) {
  for await (const { type, data } of source) {
    if (type !== "test:pass" && type !== "test:fail") continue;
    if (data.details?.type === "suite") continue;
    const error = data.details?.error;
    const detail = error && [error.cause?.stack ?? error.cause ?? error.stack, error.failureType].join("\n");
    yield `${JSON.stringify({ name: data.name, passed: type === "test:pass", skipped: Boolean(data.skip || data.todo), ms: data.details?.duration_ms, detail })}\n`;
  }
}
