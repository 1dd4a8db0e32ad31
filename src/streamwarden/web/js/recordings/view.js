// The part of a day that the timeline shows.

/** The closest that can be zoomed in. */
export const CLOSEST_MS = 60_000;

/** @typedef {{from: number, to: number}} View */
/** @typedef {{start: number, end: number}} Span a day, of which a view is a part */

/**
 * A view of `length` from `from` on, moved so that it lies within the day.
 * @param {Span} day @param {number} from @param {number} length
 * @returns {View}
 */
export function viewWithin(day, from, length) {
  const first = Math.min(Math.max(from, day.start), day.end - length);
  return { from: first, to: first + length };
}

/**
 * A view `factor` times as long, with `around` where it was.
 * @param {Span} day @param {View} view @param {number} factor @param {number} around
 */
export function zoomed(day, view, factor, around) {
  const before = view.to - view.from;
  const length = Math.min(day.end - day.start, Math.max(CLOSEST_MS, before * factor));
  const share = Math.min(1, Math.max(0, (around - view.from) / before));
  return viewWithin(day, around - share * length, length);
}

/** A view as long, with `moment` in its middle. @param {Span} day @param {View} view @param {number} moment */
export function centred(day, view, moment) {
  const length = view.to - view.from;
  return viewWithin(day, moment - length / 2, length);
}
