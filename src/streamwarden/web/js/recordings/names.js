// Names of the files that a person saves.

const MOST_CHARACTERS = 60;

/**
 * File name of a segment that begins at `moment`.
 * @param {string} camera its name @param {number} moment
 */
export const segmentFileName = (camera, moment) => `${fileName(camera)}-${stamp(moment)}.mp4`;

/** A camera's name as a file's: whatever no file system takes becomes a dash. @param {string} name */
const fileName = (name) => name.replace(/[\p{C}/\\:*?"<>|%\s]+/gu, "-").replace(/^[.-]+|[.-]+$/g, "").slice(0, MOST_CHARACTERS) || "camera";

/** @param {number} moment */
const stamp = (moment) => `${new Date(moment).toISOString().slice(0, 19).replace(/[-:]/g, "")}Z`;
