// Plays low-latency DASH as it is written. Each segment is one fetch whose chunks are appended as they
// come; nothing is asked for twice. What fails is said and tried again each second: encoders come back.
import { clockAhead, Lateness } from "/console/lateness.js";
import { parse } from "/console/manifest.js";

const BEHIND_S = 0.2; // how far behind the newest byte it wants to be
const NEAR_S = 0.04; // near enough, a frame's time: the newest byte comes in steps of that
const TOO_FAR_S = 1; // it jumps instead of hurrying
const JOIN_S = 0.3; // what may be missing of what was encoded when it begins
const KEPT_S = 20; // of what was received
const AGAIN_MS = 1000;

let running = null; // aborts the one that plays
let lateness = null;

export function stop() {
  running?.abort();
}

/** What is measured of the picture; null while there is none. */
export function figures() {
  return lateness?.figures() ?? null;
}

async function get(url, signal) {
  const answer = await fetch(url, { signal });
  if (!answer.ok) throw new Error(`${url.pathname}: ${answer.status}`);
  return answer;
}

function once(target, name) {
  return new Promise((done) => target.addEventListener(name, done, { once: true }));
}

async function append(buffer, data) {
  const done = once(buffer, "updateend");
  buffer.appendBuffer(data);
  await done;
}

async function trim(buffer) {
  const ranges = buffer.buffered;
  if (!ranges.length || ranges.end(ranges.length - 1) - KEPT_S <= ranges.start(0)) return;
  const done = once(buffer, "updateend");
  buffer.remove(0, ranges.end(ranges.length - 1) - KEPT_S);
  await done;
}

/** Begins near the newest byte, once most of the segment's burst is there; whether it has begun. */
function join(video, start, began) {
  const ranges = video.buffered;
  if (!ranges.length) return false;
  const edge = ranges.end(ranges.length - 1);
  const now = Date.now() / 1000;
  if (now - start - edge > JOIN_S && now - began < TOO_FAR_S) return false; // an encoder that is late isn't waited for
  video.currentTime = Math.max(ranges.start(ranges.length - 1), edge - BEHIND_S);
  return true;
}

/** Keeps it there: a little faster or slower by how far off it is, or a jump. */
function steer(video) {
  if (video.paused || video.seeking) return; // who pauses it comes back to the edge
  const ranges = video.buffered;
  const begin = ranges.start(ranges.length - 1);
  const edge = ranges.end(ranges.length - 1);
  const off = edge - video.currentTime - BEHIND_S;
  if (off > TOO_FAR_S || video.currentTime < begin) {
    video.currentTime = Math.max(begin, edge - BEHIND_S);
  } else {
    const rate = Math.abs(off) < NEAR_S ? 1 : Math.min(1.25, Math.max(0.95, 1 + off));
    video.playbackRate = Math.round(100 * rate) / 100;
  }
}

async function play(video, url, say, signal) {
  const ahead = await clockAhead(signal);
  const stream = parse(await (await get(url, signal)).text(), url);
  if (!MediaSource.isTypeSupported(stream.mime)) throw new Error(`this browser plays no ${stream.mime}`);
  const start = stream.start - ahead; // by this browser's clock
  const source = new MediaSource();
  video.src = URL.createObjectURL(source);
  await once(source, "sourceopen");
  URL.revokeObjectURL(video.src);
  const buffer = source.addSourceBuffer(stream.mime);
  await append(buffer, await (await get(stream.init, signal)).arrayBuffer());
  const began = Date.now() / 1000;
  let isJoined = false;
  const timer = setInterval(() => {
    if (isJoined) steer(video);
    else isJoined = join(video, start, began);
  }, 50);
  signal.addEventListener("abort", () => clearInterval(timer));
  once(video, "seeked").then(() => {
    if (signal.aborted) return;
    lateness = new Lateness(video, start, signal);
    say("playing");
    video.play().catch((error) => error.name === "NotAllowedError" && say("this browser wants a click: press play"));
  });
  let number = stream.first + Math.floor((Date.now() / 1000 - start) / stream.segment);
  for (; ; number++) {
    const reader = (await get(stream.media(number), signal)).body.getReader();
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) await append(buffer, piece.value);
    await trim(buffer);
  }
}

/** Plays the manifest at `path` of `base()` until `stop`, or another call; false after that. Says how it goes. */
export async function watch(video, path, base, say) {
  stop();
  const own = (running = new AbortController());
  say("asking for the manifest");
  while (!own.signal.aborted) {
    const turn = new AbortController();
    const end = () => turn.abort();
    own.signal.addEventListener("abort", end);
    try {
      await play(video, new URL(path, await base()), say, turn.signal);
    } catch (error) {
      if (!own.signal.aborted) say(`${error.message}; trying again each second`);
    }
    turn.abort();
    own.signal.removeEventListener("abort", end);
    if (running === own) lateness = null;
    if (!own.signal.aborted) await new Promise((done) => setTimeout(done, AGAIN_MS));
  }
  if (running !== own) return false;
  video.pause();
  say("stopped");
  return true;
}
