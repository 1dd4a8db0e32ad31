// Elements without a framework. Text goes in as text only: nothing here reads markup.

/**
 * Make an element. `props` are attributes; `on` holds listeners, `text` the text content; a value of
 * false, null or undefined leaves the attribute out, true writes it without a value.
 * @param {string} tag
 * @param {Record<string, any>} [props]
 * @param {...(Node|string|null|undefined|false)} children
 * @returns {any}
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) apply(element, name, value);
  element.append(.../** @type {(Node|string)[]} */ (children.filter((child) => child || child === "")));
  return element;
}

/** @param {HTMLElement} element @param {string} name @param {any} value */
function apply(element, name, value) {
  if (name === "on") {
    for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
  } else if (name === "text") {
    element.textContent = value;
  } else if (value === true) {
    element.setAttribute(name, "");
  } else if (value !== false && value != null) {
    element.setAttribute(name, String(value));
  }
}

/**
 * Write text only where it differs, so that what has not changed is neither laid out nor announced.
 * @param {Element} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * @param {Element} element
 * @param {string} name
 * @param {string|null} value null removes the attribute
 */
export function setAttribute(element, name, value) {
  if (value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/**
 * A button. `look` is "primary", "danger", "quiet" or "" for the plain one.
 * @param {string} label
 * @param {(event: Event) => void} press
 * @param {{look?: string, icon?: Node, title?: string, iconOnly?: boolean, attributes?: object}} [options]
 * @returns {HTMLButtonElement}
 */
export function button(label, press, options = {}) {
  const { look = "", icon, title, iconOnly = false, attributes = {} } = options;
  return h(
    "button",
    {
      type: "button",
      class: `button ${look}${iconOnly ? " icon-only" : ""}`,
      title: title ?? (iconOnly ? label : null),
      "aria-label": iconOnly ? label : null,
      on: { click: press },
      ...attributes,
    },
    icon,
    iconOnly ? null : h("span", { text: label }),
  );
}

/**
 * A time that shows UTC on hover.
 * @param {string} shown
 * @param {Date} moment
 * @returns {HTMLTimeElement}
 */
export function timeElement(shown, moment) {
  const iso = moment.toISOString();
  return h("time", { datetime: iso, title: `UTC ${iso.replace("T", " ").replace("Z", "")}`, text: shown });
}
