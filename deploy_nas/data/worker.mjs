// Opens models with onnxruntime-web, runs them, and times bursts of runs, as device/timing.py does elsewhere.
const CLOCK_STEPS = 100; // a time spans so many steps of the clock, so that it is right to about 1%
const MOST_GROUP_MS = 50; // but not longer than this
const MOST_RUNS = 2000;
const KEPT_POINTS = 21;
const CORE_STEPS = 50000; // some 60 microseconds
const FINE_CLOCK_MS = 0.01; // a coarser clock cannot time them
const REMEMBERED_MS = 30000;
const SLOW_FACTOR = 1.4;
const COLD_MS = 1;
const LONG_MS = 20; // what happens within longer runs, readings before and after them do not tell
const WAIT_SHARE = 2;
const MOST_WAIT_MS = 60000;
const MOST_GIVEN_BYTES = 400e6; // of the weights of models that are kept open

const sessions = new Map(); // key -> { session, bytes }, least recently used first
let given = new Uint8Array(0); // random values that serve as the weights of every model
let clockMs;
let ort;

function clock() {
  if (clockMs === undefined) {
    const steps = [];
    let last = performance.now();
    const end = last + 200;
    while (steps.length < 101 && last < end) {
      const now = performance.now();
      if (now > last) steps.push(now - last);
      last = now;
    }
    steps.sort((a, b) => a - b);
    clockMs = steps[steps.length >> 1] || 200;
  }
  return clockMs;
}

// Is this core slow at this moment? As device/core_speed.py does elsewhere. Loads and stores in the nearest cache
// take nearly twice as long while the other half of the core has work.
const near = new Int32Array(1024);
const coreLimitsMs = [Infinity, Infinity]; // of the last half minute, of this one
let coreSince = 0;
let coreLeftMs = MOST_WAIT_MS; // that may be lost to slow moments; twice the time that was not lost is added
const coreIsSlow = (ms) => ms > Math.min(...coreLimitsMs);

function coreMs() {
  const begin = performance.now();
  let total = 0;
  for (let i = 0; i < CORE_STEPS; i += 1) {
    near[i & 1023] = (near[(i * 7) & 1023] + i) | 0;
    total ^= near[(i * 13) & 1023];
  }
  near[0] = total;
  const ms = performance.now() - begin;
  if (begin - coreSince > REMEMBERED_MS) {
    coreLimitsMs[0] = coreLimitsMs[1];
    coreLimitsMs[1] = Infinity;
    coreSince = begin;
  }
  if (ms > 0) coreLimitsMs[1] = Math.min(coreLimitsMs[1], SLOW_FACTOR * ms);
  if (coreIsSlow(ms)) coreLeftMs -= ms;
  return ms;
}

async function groups(run, size, count, least, core) {
  const found = [];
  let counted = 0;
  let before = core ? coreMs() : 0;
  while (counted < count && (found.length < least || coreLeftMs > 0 || !coreIsSlow(before))) {
    if (core && coreIsSlow(before) && coreLeftMs > 0) {
      while (coreIsSlow(before) && coreLeftMs > 0) before = coreMs();
      const start = performance.now();
      do await run(); while (performance.now() < start + COLD_MS); // the other work has had the caches
      coreLeftMs -= performance.now() - start;
      before = coreMs();
      continue;
    }
    const begin = performance.now();
    for (let k = 0; k < size; k += 1) await run();
    const took = performance.now() - begin;
    const after = core ? coreMs() : 0;
    const beside = Math.max(before, after);
    const slow = core && coreIsSlow(beside);
    coreLeftMs = Math.min(MOST_WAIT_MS, coreLeftMs + (slow ? -took : WAIT_SHARE * took));
    if (!slow) counted += 1;
    found.push({ ms: took / size, beside, slow });
    before = after;
  }
  const quiet = found.filter((one) => !one.slow);
  return quiet.length >= Math.max(least, count / 3) ? quiet : found;
}

// Biases come from the same values, so that no activation shrinks to a denormal number.
function weights(bytes) {
  if (given.length < bytes) {
    const values = new Float32Array(Math.ceil(bytes / 4));
    let state = 2463534242;
    const uniform = () => {
      state ^= state << 13; state ^= state >>> 17; state ^= state << 5;
      return (state >>> 0) / 4294967296;
    };
    for (let i = 0; i < values.length; i += 1) {
      values[i] = 0.1 * (uniform() + uniform() + uniform() + uniform() - 2);
    }
    given = new Uint8Array(values.buffer);
  }
  return given;
}

async function library(provider, threads) {
  if (ort === undefined) {
    ort = await import(`./ort/ort.${provider}.min.mjs`);
    ort.env.wasm.wasmPaths = new URL("./ort/", import.meta.url).href;
    ort.env.wasm.numThreads = threads;
    ort.env.wasm.proxy = false;
    ort.env.logLevel = "error";
  } else if (ort.env.wasm.numThreads !== threads) {
    throw new Error("the number of threads changed: reload the page");
  }
  return ort;
}

