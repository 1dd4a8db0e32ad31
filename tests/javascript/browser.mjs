// What a browser has and Node has not, as far as the tested modules ask for it, and the tests' time zone.
// In a browser nothing is replaced; there the zone is the browser context's.

if (globalThis.process) process.env.TZ = "Europe/Berlin"; // one with summer time

const events = new EventTarget();
globalThis.addEventListener ??= events.addEventListener.bind(events);
globalThis.dispatchEvent ??= events.dispatchEvent.bind(events);
globalThis.location ??= new URL("http://warden.example/");
if (globalThis.process) Object.defineProperty(globalThis, "sessionStorage", { value: memoryStorage(), configurable: true });

function memoryStorage() {
  const kept = new Map();
  return {
    getItem: (/** @type {string} */ key) => kept.get(key) ?? null,
    setItem: (/** @type {string} */ key, /** @type {string} */ value) => void kept.set(key, value),
    removeItem: (/** @type {string} */ key) => void kept.delete(key),
  };
}
