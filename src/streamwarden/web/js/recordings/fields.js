// Moments as the fields for dates and times have them: in the viewer's zone, without its name.

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

/** Moment in a field for date and time; NaN where it holds none. @param {string} value */
export const timeMoment = (value) => (value ? new Date(value).getTime() : NaN);
