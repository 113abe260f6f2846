// The views of the console. Rows are kept and changed, so that a thousand of them cost little.
import { onChange, start, state } from "/console/source.js";
import { stop, watch } from "/console/watch.js";

const byId = (id) => document.getElementById(id);
const LATE_S = 2; // an upload that is silent for so long is shown as late

function bytes(count) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  while (count >= 1024 && at < units.length - 1) [count, at] = [count / 1024, at + 1];
  return `${count < 10 && at ? count.toFixed(1) : Math.round(count)} ${units[at]}`;
}

const duration = (seconds) =>
  seconds === null ? "" : seconds < 1 ? `${Math.round(seconds * 1000)} ms` : `${seconds.toFixed(1)} s`;

const counted = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

function made(name, text = "", className = "") {
  const element = document.createElement(name);
  element.textContent = text;
  if (className) element.className = className;
  return element;
}

/** Makes `parent` have one child for each of `items`, in their order: kept by key, made, changed. */
function keyed(parent, items, keyOf, make, change) {
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

// --- live ----------------------------------------------------------------------------------------

function folderTable(folder) {
  const block = made("div");
  const head = made("tr");
  for (const [text, className] of [["upload"], ["grown"], ["", ""], ["readers", "number"], ["longest gap", "number"], ["silent", "number"]]) {
    const cell = made("th", text, className);
    cell.scope = "col";
    head.append(cell);
  }
  const table = made("table");
  table.append(made("thead"), made("tbody"));
  table.tHead.append(head);
  block.append(made("h3", decodeURI(folder.name)), table);
  return block;
}

function uploadRow() {
  const row = made("tr");
  for (const className of ["", "", "number", "number", "number", "number"]) row.append(made("td", "", className));
  row.children[1].append(made("span", "", "bar"));
  return row;
}

function drawUpload(row, upload, largest) {
  const [name, grown, size, readers, gap, silent] = row.children;
  row.className = upload.silent_s > LATE_S ? "late" : "";
  name.textContent = decodeURI(upload.path.slice(upload.path.lastIndexOf("/") + 1));
  grown.firstChild.style.width = `${(100 * upload.bytes) / largest}%`;
  size.textContent = bytes(upload.bytes);
  readers.textContent = upload.readers;
  gap.textContent = duration(upload.longest_gap_s);
  silent.textContent = duration(upload.silent_s);
}

function drawLive() {
  const folders = new Map();
  for (const upload of state.open) {
    const name = upload.path.slice(0, upload.path.lastIndexOf("/") + 1);
    if (!folders.has(name)) folders.set(name, { name, uploads: [] });
    folders.get(name).uploads.push(upload);
  }
  const readers = state.open.reduce((sum, upload) => sum + upload.readers, 0);
  byId("live-sum").textContent = state.open.length
    ? `${counted(state.open.length, "upload")} under way, ${counted(readers, "reader")}`
    : "Nothing is being written.";
  const largest = Math.max(1, ...state.open.map((upload) => upload.bytes));
  const sorted = [...folders.values()].sort((one, other) => (one.name < other.name ? -1 : 1));
  keyed(byId("folders"), sorted, (folder) => folder.name, folderTable, (block, folder) => {
    const change = (row, upload) => drawUpload(row, upload, largest);
    keyed(block.querySelector("tbody"), folder.uploads, (upload) => upload.generation, uploadRow, change);
  });
}

// --- plots ---------------------------------------------------------------------------------------

function drawPlot(svg, output, values) {
  const highest = Math.max(0.001, ...values.filter((value) => value !== null));
  svg.setAttribute("viewBox", "0 0 300 100");
  svg.setAttribute("preserveAspectRatio", "none");
  const lines = [[]]; // a new one after each second without a value
  values.forEach((value, index) => {
    if (value === null) lines.push([]);
    else lines.at(-1).push(`${300 - values.length + index},${100 - (95 * value) / highest}`);
  });
  svg.replaceChildren(
    ...lines.filter((line) => line.length).map((line) => {
      const shape = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
      shape.setAttribute("points", line.length > 1 ? line.join(" ") : `${line[0]} ${line[0]}`);
      return shape;
    }),
  );
  const now = values.at(-1) ?? null;
  output.textContent = now === null ? "" : `${duration(now)}, at most ${duration(highest)}`;
}

// --- the rest ------------------------------------------------------------------------------------

const ENDING_TEXTS = {
  aborted: (one) => `${one.path} broke off: ${one.cause}, after ${bytes(one.bytes)}`,
  displaced: (one) => `${one.path} was displaced by a newer upload, after ${bytes(one.bytes)}`,
  taken_over: (one) =>
    `${one.path}: ${counted(one.readers, "reader")} ${one.differs_at === undefined ? "can go on in the retry" : `met other bytes at ${one.differs_at}`}`,
  deleted: (one) => `${one.path} was deleted`,
  expired: (one) => `${one.path} expired`,
  evicted: (one) => `${one.path} went for want of memory`,
  lost: (one) => `${counted(one.count, "event")} before this cannot be told any more`,
};
let lastSerial = 0;
const BAD = new Set(["aborted", "displaced", "lost"]);

function drawEndings() {
  const serial = (one) => (one.serial ??= ++lastSerial);
  const make = (one) =>
    made("li", `${one.at.toLocaleTimeString()} ${ENDING_TEXTS[one.kind](one)}`, BAD.has(one.kind) ? "bad" : "");
  keyed(byId("endings"), state.endings, serial, make, () => {});
  const endings = [...state.samples]
    .map(([name, count]) => [name.match(/^chunkstore_endings_total\{ending="(\w+)"\}$/)?.[1], count])
    .filter(([ending]) => ending);
  byId("ended-sum").textContent = `Answers since the start: ${endings
    .map(([ending, count]) => `${count} ${ending.replace("_", " ")}`)
    .join(", ")}`;
}

function drawSlow() {
  const make = () => {
    const row = made("tr");
    for (let cell = 0; cell < 4; cell++) row.append(made("td"));
    return row;
  };
  keyed(byId("slow-rows"), state.slow.slice(0, 20), (one) => one.client, make, (row, one) => {
    const texts = [one.client, one.path ?? "", bytes(one.unsent_bytes), duration(one.age_s ?? null)];
    texts.forEach((text, index) => (row.children[index].textContent = text));
  });
  byId("slow-none").hidden = state.slow.length > 0;
}

function drawMemory() {
  const budget = state.samples.get("chunkstore_memory_budget_bytes") ?? 0;
  const use = (name) => state.samples.get(`chunkstore_memory_bytes{use="${name}"}`) ?? 0;
  const [open, complete, superseded] = ["open", "complete", "superseded"].map(use);
  const meter = byId("memory-meter");
  Object.assign(meter, { max: budget || 1, high: 0.9 * budget, value: open + complete + superseded });
  byId("memory-sum").textContent =
    `${bytes(meter.value)} of ${bytes(budget)}: ${bytes(open)} being written, ${bytes(complete)} complete,` +
    ` ${bytes(superseded)} kept for a retry; ${state.samples.get("chunkstore_objects") ?? 0} names`;
}

function drawSettings() {
  if (!state.settings) return;
  const rows = Object.entries(state.settings.settings);
  const make = ([key]) => {
    const row = made("tr");
    const head = made("th", key);
    head.scope = "row";
    row.append(head, made("td"));
    return row;
  };
  keyed(byId("settings-rows"), rows, ([key]) => key, make, (row, [, value]) => (row.children[1].textContent = value));
}

async function findManifests() {
  if (!state.isAlive) return;
  const found = await fetch("/objects").then((answer) => answer.json());
  const paths = found.objects.map((one) => one.path).filter((path) => path.endsWith(".mpd"));
  byId("manifests").replaceChildren(...paths.map((path) => Object.assign(made("option"), { value: path })));
}

onChange(() => {
  const link = byId("link");
  link.textContent = state.isAlive ? "connected" : "the server does not answer; asking again each second";
  link.className = state.isAlive ? "" : "dead";
  if (!state.isAlive) return;
  drawLive();
  drawPlot(byId("gap-plot"), byId("gap-now"), state.gaps);
  drawPlot(byId("age-plot"), byId("age-now"), state.ages);
  drawEndings();
  drawSlow();
  drawMemory();
  drawSettings();
});

/** Where this browser reaches the data port. */
function dataUrl() {
  const url = new URL(state.settings?.data_urls[0] ?? location.origin);
  if (["0.0.0.0", "[::]"].includes(url.hostname)) url.hostname = location.hostname; // every address
  return url;
}

const stopButton = byId("watch-stop");
const say = (text) => (byId("watch-said").textContent = text);
byId("watch-path").addEventListener("focus", findManifests);
byId("watch-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  stopButton.disabled = false;
  await watch(byId("watch-video"), byId("watch-path").value, dataUrl(), say);
  stopButton.disabled = true;
});
stopButton.addEventListener("click", () => stop());
start();
