// A stream's status in words: what it is, why, what comes next, what the person can do.

import { relative, serverNow, shortly, timeOfDay } from "../clock.js";
import { has, t } from "../i18n.js";

/**
 * @typedef {{camera_id: string, status: string, since: string, run: number, respawns: number,
 *   segment_seconds: number|null, next_retry_at: string|null,
 *   last_error: {cause: string, message: string, at: string}|null,
 *   source_trouble?: string|null, stopped?: {by: string, at: string}|null,
 *   last_segment: {started_at: string, ended_at: string, bytes: number}|null}} Status
 */

const WITHOUT_PICTURE = new Set(["waiting_for_key_frame", "stalled", "backoff", "parked"]);
/** States in which pressing Start has an effect. */
const STARTABLE = new Set(["stopped", "stopping"]);

/** @param {Status|null} status */
export const canStart = (status) => !status || STARTABLE.has(status.status);

/** Whether something is about to change, so that it is worth asking more often. @param {Status} status */
export const isMoving = (status) => ["starting", "waiting_for_key_frame", "stopping", "stalled"].includes(status.status);

/** @param {string} state */
export const stateName = (state) => (has(`state.${state}`) ? t(`state.${state}`) : state);

/** What the state was when it was last heard. @param {string} state @param {number} heardAt milliseconds by this computer's clock */
export const stateAsOf = (state, heardAt) => t("state.asOf", { state: stateName(state), time: timeOfDay(new Date(heardAt)) });

/** @param {string} cause */
export const causeName = (cause) => (has(`cause.${cause}`) ? t(`cause.${cause}`) : cause);

/**
 * Why there is no picture, in words; empty where there is nothing to explain.
 * @param {Status} status
 */
export function why(status) {
  if (status.status === "parked") return t("why.parked");
  const cause = status.last_error?.cause;
  if (!WITHOUT_PICTURE.has(status.status)) {
    return status.status === "starting" && cause ? t("why.after", { cause: causeName(cause) }) : "";
  }
  if (!cause) return status.status === "stalled" ? causeName("stalled") : "";
  return causeName(cause);
}

/** What the person can do about it. @param {Status} status */
export function advice(status) {
  if (status.status === "parked") return t("advice.parked");
  if (!WITHOUT_PICTURE.has(status.status)) return "";
  const trouble = status.source_trouble;
  if (trouble && has(`source.${trouble}`)) return t(`source.${trouble}`);
  const cause = status.last_error?.cause ?? (status.status === "stalled" ? "stalled" : "");
  return cause && has(`advice.${cause}`) ? t(`advice.${cause}`) : "";
}

/** "Next try in 5 s". @param {Status} status */
export function nextTry(status) {
  if (status.status !== "backoff" || !status.next_retry_at) return "";
  const left = Math.ceil((Date.parse(status.next_retry_at) - serverNow()) / 1000);
  return left > 0 ? t("nextTry", { seconds: left }) : t("nextTry.now");
}

/** @param {Status} status @returns {{text: string, moment: Date|null}} */
export function lastSegment(status) {
  if (!status.last_segment) return { text: t("lastSegment.none"), moment: null };
  const moment = new Date(status.last_segment.ended_at);
  return { text: t("lastSegment", { time: shortly(moment), ago: relative(moment) }), moment };
}
