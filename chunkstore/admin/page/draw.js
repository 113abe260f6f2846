// What views are drawn with: elements that are kept and changed, plots, and numbers as people read them.

export function bytes(count) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  while (count >= 1024 && at < units.length - 1) [count, at] = [count / 1024, at + 1];
  return `${count < 10 && at ? count.toFixed(1) : Math.round(count)} ${units[at]}`;
}

export function duration(seconds) {
  if (seconds === null) return "";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 120) return `${seconds.toFixed(1)} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

export const counted = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

export function made(name, text = "", className = "") {
  const element = document.createElement(name);
  element.textContent = text;
  if (className) element.className = className;
  return element;
}

/** A row of cells; a class name for each. */
export function cells(...classNames) {
  const row = made("tr");
  row.append(...classNames.map((className) => made("td", "", className)));
  return row;
}

/** Makes `parent` have one child for each of `items`, in their order: kept by key, made, changed. */
export function keyed(parent, items, keyOf, make, change) {
  const known = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  items.forEach((item, index) => {
    const key = String(keyOf(item));
    const child = known.get(key) ?? make(item);
    known.delete(key);
    child.dataset.key = key;
    change(child, item);
    if (parent.children[index] !== child) parent.insertBefore(child, parent.children[index] ?? null);
  });
  for (const child of known.values()) child.remove();
}

/** Draws a value a second into a figure, the newest at the right, over a minute or five; null: there was none. */
export function plot(figure, values) {
  const [svg, output, since] = ["svg", "output", ".axis span"].map((what) => figure.querySelector(what));
  const span = values.length > 60 ? 300 : 60;
  const known = values.filter((value) => value !== null);
  const highest = Math.max(0.001, ...known);
  svg.setAttribute("viewBox", `0 0 ${span} 100`);
  svg.setAttribute("preserveAspectRatio", "none");
  const lines = [[]]; // a new one after each second without a value
  values.forEach((value, index) => {
    if (value === null) lines.push([]);
    else lines.at(-1).push(`${span - values.length + index},${100 - (95 * value) / highest}`);
  });
  svg.replaceChildren(
    ...lines.filter((line) => line.length).map((line) => {
      const shape = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
      shape.setAttribute("points", line.length > 1 ? line.join(" ") : `${line[0]} ${line[0]}`);
      return shape;
    }),
  );
  since.textContent = `${span / 60} min ago`;
  const now = values.at(-1) ?? null;
  output.textContent = known.length
    ? `${now === null ? "nothing" : duration(now)} now, at most ${duration(highest)}`
    : "nothing yet";
}
