// Time as the server has it, shown in the viewer's zone. A wrong clock here must not make a link look
// expired, or a countdown run backwards.

import { currentLanguage, t } from "./i18n.js";

const NOTICEABLE_MS = 30_000;
let offsetMs = 0;
let known = false;

/**
 * Take over the server's time from an answer's Date header (a whole second, hence the half).
 * @param {string|null} date
 * @param {number} sentAt when the request left, by this clock
 */
export function learnServerTime(date, sentAt) {
  const server = date ? Date.parse(date) : NaN;
  if (Number.isNaN(server)) return;
  const here = (sentAt + Date.now()) / 2;
  const measured = server + 500 - here;
  // Between two readings only more than the header's own coarseness is news.
  if (known && Math.abs(measured - offsetMs) <= 1_500) return;
  offsetMs = measured;
  known = true;
  dispatchEvent(new Event("servertimelearned"));
}

/** Whether a server has told the time yet: before that, nothing is called late. */
export function isTimeKnown() {
  return known;
}

/** @returns {number} milliseconds since 1970 by the server's clock */
export function serverNow() {
  return Date.now() + (Math.abs(offsetMs) > 1_500 ? offsetMs : 0);
}

/** @returns {number} by how many seconds this computer's clock is off, 0 if nobody would notice */
export function clockError() {
  return Math.abs(offsetMs) > NOTICEABLE_MS ? Math.round(-offsetMs / 1000) : 0;
}

const formats = new Map();

/** @param {Intl.DateTimeFormatOptions} options @param {Date} moment */
function format(options, moment) {
  const key = currentLanguage() + JSON.stringify(options);
  if (!formats.has(key)) {
    formats.set(key, new Intl.DateTimeFormat(currentLanguage(), { hourCycle: "h23", ...options }));
  }
  return formats.get(key).format(moment);
}

const TIME = /** @type {const} */ ({ hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DAY = /** @type {const} */ ({ year: "numeric", month: "short", day: "numeric" });

/** The offset of the viewer's zone: "UTC+02:00". @param {number} moment */
export function offsetOf(moment) {
  const minutes = -new Date(moment).getTimezoneOffset();
  const digits = (/** @type {number} */ number) => String(Math.floor(number)).padStart(2, "0");
  return `UTC${minutes < 0 ? "-" : "+"}${digits(Math.abs(minutes) / 60)}:${digits(Math.abs(minutes) % 60)}`;
}

/** On a day with two offsets a time of day may be two moments: then its offset. @param {Date} moment */
function offsetWhereNeeded(moment) {
  const begin = new Date(moment);
  begin.setHours(0, 0, 0, 0);
  const end = new Date(begin);
  end.setDate(end.getDate() + 1);
  return begin.getTimezoneOffset() === end.getTimezoneOffset() ? "" : ` ${offsetOf(moment.getTime())}`;
}

/** @param {Date} moment */
export const timeOfDay = (moment) => format(TIME, moment) + offsetWhereNeeded(moment);
/** @param {Date} moment */
export const dayAndTime = (moment) => format({ ...DAY, ...TIME }, moment) + offsetWhereNeeded(moment);
/** A time of day to read beside others of its day. @param {Date} moment */
export const hourMinuteSecond = (moment) => format(TIME, moment);
/** @param {Date} moment */
export const dayOf = (moment) => format({ ...DAY, weekday: "short" }, moment);
/** @param {Date} moment */
export const hourAndMinute = (moment) => format({ hour: "2-digit", minute: "2-digit" }, moment);

/**
 * A time of today as the time alone, of another day with its date.
 * @param {Date} moment
 */
export function shortly(moment) {
  const today = new Date(serverNow()).toDateString() === moment.toDateString();
  return today ? timeOfDay(moment) : dayAndTime(moment);
}

/**
 * "12 s ago", "in 3 min": of what has the size of a day or less.
 * @param {Date} moment
 */
export function relative(moment) {
  const seconds = Math.round((moment.getTime() - serverNow()) / 1000);
  const [amount, unit] = inUnit(Math.abs(seconds));
  if (seconds <= 0) return t("time.ago", { span: `${amount} ${t(`unit.${unit}`)}` });
  return t("time.in", { span: `${amount} ${t(`unit.${unit}`)}` });
}

/** @param {number} seconds @returns {[number, "s"|"min"|"h"|"d"]} */
function inUnit(seconds) {
  if (seconds < 100) return [seconds, "s"];
  if (seconds < 5_400) return [Math.round(seconds / 60), "min"];
  if (seconds < 129_600) return [Math.round(seconds / 3_600), "h"];
  return [Math.round(seconds / 86_400), "d"];
}

/**
 * A length in words: "8 s", "3 min 20 s", "2 h 5 min".
 * @param {number} seconds
 */
export function duration(seconds) {
  const whole = Math.round(seconds);
  if (seconds > 0 && whole === 0) return `<1 ${t("unit.s")}`;
  const parts = [
    [Math.floor(whole / 86_400), "d"],
    [Math.floor((whole % 86_400) / 3_600), "h"],
    [Math.floor((whole % 3_600) / 60), "min"],
    [whole % 60, "s"],
  ].filter(([amount]) => amount);
  if (!parts.length) return `0 ${t("unit.s")}`;
  return parts.slice(0, 2).map(([amount, unit]) => `${amount} ${t(`unit.${unit}`)}`).join(" ");
}

/**
 * A size: "812 kB", "1.4 GB".
 * @param {number} bytes
 */
export function size(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  const step = bytes < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(bytes) / 3));
  const amount = bytes / 1000 ** step;
  return `${amount >= 100 || step === 0 ? Math.round(amount) : amount.toFixed(1)} ${units[step]}`;
}
