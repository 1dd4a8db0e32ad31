// The calls about one camera's stream: its status, Start and Stop.

import { call, cameraPath } from "../api.js";

/** @param {string} id @returns {Promise<import("./status.js").Status>} */
export const fetchStatus = (id) => call("GET", `${cameraPath(id)}/stream/status`);

/**
 * Start or stop of a camera's recording.
 * @param {string} id @param {boolean} start
 * @returns {Promise<import("./status.js").Status>} the status that follows
 */
export async function switchRecording(id, start) {
  const answer = await call("POST", `${cameraPath(id)}/stream/${start ? "connect" : "disconnect"}`, { body: {} });
  return start ? answer.info : answer;
}
