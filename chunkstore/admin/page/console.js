// The views of the console. Rows are kept and changed, so that a thousand of them cost little.
import { bytes, cells, counted, duration, keyed, made, plot } from "/console/draw.js";
import { onChange, remember, settings, start, state } from "/console/source.js";
import { figures, stop, watch } from "/console/watch.js";

const byId = (id) => document.getElementById(id);
const LATE_S = 2; // an upload that is silent for so long is shown as late

// --- live ----------------------------------------------------------------------------------------

function folderTable(folder) {
  const block = made("div");
  const head = made("tr");
  for (const text of ["upload", "grown", "size", "readers", "longest gap", "silent"]) {
    const cell = made("th", text, head.children.length > 1 ? "number" : "");
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
  const row = cells("", "", "number", "number", "number", "number");
  row.children[1].append(made("span", "", "bar"));
  return row;
}

function drawUpload(row, upload, largest) {
  const [name, grown, size, readers, gap, silent] = row.children;
  const isLate = upload.silent_s > LATE_S;
  row.className = isLate ? "late" : "";
  name.textContent = decodeURI(upload.path.slice(upload.path.lastIndexOf("/") + 1));
  grown.firstChild.style.width = `${(100 * upload.bytes) / largest}%`;
  size.textContent = bytes(upload.bytes);
  readers.textContent = upload.readers;
  gap.textContent = duration(upload.longest_gap_s);
  silent.textContent = `${isLate ? "late: " : ""}${duration(upload.silent_s)}`;
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

// --- endings, slow readers, memory, settings ---------------------------------------------------------

const more = (one) => (one.run > 1 ? `, and ${one.run - 1} before it in this folder` : "");
const ENDING_TEXTS = {
  aborted: (one) => `${one.path} broke off: ${one.cause}, after ${bytes(one.bytes)}`,
  displaced: (one) => `${one.path} was displaced by a newer upload, after ${bytes(one.bytes)}`,
  taken_over: (one) =>
    `${one.path}: ${counted(one.readers, "reader")} ` +
    (one.differs_at === undefined ? "can go on in the retry" : `met other bytes at ${one.differs_at}`),
  deleted: (one) => `${one.path} was deleted${more(one)}`,
  expired: (one) => `${one.path} expired${more(one)}`,
  evicted: (one) => `${one.path} went for want of memory${more(one)}`,
  lost: (one) => `${counted(one.count, "event")} before this cannot be told any more`,
};
const BAD = new Set(["aborted", "displaced", "lost"]);
let saidSerial = 0;

function drawEndings() {
  const make = ({ kind }) => made("li", "", BAD.has(kind) ? "bad" : "");
  keyed(byId("endings"), state.endings, (one) => one.serial, make, (item, one) => {
    const text = `${one.at.toLocaleTimeString()} ${ENDING_TEXTS[one.kind](one)}`;
    if (item.textContent !== text) item.textContent = text;
  });
  // To be heard are those that went wrong, and one a second.
  const bad = state.endings.filter((one) => BAD.has(one.kind) && one.serial > saidSerial);
  if (bad.length) {
    saidSerial = bad[0].serial;
    const others = bad.length > 1 ? `, and ${bad.length - 1} more` : "";
    byId("ended-said").textContent = ENDING_TEXTS[bad[0].kind](bad[0]) + others;
  }
  const endings = [...state.samples]
    .map(([name, count]) => [name.match(/^chunkstore_endings_total\{ending="(\w+)"\}$/)?.[1], count])
    .filter(([ending]) => ending);
  const sum = endings.map(([ending, count]) => `${count} ${ending.replace("_", " ")}`).join(", ");
  byId("ended-sum").textContent = `Answers since the start: ${sum || "none"}`;
}

function drawSlow() {
  const make = () => cells("", "", "number", "number");
  keyed(byId("slow-rows"), state.slow.slice(0, 20), (one) => one.client, make, (row, one) => {
    const texts = [one.client, one.path ?? "", bytes(one.unsent_bytes), duration(one.behind_s)];
    texts.forEach((text, index) => (row.children[index].textContent = text));
  });
  byId("slow-none").hidden = state.slow.length > 0;
  byId("slow-table").hidden = !state.slow.length;
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
  const text = state.isAlive ? "connected" : "the server does not answer; asking again each second";
  if (link.textContent !== text) link.textContent = text; // it is read out when it changes
  link.className = state.isAlive ? "" : "dead";
  document.querySelector("main").classList.toggle("stale", !state.isAlive); // what was last known
  drawWatch();
  if (!state.isAlive) return;
  drawLive();
  plot(byId("gaps"), state.gaps);
  plot(byId("ages"), state.ages);
  drawEndings();
  drawSlow();
  drawMemory();
  drawSettings();
});

// --- watch ---------------------------------------------------------------------------------------

/** Where this browser reaches the data port. */
async function dataUrl() {
  const url = new URL((await settings()).data_urls[0] ?? location.origin);
  if (["0.0.0.0", "[::]"].includes(url.hostname)) url.hostname = location.hostname; // every address
  return url;
}

const late = [];
const video = byId("watch-video");
const stopButton = byId("watch-stop");
const say = (text) => (byId("watch-said").textContent = text);

function drawWatch() {
  if (video.hidden) return;
  const now = figures();
  remember(late, now?.latest ?? null);
  plot(byId("watch-late"), late);
  byId("watch-figures").textContent = now
    ? `Of the last ${counted(now.frames, "frame")} half are late by at most ${duration(now.p50)}, 95 of 100 by` +
      ` ${duration(now.p95)}, all by ${duration(now.max)}. ${counted(now.stalls, "stall")},` +
      ` ${counted(now.jumps, "jump")} to the edge.` +
      (now.still ? ` The picture stands still for ${duration(now.still)}.` : "")
    : "";
}

async function play(path) {
  byId("watch-path").value = path;
  video.hidden = byId("watch-shown").hidden = false;
  late.length = 0;
  stopButton.disabled = false;
  if (await watch(video, path, dataUrl, say)) stopButton.disabled = true;
}

byId("watch-path").addEventListener("focus", findManifests);
byId("watch-form").addEventListener("submit", (event) => {
  event.preventDefault();
  play(byId("watch-path").value);
});
stopButton.addEventListener("click", () => stop());

/** The page as it was asked for with ?watch=PATH: a view of the picture, with everything else below. */
function openWatchView(path) {
  const section = byId("watch");
  document.querySelector("main").prepend(section);
  section.classList.add("wide");
  document.title = `${path} - chunkstore`;
  play(path);
}

const asked = new URLSearchParams(location.search).get("watch");
if (asked) openWatchView(asked);
start();
