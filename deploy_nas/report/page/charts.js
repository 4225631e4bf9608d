// Helpers that all charts share: axes, the tooltip and shapes.
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const NS = "http://www.w3.org/2000/svg";

function make(parent, tag, attributes, text) {
  const node = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes || {})) node.setAttribute(name, value);
  if (text != null) node.textContent = text;
  parent.appendChild(node);
  return node;
}

function canvas(box, height) {
  box.replaceChildren();
  const width = box.clientWidth;
  return { svg: make(box, "svg", { width, height, viewBox: `0 0 ${width} ${height}` }), width, height };
}

function ticks(low, high, count) {
  const raw = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= raw);
  const found = [];
  for (let v = Math.ceil(low / step) * step; v <= high + step * 1e-9; v += step) found.push(Number(v.toPrecision(6)));
  return found;
}

// A plot with axes; x and y map values to pixels.
function plot(box, xs, ys, xTitle, yTitle) {
  const view = canvas(box, box.clientHeight);
  const m = { left: 46, right: 12, top: 22, bottom: 40 };
  const x = (v) => m.left + ((v - xs[0]) / (xs[1] - xs[0])) * (view.width - m.left - m.right);
  const y = (v) => view.height - m.bottom - ((v - ys[0]) / (ys[1] - ys[0])) * (view.height - m.top - m.bottom);
  for (const t of ticks(xs[0], xs[1], Math.max(3, view.width / 100))) {
    make(view.svg, "line", { class: "grid", x1: x(t), x2: x(t), y1: y(ys[0]), y2: y(ys[1]) });
    make(view.svg, "text", { x: x(t), y: view.height - m.bottom + 17, "text-anchor": "middle" }, t);
  }
  for (const t of ticks(ys[0], ys[1], 5)) {
    make(view.svg, "line", { class: "grid", x1: x(xs[0]), x2: x(xs[1]), y1: y(t), y2: y(t) });
    make(view.svg, "text", { x: m.left - 7, y: y(t) + 4, "text-anchor": "end" }, t);
  }
  make(view.svg, "text", { class: "title", x: x(xs[1]), y: view.height - 5, "text-anchor": "end" }, xTitle);
  make(view.svg, "text", { class: "title", x: 0, y: 11 }, yTitle);
  return { ...view, x, y };
}

function span(values, pad) {
  const low = Math.min(...values), high = Math.max(...values);
  const room = (high - low || Math.abs(high) || 1) * pad;
  return [low - room, high + room];
}

const tip = $("tip");
function showTip(text, event) {
  tip.textContent = text;
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(8, Math.min(event.clientX + 14, innerWidth - box.width - 8))}px`;
  const above = event.clientY - box.height - 12;
  tip.style.top = `${above > 8 ? above : event.clientY + 16}px`;
}
function hideTip() { tip.hidden = true; }

function hover(node, text) {
  node.addEventListener("pointermove", (event) => showTip(text, event));
  node.addEventListener("pointerleave", hideTip);
}

// Index of the item nearest to the pointer within `reach` pixels, else -1.
function nearest(box, event, items, reach) {
  const at = box.getBoundingClientRect();
  let best = -1, least = reach * reach;
  items.forEach(([px, py], i) => {
    const d = (px - event.clientX + at.left) ** 2 + (py - event.clientY + at.top) ** 2;
    if (d < least) { least = d; best = i; }
  });
  return best;
}

function star(x, y, r) {
  const at = [...Array(10).keys()].map((i) => {
    const radius = i % 2 ? r * 0.45 : r, angle = (Math.PI * i) / 5 - Math.PI / 2;
    return `${(x + radius * Math.cos(angle)).toFixed(2)},${(y + radius * Math.sin(angle)).toFixed(2)}`;
  });
  return `M${at.join("L")}Z`;
}
