// Stand-in for those functions of node:assert/strict that the tests use.

/** @param {unknown} value @returns {string} such as tells the values apart that JSON does not */
const shown = (value) =>
  JSON.stringify(value, (_key, each) => (each === undefined || Number.isNaN(each) || Object.is(each, -0) ? `<${Object.is(each, -0) ? "-0" : each}>` : each));

/** @param {unknown} a @param {unknown} b @returns {boolean} for plain objects, arrays and primitive values */
function same(a, b) {
  if (Object.is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || !a || !b) return false;
  if (Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return false;
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && same(a[key], b[key]));
}

/** @param {boolean} holds @param {string} words */
function must(holds, words) {
  if (!holds) throw new Error(words);
}

export default {
  ok: (/** @type {unknown} */ value) => must(Boolean(value), `${shown(value)} is not true`),
  equal: (/** @type {unknown} */ actual, /** @type {unknown} */ expected) => must(Object.is(actual, expected), `${shown(actual)} is not ${shown(expected)}`),
  deepEqual: (/** @type {unknown} */ actual, /** @type {unknown} */ expected) => must(same(actual, expected), `${shown(actual)} is not ${shown(expected)}`),
  match: (/** @type {string} */ actual, /** @type {RegExp} */ expected) => must(expected.test(actual), `${shown(actual)} does not match ${expected}`),
};
