// Moments as the fields for dates and times have them: in the viewer's zone, without its name.

const DAY_MS = 86_400_000;

/** Value of a date field: the day that holds `moment`. @param {number} moment */
export function dateValue(moment) {
  const at = new Date(moment);
  return `${at.getFullYear()}-${String(at.getMonth() + 1).padStart(2, "0")}-${String(at.getDate()).padStart(2, "0")}`;
}

/** Midnight of the day in a date field; NaN where it holds none. @param {string} value */
export function dateStart(value) {
  const [year, month, day] = value.split("-").map(Number);
  return year ? new Date(year, month - 1, day).getTime() : NaN;
}

/** Value of a field for date and time, to the second. @param {number} moment */
export function timeValue(moment) {
  const at = new Date(moment - new Date(moment).getTimezoneOffset() * 60_000);
  return at.toISOString().slice(0, 19);
}

/**
 * The moments that a field for date and time may mean, in order: two where clocks go back over it, none where
 * it is empty. A time that clocks skip is the one that is as long after midnight.
 * @param {string} value
 * @returns {number[]}
 */
export function timeMoments(value) {
  const read = new Date(value).getTime();
  if (Number.isNaN(read)) return [];
  const text = timeValue(read);
  const shown = value.length === 16 ? `${value}:00` : value.slice(0, 19);
  if (text !== shown) return [read];
  const local = Date.parse(`${text}Z`);
  const offsets = [-DAY_MS, DAY_MS].map((away) => new Date(read + away).getTimezoneOffset());
  const found = offsets.map((minutes) => local + minutes * 60_000).filter((moment) => timeValue(moment) === text);
  return [...new Set([read, ...found])].sort((one, other) => one - other);
}
