"use strict";

/* Small helpers. Text from outside only ever becomes text nodes and properties, never markup. */

const byId = (id) => document.getElementById(id);

function el(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

// the namespace's name, taken from the browser's own parser so that the page holds no address at all
const SVG = el("template", {innerHTML: "<svg></svg>"}).content.firstChild.namespaceURI;

function svg(tag, attributes, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

const jpeg = (base64) => "data:image/jpeg;base64," + base64;

const seconds = (time) => time.toFixed(2) + " s";

const percent = (part) => Math.round(100 * part) + "%";

/* A text as a file of the user's; the page asks nobody for it. */
function download(name, text, type) {
  const link = el("a", {href: URL.createObjectURL(new Blob([text], {type})), download: name});
  link.click();
  URL.revokeObjectURL(link.href);
}

const count = (number, one, many = one + "s") => number.toLocaleString("en") + " " + (number === 1 ? one : many);
