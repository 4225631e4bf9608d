// The training curve, with its phases as numbered stretches.
let curvePixels = [];
function drawCurve() {
  const box = $("curve");
  if (!box) return;
  const { curve, phases } = data.training;
  const last = curve[curve.length - 1][0];
  const losses = span(curve.map((p) => p[1]), 0.08);
  const view = plot(box, [0, last || 1], losses, "epochs", "loss of the largest subnet");
  phases.forEach((phase, i) => {
    const [left, right] = [phase.begins, i + 1 < phases.length ? phases[i + 1].begins : last].map(view.x);
    const [top, bottom] = [view.y(losses[1]), view.y(losses[0])];
    if (i % 2) make(view.svg, "rect", { class: "phase", x: left, y: top, width: Math.max(0, right - left), height: bottom - top });
    if (i) make(view.svg, "line", { class: "begins", x1: left, x2: left, y1: top, y2: bottom });
    make(view.svg, "text", { class: "ink", x: (left + right) / 2, y: top + 14, "text-anchor": "middle" }, i + 1);
  });
  curvePixels = curve.map(([epoch, loss]) => [view.x(epoch), view.y(loss)]);
  make(view.svg, "polyline", { class: "line", points: curvePixels.map((p) => p.map((v) => v.toFixed(1)).join(",")).join(" ") });
  if (curve.length === 1) make(view.svg, "circle", { class: "dot", cx: curvePixels[0][0], cy: curvePixels[0][1], r: 3 });
}

function aboutEpoch(i) {
  const [epoch, loss, time] = data.training.curve[i];
  const phase = data.training.phases.filter((p) => p.begins < epoch).pop() || data.training.phases[0];
  return `epoch ${epoch.toFixed(1)}, after ${time}\nloss ${loss.toFixed(3)}\n${phase.what}`;
}

$("curve")?.addEventListener("pointermove", (event) => {
  const i = nearest($("curve"), event, curvePixels, 40);
  if (i < 0) hideTip();
  else showTip(aboutEpoch(i), event);
});
$("curve")?.addEventListener("pointerleave", hideTip);
