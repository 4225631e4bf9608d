// The charts of latency and architecture, and what the pointer and the keys do.
const points = [...data.front];
// the winner is one point, even if the front contains it
const same = points.findIndex((p) => JSON.stringify(p.architecture) === JSON.stringify(data.winner.architecture));
if (same >= 0) points[same] = data.winner;
else points.push(data.winner);
points.sort((a, b) => a.latency_ms - b.latency_ms);
const winner = points.indexOf(data.winner);
let chosen = winner;

const ms = (v) => (v == null ? "–" : `${Number(v.toPrecision(4))} ms`);
// A figure that follows from the architecture, in the wording of core/figures.py.
const figure = (f, p) => [f.label, `${p.figures[f.name].toFixed(f.decimals)} ${f.unit}`];
const percent = (v) => `${v.toFixed(2)}%`;

function about(p) {
  const lines = [p.name, `top-1 ${percent(p.top1)} predicted`, `${ms(p.latency_ms)} predicted`];
  if (p.bound_ms != null) lines.push(`at most ${ms(p.bound_ms)} by its bound`);
  if (p.measured_ms != null) lines.push(`${ms(p.measured_ms)} measured`);
  lines.push(`${p.image_size} px, ${figure(data.figures[0], p)[1]}`);
  return lines.join("\n");
}

let frontPixels = [];
function drawFront() {
  const box = $("front");
  const all = [...points.map((p) => p.latency_ms), ...data.cloud.map((c) => c[0])];
  if (data.budget) all.push(data.budget);
  const tops = [...points.map((p) => p.top1), ...data.cloud.map((c) => c[1])];
  const view = plot(box, span(all, 0.03), span(tops, 0.05), "predicted latency, ms", "predicted top-1, %");
  for (const [a, b] of data.cloud) make(view.svg, "circle", { class: "cloud", cx: view.x(a), cy: view.y(b), r: 2 });
  if (data.budget) {
    const [, top] = span(tops, 0.05), [low] = span(tops, 0.05);
    make(view.svg, "line", { class: "budget", x1: view.x(data.budget), x2: view.x(data.budget), y1: view.y(low), y2: view.y(top) });
  }
  const line = data.front.map((p) => `${view.x(p.latency_ms).toFixed(1)},${view.y(p.top1).toFixed(1)}`).join(" ");
  make(view.svg, "polyline", { class: "line", points: line });
  frontPixels = points.map((p) => [view.x(p.latency_ms), view.y(p.top1)]);
  points.forEach((p, i) => {
    if (i === winner) return;
    make(view.svg, "circle", { class: "dot", cx: frontPixels[i][0], cy: frontPixels[i][1], r: 3 });
  });
  const [wx, wy] = frontPixels[winner];
  make(view.svg, "path", { class: "win", d: star(wx, wy, 9) });
  const [cx, cy] = frontPixels[chosen];
  make(view.svg, "circle", { class: "chosen", cx, cy, r: 12 });
}

let pairPixels = [], pairTexts = [];
function drawPairs() {
  const box = $("pairs");
  if (!box) return;
  const rows = [...data.pairs, ...data.timed];
  const range = span(rows.flatMap((r) => [r[0], r[1]]), 0.05);
  range[0] = Math.max(0, range[0]);
  const view = plot(box, range, range, "measured, ms", "predicted, ms");
  const clip = make(make(view.svg, "defs"), "clipPath", { id: "inside" });
  make(clip, "rect", { x: view.x(range[0]), y: view.y(range[1]), width: view.x(range[1]) - view.x(range[0]), height: view.y(range[0]) - view.y(range[1]) });
  const inside = make(view.svg, "g", { "clip-path": "url(#inside)" });
  const corner = (v, f) => `${view.x(v)},${view.y(v * f)}`;
  make(inside, "polygon", { class: "band", points: [corner(range[0], 0.95), corner(range[1], 0.95), corner(range[1], 1.05), corner(range[0], 1.05)].join(" ") });
  make(inside, "line", { class: "same", x1: view.x(range[0]), y1: view.y(range[0]), x2: view.x(range[1]), y2: view.y(range[1]) });
  pairPixels = rows.map(([p, q]) => [view.x(q), view.y(p)]);
  pairTexts = rows.map(([p, q, name]) => `${name}\npredicted ${ms(p)}\nmeasured ${ms(q)}\n${(100 * (p / q - 1)).toFixed(1)}%`);
  pairPixels.forEach(([cx, cy], i) => {
    if (i < data.pairs.length) make(view.svg, "circle", { class: "pair", cx, cy, r: 3.5 });
    else make(view.svg, "path", { class: "win", d: star(cx, cy, 8) });
  });
}

