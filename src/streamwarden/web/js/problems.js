// A problem in words: what happened, and what the person can do about it.

import { Problem } from "./api.js";
import { has, t } from "./i18n.js";

/**
 * @param {unknown} error
 * @returns {{title: string, advice: string}}
 */
export function explain(error) {
  if (!(error instanceof Problem)) return { title: t("problem.bug"), advice: String(error) };
  const key = [`problem.${error.code}`, `problem.${error.status}`].find(has) ?? "problem.other";
  const values = { status: error.status, detail: error.detail, seconds: error.retryAfterS || 5 };
  const advice = has(`${key}.do`) ? t(`${key}.do`, values) : error.detail;
  return { title: t(key, values), advice };
}

/** @param {unknown} error @returns {string} both in one line */
export function explainShortly(error) {
  const { title, advice } = explain(error);
  return advice ? `${title} ${advice}` : title;
}

/**
 * Whether trying again by itself makes sense.
 * @param {unknown} error
 */
export function isPassing(error) {
  return error instanceof Problem && (error.status === 0 || error.status >= 500 || error.status === 429);
}
