// Stand-in for node:test in a browser: cases that run in order, and what came of each.

/** @type {[string, () => unknown][]} */
const cases = [];

/** @param {string} name @param {() => unknown} run */
export default function test(name, run) {
  cases.push([name, run]);
}

/** @returns {Promise<{name: string, error: string}[]>} every case; `error` is empty where it passed */
export async function results() {
  const found = [];
  for (const [name, run] of cases) {
    try {
      await run();
      found.push({ name, error: "" });
    } catch (error) {
      found.push({ name, error: String(error) || "thrown" });
    }
  }
  return found;
}