function drawNetwork(p) {
  const box = $("drawing");
  const stages = new Map(Object.keys(data.slots).map((s) => [s, []]));
  const single = p.blocks.filter((b) => b.place && !b.place.includes(".") && b.kernel);
  for (const b of p.blocks) if (b.place.includes(".")) stages.get(b.place.split(".")[0])?.push(b);
  const before = single.filter((b) => b.kind !== "tail"), after = single.filter((b) => b.kind === "tail");
  const rows = [...before.map((b) => [b.place, [b], 1]), ...[...stages].map(([s, b]) => [s, b, data.slots[s]]), ...after.map((b) => [b.place, [b], 1])];
  const height = 40, view = canvas(box, rows.length * height + 4), left = view.width < 420 ? 82 : 104;
  const inStages = [...stages.values()].flat();
  const widest = Math.max(...(inStages.length ? inStages : p.blocks).map((b) => b.middle), 1);
  const most = Math.max(...rows.map((r) => r[2])), room = (view.width - left) / most;
  rows.forEach(([stage, blocks, slots], row) => {
    const y = row * height + 4;
    make(view.svg, "text", { class: "ink", x: 0, y: y + 13 }, stage.replace(/^stage/, "stage "));
    const last = blocks[blocks.length - 1];
    if (last) make(view.svg, "text", { x: 0, y: y + 28 }, `${last.in_size === last.out_size ? "" : `${blocks[0].in_size}→`}${last.out_size} px · ${last.channels}`);
    for (let i = 0; i < slots; i++) {
      const b = blocks[i];
      const x = left + i * room, full = slots === 1 ? view.width - left : room - 6;
      if (!b) { make(view.svg, "rect", { class: "gone", x, y, width: room * 0.3, height: 28, rx: 4 }); continue; }
      const width = Math.max(26, Math.min(full, ((room - 6) * b.middle) / widest));
      const box = make(view.svg, "rect", { class: [3, 5, 7].includes(b.kernel) ? `k${b.kernel}` : "kx", x, y, width, height: 28, rx: 4 });
      if (width > 30) {
        const label = make(view.svg, "text", { class: "in", x: x + 7, y: y + 18, style: "pointer-events:none;fill:var(--onk)" }, b.middle);
        if (b.squeeze && width < 48) label.remove();
      }
      if (b.squeeze) make(view.svg, "circle", { class: "semark", cx: x + width - 8, cy: y + 8, r: 4.5, style: "pointer-events:none" });
      hover(box, `${b.place}\n${b.kernel}×${b.kernel}${b.stride > 1 ? `, stride ${b.stride}` : ""}, ${b.middle} channels inside, ${b.channels} out${b.squeeze ? ", squeeze-and-excitation" : ""}\n${ms(b.latency_ms)}\n${b.key}`);
    }
  });
}

function drawLayers(p) {
  const box = $("layers");
  const height = 21, view = canvas(box, p.blocks.length * height), left = 106, right = 88;
  const most = Math.max(...p.blocks.map((b) => b.latency_ms), 1e-9);
  p.blocks.forEach((b, i) => {
    const y = i * height, width = Math.max(1, (Math.max(b.latency_ms, 0) / most) * (view.width - left - right));
    make(view.svg, "text", { x: 0, y: y + 14 }, b.place);
    make(view.svg, "rect", { class: b.key ? "bar" : "bar rest", x: left, y: y + 3, width, height: 15, rx: 2 });
    make(view.svg, "text", { class: "ink", x: left + width + 6, y: y + 14 }, `${Number(b.latency_ms.toPrecision(3))} ms`);
    const hit = make(view.svg, "rect", { x: 0, y, width: view.width, height, fill: "transparent" });
    hover(hit, `${b.place}\n${ms(b.latency_ms)}, ${((100 * b.latency_ms) / p.latency_ms).toFixed(1)}% of the network\n${b.key}`);
  });
}

function drawChosen() {
  const p = points[chosen];
  $("which").textContent = chosen === winner ? "reported on" : `chosen: ${p.name}`;
  const box = $("details");
  box.replaceChildren();
  const facts = [["predicted top-1", percent(p.top1)], ["predicted", ms(p.latency_ms)]];
  if (p.bound_ms != null) facts.push(["at most", ms(p.bound_ms)]);
  if (p.measured_ms != null) facts.push(["measured", ms(p.measured_ms)]);
  facts.push(["image size", `${p.image_size} px`], ...data.figures.map((f) => figure(f, p)));
  for (const [name, value] of facts) {
    const item = document.createElement("span");
    const bold = document.createElement("b");
    bold.textContent = value;
    item.append(`${name} `, bold);
    box.append(item);
  }
  drawNetwork(p);
  drawLayers(p);
}

function choose(index) {
  chosen = Math.max(0, Math.min(points.length - 1, index));
  drawFront();
  drawChosen();
}

function all() { drawFront(); drawPairs(); drawChosen(); drawCurve(); }

$("front").addEventListener("pointermove", (event) => {
  const i = nearest($("front"), event, frontPixels, 40);
  if (i < 0) hideTip();
  else showTip(about(points[i]), event);
});
$("front").addEventListener("pointerleave", hideTip);
$("front").addEventListener("click", (event) => {
  const i = nearest($("front"), event, frontPixels, 60);
  if (i >= 0) choose(i);
});
$("front").addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1, ArrowUp: 1, ArrowDown: -1 }[event.key];
  if (event.key === "Home") choose(winner);
  else if (step) choose(chosen + step);
  else return;
  event.preventDefault();
});
$("pairs")?.addEventListener("pointermove", (event) => {
  const i = nearest($("pairs"), event, pairPixels, 30);
  if (i < 0) hideTip();
  else showTip(pairTexts[i], event);
});
$("pairs")?.addEventListener("pointerleave", hideTip);
$("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});
$("copy").addEventListener("click", async () => {
  const text = $("commands").textContent;
  try {
    await navigator.clipboard.writeText(text);
    $("copy").textContent = "copied";
  } catch {
    getSelection().selectAllChildren($("commands"));
    $("copy").textContent = "selected";
  }
  setTimeout(() => ($("copy").textContent = "copy"), 1500);
});
let width = 0;
new ResizeObserver(() => {
  if (document.body.clientWidth !== width) { width = document.body.clientWidth; all(); }
}).observe(document.body);
