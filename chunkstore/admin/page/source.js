// Where all views have their data from: one event stream, and the tables once a second.

const HISTORY = 300; // seconds that plots show
const ENDINGS = 100;

export const state = {
  isAlive: false,
  open: [], // rows of /objects?open
  slow: [], // rows of /connections whose client has bytes left to take
  samples: new Map(), // of /metrics, by name and labels
  gaps: [], // a number a second, in seconds; null: nothing to measure
  ages: [],
  endings: [], // newest first
  settings: null,
};

const watchers = [];

/** Calls `draw` once a second, whether the server answers or not. */
export function onChange(draw) {
  watchers.push(draw);
}

const INTERESTING = ["aborted", "displaced", "taken_over", "deleted", "expired", "evicted", "lost"];

function listen() {
  const events = new EventSource("/events"); // reconnects by itself, and goes on where it was
  for (const kind of INTERESTING) {
    events.addEventListener(kind, (event) => {
      state.endings.unshift({ kind, at: new Date(), ...JSON.parse(event.data) });
      state.endings.length = Math.min(state.endings.length, ENDINGS);
    });
  }
}

async function ask(path) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(5000) });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer;
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

function remember(history, value) {
  history.push(value);
  if (history.length > HISTORY) history.shift();
}

async function look() {
  const [objects, connections, metrics] = await Promise.all([
    ask("/objects?open").then((answer) => answer.json()),
    ask("/connections").then((answer) => answer.json()),
    ask("/metrics").then((answer) => answer.text()),
  ]);
  state.settings ??= await ask("/settings").then((answer) => answer.json());
  const before = state.samples;
  state.samples = samplesOf(metrics);
  state.open = objects.objects;
  state.slow = connections.connections.filter((row) => row.unsent_bytes > 0);
  const silent = state.open.map((row) => row.silent_s).filter((value) => value !== null);
  remember(state.gaps, silent.length ? Math.max(...silent) : null);
  remember(state.ages, before.size ? p99("chunkstore_sent_age_seconds", before, state.samples) : null);
}

async function lookForever() {
  for (;;) {
    try {
      await look();
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
