// The measuring page: it asks the server for tasks, has the worker do them, and shows how far the run is.
const HEARTBEAT_MS = 5000;
const RETRY_MS = 1000;
const SHOWN_EVERY_MS = 1000; // to draw the page takes the other half of a core from the burst that is being timed
const page = crypto.getRandomValues(new Uint32Array(4)).join("-");
const worker = new Worker("worker.mjs", { type: "module" });
const waiting = new Map();
let asked = 0;
let wasHidden = document.hidden;
let seen = () => {};

function show(id, text, failed = false) {
  const element = document.getElementById(id);
  if (element.textContent === text) return;
  element.textContent = text;
  element.className = failed ? "failed" : "";
}

class Refused extends Error {}

async function post(path, value) {
  const answer = await fetch(path, { method: "POST", body: JSON.stringify(value) });
  if (!answer.ok) {
    const text = await answer.text();
    let why = text;
    try { why = JSON.parse(text).error ?? text; } catch { /* it is plain text */ }
    throw new Refused(why.trim());
  }
  return answer.json();
}

// The server may be out of reach for a while, as when the network changes; a refusal is final.
async function persistently(path, value) {
  for (;;) {
    try {
      return await post(path, value);
    } catch (error) {
      if (error instanceof Refused) throw error;
      show("state", "deploy-nas is out of reach: trying again ...");
      await new Promise((done) => setTimeout(done, RETRY_MS));
    }
  }
}

worker.onmessage = ({ data }) => {
  const { done, failed } = waiting.get(data.id);
  waiting.delete(data.id);
  data.error === undefined ? done(data.value) : failed(new Error(data.error));
};
worker.onerror = (event) => {
  for (const { failed } of waiting.values()) failed(new Error(event.message || "the worker has ended"));
  waiting.clear();
};

function work(task) {
  return new Promise((done, failed) => {
    asked += 1;
    waiting.set(asked, { done, failed });
    worker.postMessage({ id: asked, task });
  });
}

// A burst that was timed while the page was hidden counts for nothing: it is timed again once the page is seen.
async function carriedOut(task) {
  for (;;) {
    while (document.hidden) await new Promise((done) => { seen = done; });
    wasHidden = false;
    const value = await work(task);
    if (!wasHidden || !["burst", "paced"].includes(task.do)) return value;
  }
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    wasHidden = true;
    show("state", "paused: the page is hidden or the screen is off");
  } else {
    keepAwake();
    seen();
  }
  tell();
});
addEventListener("pagehide", () => navigator.sendBeacon("state", JSON.stringify({ page, hidden: true, left: true })));

function tell() {
  post("state", { page, hidden: document.hidden }).catch(() => {});
}

async function keepAwake() {
  try { await navigator.wakeLock.request("screen"); } catch { /* not in every browser, nor without https */ }
}

function browserName(agent, brands) {
  const known = (brands ?? []).filter((b) => !/not.*brand/i.test(b.brand));
  const brand = known.find((b) => b.brand !== "Chromium") ?? known[0];
  if (brand) return `${brand.brand} ${brand.version.split(".")[0]}`;
  const found = /(Firefox|FxiOS|CriOS|EdgA?|SamsungBrowser|OPR|Chrome)\/(\d+)/.exec(agent)
    ?? /(Version)\/(\d+).*Safari/.exec(agent);
  return found ? `${found[1] === "Version" ? "Safari" : found[1]} ${found[2]}` : "";
}

async function facts() {
  const data = navigator.userAgentData;
  let told = {};
  try { told = await data.getHighEntropyValues(["architecture", "bitness", "model", "platformVersion"]); } catch { /* hidden */ }
  const clock = await work({ do: "clock" });
  let webgpu = false;
  try { webgpu = Boolean(await navigator.gpu?.requestAdapter()); } catch { /* there is none */ }
  return {
    page,
    agent: navigator.userAgent,
    browser: browserName(navigator.userAgent, data?.brands),
    cores: navigator.hardwareConcurrency || 1,
    machine: [told.architecture, told.bitness].filter(Boolean).join(" "),
    os: [data?.platform || navigator.platform, told.platformVersion].filter(Boolean).join(" "),
    device: told.model || "",
    isolated: Boolean(globalThis.crossOriginIsolated),
    webgpu,
    clock_ms: clock,
  };
}

function describe(found) {
  const shown = {
    browser: found.browser || found.agent,
    system: `${found.os} ${found.machine}, ${found.cores} cores`,
    clock: `steps of ${found.clock_ms.toPrecision(2)} ms`,
    threads: found.isolated ? "possible" : "one: this page is neither https nor localhost",
    WebGPU: found.webgpu ? "yes" : "no",
  };
  const list = document.getElementById("facts");
  for (const [name, text] of Object.entries(shown)) {
    list.append(Object.assign(document.createElement("dt"), { textContent: name }));
    list.append(Object.assign(document.createElement("dd"), { textContent: text }));
  }
}

let begun = 0;
let before = 0;
let shown = 0;
function progress(task) {
  if (!task.total || Date.now() - shown < SHOWN_EVERY_MS) return;
  shown = Date.now();
  if (!begun) [begun, before] = [Date.now(), task.done];
  document.getElementById("bar").max = task.total;
  document.getElementById("bar").value = task.done;
  const seconds = (Date.now() - begun) / 1000 / (task.done - before) * (task.total - task.done);
  const left = Number.isFinite(seconds) ? `, ${Math.round(seconds)} s left` : "";
  show("left", `${task.what}: ${task.done} of ${task.total}${left}`);
}

async function run() {
  const found = await facts();
  describe(found);
  await persistently("hello", found);
  keepAwake();
  setInterval(tell, HEARTBEAT_MS);
  tell();
  let answer = { page };
  for (;;) {
    const task = await persistently("turn", answer);
    answer = { page };
    if (task.do === "gone") return show("state", "another page has taken over this measurement", true);
    if (task.do === "end") return show("state", task.text, task.failed);
    if (task.do === "wait") continue;
    show("state", "measuring ...");
    progress(task);
    answer.answered = task.task;
    try {
      answer.answer = await carriedOut(task);
    } catch (error) {
      answer.answer = { error: String(error.message || error).slice(0, 500) };
    }
  }
}

run().catch((error) => show("state", error.message, true));
