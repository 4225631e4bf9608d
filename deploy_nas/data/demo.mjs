// The demo page's program: prepares a picture as infer.py does, runs the network, and times it.
const WARM_RUNS = 3;
const MOST_RUNS = 30;
const MOST_MS = 2000;
const PRECISION = 2 ** 22; // of Pillow's coefficients

const facts = JSON.parse(document.getElementById("facts").textContent);

async function unpacked(id) {
  const element = document.getElementById(id);
  const bytes = Uint8Array.from(atob(element.textContent), (letter) => letter.charCodeAt(0));
  element.remove();
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

function show(text, failed = false) {
  const state = document.getElementById("state");
  state.textContent = text;
  state.className = failed ? "failed" : "";
}

// -- the picture, as infer.py prepares it ---------------------------------------------------------

// For each of `to` pixels: the first of the `from` pixels that count, and their weights, as Pillow has them.
function coefficients(from, to) {
  const scale = from / to;
  const support = Math.max(scale, 1);
  return Array.from({ length: to }, (_, at) => {
    const centre = (at + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const last = Math.min(from, Math.trunc(centre + support + 0.5));
    const weights = [];
    for (let i = first; i < last; i += 1) {
      weights.push(Math.max(0, 1 - Math.abs((i - centre + 0.5) / support)));
    }
    const sum = weights.reduce((a, b) => a + b, 0);
    return { first, weights: weights.map((w) => Math.trunc(0.5 + w / sum * PRECISION)) };
  });
}

// One direction of Pillow's bilinear resize: `lines` lines of RGB pixels.
function resampled(values, lines, from, to, along, across) {
  if (from === to) return { values, along, across };
  const kept = coefficients(from, to);
  const found = new Uint8Array(lines * to * 3);
  const [alongTo, acrossTo] = along < across ? [3, 3 * to] : [3 * lines, 3];
  for (let line = 0; line < lines; line += 1) {
    for (let at = 0; at < to; at += 1) {
      const { first, weights } = kept[at];
      for (let c = 0; c < 3; c += 1) {
        let sum = PRECISION / 2;
        for (let i = 0; i < weights.length; i += 1) {
          sum += values[line * across + (first + i) * along + c] * weights[i];
        }
        found[line * acrossTo + at * alongTo + c] = Math.min(255, Math.floor(sum / PRECISION));
      }
    }
  }
  return { values: found, along: alongTo, across: acrossTo };
}

// Pillow's alpha_composite over white, for one value of one pixel.
function overWhite(value, alpha) {
  const sum = value * alpha * 128 + 255 * (255 - alpha) * 128 + (0x80 << 7);
  return (((sum >> 8) + sum) >> 8) >> 7;
}

// The centre square of an RGBA picture, resized: uint8 [size, size, 3].
function squared({ width, height, data }, size) {
  const side = Math.min(width, height);
  const left = Math.floor((width - side) / 2);
  const top = Math.floor((height - side) / 2);
  const square = new Uint8Array(side * side * 3);
  for (let y = 0; y < side; y += 1) {
    for (let x = 0; x < side; x += 1) {
      const from = ((top + y) * width + left + x) * 4;
      const alpha = data[from + 3];
      for (let c = 0; c < 3; c += 1) {
        square[(y * side + x) * 3 + c] = alpha === 255 ? data[from + c] : overWhite(data[from + c], alpha);
      }
    }
  }
  const rows = resampled(square, side, side, size, 3, 3 * side);
  return resampled(rows.values, size, side, size, 3 * size, 3).values;
}

// float32 [3, size, size], scaled to 0..1 and normalised.
function normalised(pixels, { image_size: size, mean, std }) {
  const values = new Float32Array(3 * size * size);
  for (let c = 0; c < 3; c += 1) {
    for (let i = 0; i < size * size; i += 1) {
      const scaled = Math.fround(pixels[3 * i + c] / 255);
      values[c * size * size + i] = Math.fround(scaled - Math.fround(mean[c])) / Math.fround(std[c]);
    }
  }
  return values;
}

async function decoded(file) {
  const how = { colorSpaceConversion: "none", premultiplyAlpha: "none", imageOrientation: "from-image" };
  const picture = await createImageBitmap(file, how);
  const canvas = new OffscreenCanvas(picture.width, picture.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(picture, 0, 0);
  return context.getImageData(0, 0, picture.width, picture.height);
}

// -- the network ------------------------------------------------------------------------------------

const [library, wasm, model] = await Promise.all(["library", "wasm", "model"].map(unpacked));
const place = URL.createObjectURL(new Blob([library], { type: "text/javascript" }));
const ort = await import(place).catch((error) => show(`onnxruntime-web cannot be loaded: ${error.message}`, true));
ort.env.wasm.wasmBinary = wasm;
ort.env.wasm.numThreads = 1;
ort.env.logLevel = "error";
const session = await ort.InferenceSession.create(new Uint8Array(model), { executionProviders: ["wasm"] })
  .catch((error) => show(`the network cannot be opened: ${error.message}`, true));

function odds(logits) {
  const most = Math.max(...logits);
  const powers = Array.from(logits, (v) => Math.exp(v - most));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((v) => v / sum);
}

async function timed(feed) {
  for (let i = 0; i < WARM_RUNS; i += 1) await session.run(feed);
  const times = [];
  const end = performance.now() + MOST_MS;
  while (times.length < MOST_RUNS && performance.now() < end) {
    const begin = performance.now();
    await session.run(feed);
    times.push(performance.now() - begin);
  }
  times.sort((a, b) => a - b);
  return { ms: times[times.length >> 2], runs: times.length };
}

async function classify(file) {
  show("running ...");
  const picture = document.getElementById("picture");
  URL.revokeObjectURL(picture.src);
  picture.src = URL.createObjectURL(file);
  picture.hidden = false;
  const size = facts.preprocessing.image_size;
  const values = normalised(squared(await decoded(file), size), facts.preprocessing);
  const feed = { [session.inputNames[0]]: new ort.Tensor("float32", values, [1, 3, size, size]) };
  const logits = (await session.run(feed))[session.outputNames[0]].data;
  const found = odds(logits);
  const order = [...found.keys()].sort((a, b) => found[b] - found[a]).slice(0, 3);
  const table = document.getElementById("answers");
  table.replaceChildren(...order.map((i) => {
    const row = document.createElement("tr");
    for (const text of [facts.labels[i] ?? String(i), found[i].toFixed(3)]) {
      row.append(Object.assign(document.createElement("td"), { textContent: text }));
    }
    return row;
  }));
  const { ms, runs } = await timed(feed);
  show(`${ms.toPrecision(3)} ms in this browser, one thread (lower quartile of ${runs} runs)`);
  return { values, logits, order, ms };
}

function take(files) {
  if (files.length) classify(files[0]).catch((error) => show(`this picture cannot be used: ${error.message}`, true));
}

const drop = document.getElementById("drop");
document.getElementById("title").textContent = facts.title;
document.getElementById("about").textContent = facts.about;
document.getElementById("file").addEventListener("change", (event) => take(event.target.files));
for (const kind of ["dragover", "dragleave", "drop"]) {
  drop.addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", kind === "dragover");
    if (kind === "drop") take(event.dataTransfer.files);
  });
}
globalThis.demo = { classify };
if (session) show("ready: nothing leaves this page");
