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

function clock(seconds) {
  if (seconds < 60) return seconds.toFixed(2) + " s";
  const whole = Math.floor(seconds), two = (number) => String(number).padStart(2, "0");
  const hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
  return (hours ? hours + ":" + two(minutes) : minutes) + ":" + two(whole % 60);
}

const count = (number, one, many = one + "s") => number.toLocaleString("en") + " " + (number === 1 ? one : many);
