// Words: the browser's language, or the one that was chosen, kept for the next visit.

import en from "./locale/en.js";
import zhTW from "./locale/zh-TW.js";

const KEY = "streamwarden.language";
const WORDS = { en, "zh-TW": zhTW };
export const LANGUAGES = { en: "English", "zh-TW": "繁體中文" };

let language = chosen();
document.documentElement.lang = language;

/** @returns {"en"|"zh-TW"} */
function chosen() {
  let kept = null;
  try {
    kept = localStorage.getItem(KEY);
  } catch {
    // Storage is switched off: the browser's language it is.
  }
  if (kept && kept in WORDS) return /** @type {any} */ (kept);
  const first = navigator.languages.find((tag) => /^(zh|en)\b/i.test(tag)) ?? "en";
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
