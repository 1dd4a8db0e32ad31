// Which page is shown follows from the address: #/, #/camera/{id}, #/camera/{id}/recordings/{time}.

/** @typedef {{name: string, id?: string, at?: string}} Place */

/** @returns {Place} */
export function place() {
  const parts = location.hash.replace(/^#\/?/, "").split("/").map(decoded);
  if (parts[0] === "camera" && parts[1]) {
    return parts[2] === "recordings"
      ? { name: "recordings", id: parts[1], at: parts[3] }
      : { name: "camera", id: parts[1] };
  }
  if (parts[0] === "operations") return { name: "operations" };
  return { name: parts[0] ? "nowhere" : "cameras" };
}

/** @param {string} text part of an address; what is not encoded as one is empty */
export function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return "";
  }
}

/** @param {string} id */
export const cameraLink = (id) => `#/camera/${encodeURIComponent(id)}`;
/** @param {string} id @param {Date} [at] */
export const recordingsLink = (id, at) =>
  `${cameraLink(id)}/recordings${at ? `/${at.toISOString()}` : ""}`;
