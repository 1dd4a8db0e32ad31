// Words: the browser's language, or the one that was chosen, kept for the next visit.

import en from "./locale/en.js";
import zhTW from "./locale/zh-TW.js";

const KEY = "streamwarden.language";
const WORDS = { en, "zh-TW": zhTW };
export const LANGUAGES = { en: "English", "zh-TW": "繁體中文" };

/** @type {"en"|"zh-TW"} */
let language = "en";

/** Language at the start of the page: the one that was chosen before, else the browser's. */
export function restoreLanguage() {
  let kept = null;
  try {
    kept = localStorage.getItem(KEY);
  } catch {
    // Storage is switched off: the browser's language it is.
  }
  language = preferredLanguage(kept, navigator.languages);
  document.documentElement.lang = language;
}

/**
 * The kept language if there are words for it, else the first of the browser's that there are words for.
 * @param {string|null} kept @param {readonly string[]} tags as the browser has them, the preferred first
 * @returns {"en"|"zh-TW"}
 */
export function preferredLanguage(kept, tags) {
  if (kept && Object.hasOwn(WORDS, kept)) return /** @type {any} */ (kept);
  const first = tags.find((tag) => /^(zh|en)\b/i.test(tag)) ?? "en";
  return /^zh/i.test(first) ? "zh-TW" : "en";
}

/** @returns {"en"|"zh-TW"} */
export function currentLanguage() {
  return language;
}

/** @param {"en"|"zh-TW"} wanted */
export function chooseLanguage(wanted) {
  language = wanted;
  document.documentElement.lang = wanted;
  try {
    localStorage.setItem(KEY, wanted);
  } catch {
    // It then lasts as long as the page.
  }
  dispatchEvent(new Event("languagechosen"));
}

/**
 * The words for `key`, with `{name}` replaced. A key without words shows itself, so that it is found.
 * @param {string} key
 * @param {Record<string, string|number>} [values]
 * @returns {string}
 */
export function t(key, values = {}) {
  const words = WORDS[language][key] ?? WORDS.en[key] ?? key;
  return words.replace(/{(\w+)}/g, (hole, name) => String(values[name] ?? hole));
}

/**
 * Whether there are words for `key`: codes and causes may be newer than this page.
 * @param {string} key
 */
export function has(key) {
  return key in WORDS.en;
}