async function open(task) {
  const key = `${task.model} ${task.provider} ${task.fused}`;
  const held = sessions.get(key);
  if (held !== undefined) {
    sessions.delete(key);
    sessions.set(key, held);
    return held.session;
  }
  const { InferenceSession } = await library(task.provider, task.threads);
  const graph = new Uint8Array(await (await fetch(`model/${task.model}`)).arrayBuffer());
  const options = {
    executionProviders: [task.provider],
    graphOptimizationLevel: task.fused ? "all" : "disabled",
    intraOpNumThreads: task.threads,
  };
  if (task.given_bytes) options.externalData = [{ path: "given", data: weights(task.given_bytes) }];
  const session = await InferenceSession.create(graph, options);
  sessions.set(key, { session, bytes: graph.length + task.given_bytes * 4 });
  await release(key);
  return session;
}

async function release(newest) {
  let bytes = 0;
  for (const held of sessions.values()) bytes += held.bytes;
  for (const [key, held] of sessions) {
    if (bytes <= MOST_GIVEN_BYTES || key === newest) return;
    bytes -= held.bytes;
    sessions.delete(key);
    await held.session.release();
  }
}

function described(metadata) {
  return metadata.map((one) => ({ name: one.name, shape: one.shape ?? [], dtype: one.type ?? "" }));
}

function drawn(shape) {
  const values = new Float32Array(shape.reduce((a, b) => a * b, 1));
  for (let i = 0; i < values.length; i += 1) {
    values[i] = Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
  }
  return new ort.Tensor("float32", values, shape);
}

async function runner(task) {
  const session = await open(task);
  const feed = { [task.input]: drawn(task.shape) };
  return () => session.run(feed);
}

// Where the clock is coarse, a time is that of several runs, divided by their number.
async function burst(task) {
  const run = await runner(task);
  const step = clock();
  const entered = performance.now();
  let quickest = Infinity;
  let warm = 0;
  while (warm < Math.max(1, task.warmup_runs) || performance.now() - entered < Math.max(task.warmup_ms, 10 * step)) {
    const begin = performance.now();
    await run();
    quickest = Math.min(quickest, performance.now() - begin);
    warm += 1;
  }
  const single = quickest >= 10 * step ? quickest : (performance.now() - entered) / warm;
  const group = Math.max(1, Math.ceil(Math.min(CLOCK_STEPS * step, Math.max(MOST_GROUP_MS, 20 * step)) / single));
  const asked = group === 1 ? task.least_runs : 2 * group;
  const runs = Math.min(MOST_RUNS, Math.max(asked, task.burst_ms / single));
  const count = Math.max(1, Math.floor(runs / group));
  const least = Math.min(count, Math.ceil(task.least_runs / group));
  const core = task.provider === "wasm" && task.threads === 1 && step <= FINE_CLOCK_MS && single <= LONG_MS;
  const counted = await groups(run, group, count, least, core);
  const beside = counted.map((one) => one.beside).sort((a, b) => a - b)[counted.length >> 1];
  return {
    runs: counted.length * group,
    points_ms: kept(counted.map((one) => one.ms)),
    ...(beside > 0 ? { core_us: 1000 * beside } : {}),
  };
}

function kept(times) {
  times.sort((a, b) => a - b);
  const count = Math.min(times.length, KEPT_POINTS);
  return Array.from({ length: count }, (_, i) => times[Math.round(i / Math.max(1, count - 1) * (times.length - 1))]);
}

async function paced(task) {
  const run = await runner(task);
  await run();
  const times = [];
  let due = performance.now();
  for (let i = 0; i < task.runs; i += 1) {
    due = Math.max(due + task.every_ms, performance.now());
    await new Promise((done) => setTimeout(done, due - performance.now()));
    const begin = performance.now();
    await run();
    times.push(Math.max(performance.now() - begin, clock() / 2));
  }
  return { times_ms: times };
}

function coded(values) {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}

async function runOnce(task) {
  const session = await open(task);
  const bytes = Uint8Array.from(atob(task.values), (letter) => letter.charCodeAt(0));
  const found = await session.run({ [task.input]: new ort.Tensor("float32", new Float32Array(bytes.buffer), task.shape) });
  return {
    outputs: task.outputs.map((name) => ({ shape: found[name].dims, dtype: found[name].type, values: coded(found[name].data) })),
  };
}

const tasks = {
  clock: async () => clock(),
  open: async (task) => {
    const session = await open(task);
    return { inputs: described(session.inputMetadata), outputs: described(session.outputMetadata) };
  },
  burst,
  paced,
  run: runOnce,
};

let last = Promise.resolve();
onmessage = ({ data: { id, task } }) => {
  last = last.then(async () => {
    try {
      postMessage({ id, value: await tasks[task.do](task) });
    } catch (error) {
      postMessage({ id, error: String(error?.message ?? error) });
    }
  });
};
