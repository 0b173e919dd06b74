// Elements are made by calls, and text is set as text: no figure is ever read as HTML.

function byId(id) {
  return document.getElementById(id);
}

function make(tag, { text, name, ...attributes } = {}, ...children) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (name) element.className = name;
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

// Leaves equal text alone, so that a selection of the reader stays.
function put(id, text) {
  const element = byId(id);
  if (element.textContent !== text) element.textContent = text;
}

// `columns`: [title, whether it is a number]; a cell is a text or an element.
function table(label, columns, rows) {
  const cells = (tag, values, extra) => values.map((value, place) => {
    const cell = make(tag, { ...extra, name: columns[place][1] ? "number" : columns[place][2] });
    cell.append(value);
    return cell;
  });
  return make("table", { "aria-label": label },
    make("thead", {}, make("tr", {}, ...cells("th", columns.map(([title]) => title), {
      scope: "col",
    }))),
    make("tbody", {}, ...rows.map((row) => make("tr", {}, ...cells("td", row, {})))));
}

function badge(state, text = state) {
  return make("span", { text, name: state });
}

// Replaces the body of a card only if `known` differs from what it shows.
const shown = new Map();
function fill(id, known, build) {
  const text = JSON.stringify(known);
  if (shown.get(id) === text) return;
  shown.set(id, text);
  const body = byId(id).querySelector(".body");
  const region = body.querySelector(".scroll");
  const focused = region && region === document.activeElement;
  body.replaceChildren(...build());
  if (focused) body.querySelector(".scroll")?.focus();
}

// A region that scrolls can be scrolled by keyboard only if it takes the focus.
function scrolling(label, ...children) {
  return make("div", { name: "scroll", tabindex: "0", role: "region", "aria-label": label },
    ...children);
}
