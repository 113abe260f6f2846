// Where all views have their data from: one event stream, and the tables once a second.

const HISTORY = 300; // seconds that plots show
const ENDINGS = 100;

export const state = {
  isAlive: false,
  open: [], // rows of /objects?open
  slow: [], // rows of /connections whose client has bytes left to take each time one looks
  samples: new Map(), // of /metrics, by name and labels
  gaps: [], // a number a second, in seconds; null: nothing to measure
  ages: [],
  endings: [], // newest first; a run of one kind in one folder is one, with a count
  settings: null,
};

const watchers = [];

/** Calls `draw` once a second, whether the server answers or not. */
export function onChange(draw) {
  watchers.push(draw);
}

const INTERESTING = ["aborted", "displaced", "taken_over", "deleted", "expired", "evicted", "lost"];
const IN_RUNS = new Set(["deleted", "expired", "evicted"]); // a window that moves on has one a second
const folderOf = (path) => path?.slice(0, path.lastIndexOf("/") + 1);

function noteEnding(kind, facts) {
  const last = state.endings[0];
  const goesOn = last?.kind === kind && IN_RUNS.has(kind) && folderOf(last.path) === folderOf(facts.path);
  const { run, serial } = goesOn ? state.endings.shift() : { run: 0, serial: ++lastSerial };
  state.endings.unshift({ kind, at: new Date(), ...facts, run: run + 1, serial });
  state.endings.length = Math.min(state.endings.length, ENDINGS);
}

let lastSerial = 0;
let events = null;

/** The one stream of events; it reconnects by itself and goes on where it was, but not after a refusal. */
function listen() {
  if (events && events.readyState !== EventSource.CLOSED) return;
  events = new EventSource("/events");
  for (const kind of INTERESTING) {
    events.addEventListener(kind, (event) => noteEnding(kind, JSON.parse(event.data)));
  }
}

async function ask(path) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(5000) });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer;
}

/** What /settings says; asked once of each process. */
export async function settings() {
  return (state.settings ??= await ask("/settings").then((answer) => answer.json()));
}

function samplesOf(text) {
  const samples = new Map();
  for (const line of text.split("\n")) {
    const at = line.lastIndexOf(" ");
    if (at > 0 && line[0] !== "#") samples.set(line.slice(0, at), Number(line.slice(at + 1)));
  }
  return samples;
}

/** The value that 99 of 100 of what a histogram counted since `before` do not exceed; null if it counted nothing. */
function p99(name, before, now) {
  const grown = (key) => (now.get(key) ?? 0) - (before.get(key) ?? 0);
  const total = grown(`${name}_count`);
  if (total <= 0) return null;
  for (const key of now.keys()) {
    const bucket = key.startsWith(`${name}_bucket{le="`) && key.slice(`${name}_bucket{le="`.length, -2);
    if (bucket && grown(key) >= 0.99 * total) return bucket === "+Inf" ? 10 : Number(bucket);
  }
  return null;
}

/** Adds the newest of the last seconds; null: nothing to measure. */
export function remember(history, value) {
  history.push(value);
  if (history.length > HISTORY) history.shift();
}

const SLOW_S = 4; // who has bytes left to take so often in turn; at one moment some are always on their way
let behind = new Map(); // client -> for how many looks it has had some

function slowOf(rows) {
  const late = rows.filter((row) => row.unsent_bytes > 0);
  behind = new Map(late.map((row) => [row.client, (behind.get(row.client) ?? 0) + 1]));
  return late.map((row) => ({ ...row, behind_s: behind.get(row.client) })).filter((row) => row.behind_s >= SLOW_S);
}

async function look() {
  const [objects, connections, metrics] = await Promise.all([
    ask("/objects?open").then((answer) => answer.json()),
    ask("/connections?slow").then((answer) => answer.json()),
    ask("/metrics").then((answer) => answer.text()),
  ]);
  await settings();
  const before = state.samples;
  state.samples = samplesOf(metrics);
  state.open = objects.objects;
  state.slow = slowOf(connections.connections);
  const silent = state.open.map((row) => row.silent_s).filter((value) => value !== null);
  remember(state.gaps, silent.length ? Math.max(...silent) : null);
  remember(state.ages, before.size ? p99("chunkstore_sent_age_seconds", before, state.samples) : null);
}

async function lookForever() {
  for (;;) {
    try {
      await look();
      listen();
      state.isAlive = true;
    } catch {
      state.isAlive = false; // it says so, and comes back with the next look
      state.settings = null; // another process may have others
      remember(state.gaps, null);
      remember(state.ages, null);
    }
    for (const draw of watchers) draw(state);
    await new Promise((done) => setTimeout(done, 1000));
  }
}

export function start() {
  listen();
  lookForever();
}
