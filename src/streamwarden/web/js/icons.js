// Icons as paths on a 24-unit square, drawn with the text's colour.

const PATHS = {
  play: ["M8 5.5v13l10.5-6.5z"],
  stop: ["M7 7h10v10H7z"],
  pause: ["M8 6v12", "M16 6v12"],
  camera: ["M4 8h11a1.5 1.5 0 0 1 1.5 1.5v6A1.5 1.5 0 0 1 15 17H4a1.5 1.5 0 0 1-1.5-1.5v-6A1.5 1.5 0 0 1 4 8z", "M16.5 11l5-2.5v8l-5-2.5"],
  link: ["M10 14a4 4 0 0 0 6 .4l3-3a4 4 0 0 0-5.7-5.7L12 7", "M14 10a4 4 0 0 0-6-.4l-3 3a4 4 0 0 0 5.7 5.7L12 17"],
  clock: ["M12 3.5a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17z", "M12 7.5V12l3 2"],
  copy: ["M9 9h10v10H9z", "M15 9V5H5v10h4"],
  check: ["M5 12.5l4.5 4.5L19 7.5"],
  search: ["M11 4.5a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13z", "M16 16l4.5 4.5"],
  warning: ["M12 4L2.8 19.5h18.4z", "M12 10v4.5", "M12 17v.2"],
  download: ["M12 4v11", "M7.5 11l4.5 4.5 4.5-4.5", "M5 19.5h14"],
  left: ["M14.5 6l-6 6 6 6"],
  right: ["M9.5 6l6 6-6 6"],
  back: ["M11 6l-6 6 6 6", "M5 12h14"],
  stepBack: ["M6 6v12", "M18 6l-8 6 8 6z"],
  stepForward: ["M18 6v12", "M6 6l8 6-8 6z"],
  zoomIn: ["M12 6v12", "M6 12h12"],
  zoomOut: ["M6 12h12"],
  restart: ["M19 12a7 7 0 1 1-2-5", "M19.5 3.5V8H15"],
  more: ["M6 12h.01", "M12 12h.01", "M18 12h.01"],
  close: ["M6 6l12 12", "M18 6L6 18"],
  volume: ["M4 10v4h3.5L12 18V6L7.5 10z", "M15.5 9a4.5 4.5 0 0 1 0 6"],
  muted: ["M4 10v4h3.5L12 18V6L7.5 10z", "M16 10l4 4", "M20 10l-4 4"],
  full: ["M4.5 9V4.5H9", "M15 4.5h4.5V9", "M19.5 15v4.5H15", "M9 19.5H4.5V15"],
};

/**
 * @param {keyof typeof PATHS} name
 * @returns {SVGSVGElement}
 */
export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  for (const d of PATHS[name]) {
    const path = document.createElementNS(space, "path");
    path.setAttribute("d", d);
    svg.append(path);
  }
  return svg;
}
