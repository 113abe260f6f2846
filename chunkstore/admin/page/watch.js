// Plays low-latency DASH as it is written: SegmentTemplate with $Number$, CMAF, H.264.
// Each segment is one fetch whose chunks are appended as they come; nothing is asked for twice.

const BEHIND_S = 0.3; // how far from the live edge it wants to be
const TOO_FAR_S = 1; // it jumps to the edge instead of hurrying
const KEPT_S = 20; // of what was played

let running = null; // aborts the one that plays

export function stop() {
  running?.abort();
}

/** What a manifest says of its first picture; throws an Error with a sentence where it isn't one of these. */
function parse(text, url) {
  const doc = new DOMParser().parseFromString(text, "text/xml");
  const sets = [...doc.querySelectorAll("AdaptationSet")];
  const isVideo = (set) =>
    (set.getAttribute("contentType") ?? set.getAttribute("mimeType") ?? set.querySelector("Representation")?.getAttribute("mimeType") ?? "").startsWith("video");
  const representation = sets.find(isVideo)?.querySelector("Representation");
  const template = representation?.querySelector("SegmentTemplate") ?? representation?.parentElement.querySelector("SegmentTemplate");
  if (!template?.getAttribute("duration")) throw new Error("no SegmentTemplate with a duration and a picture in it");
  const number = (name, otherwise) => Number(template.getAttribute(name) ?? otherwise);
  const id = representation.getAttribute("id");
  const fill = (pattern, value) =>
    pattern
      .replace("$RepresentationID$", id)
      .replace(/\$Number(?:%0(\d+)d)?\$/, (_, width) => String(value).padStart(Number(width ?? 0), "0"));
  return {
    mime: `video/mp4; codecs="${representation.getAttribute("codecs")}"`,
    start: Date.parse(doc.documentElement.getAttribute("availabilityStartTime")) / 1000,
    segment: number("duration") / number("timescale", 1),
    first: number("startNumber", 1),
    init: new URL(fill(template.getAttribute("initialization")), url),
    media: (value) => new URL(fill(template.getAttribute("media"), value), url),
  };
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

async function trim(buffer, video) {
  const upto = video.currentTime - KEPT_S;
  if (!buffer.buffered.length || buffer.buffered.start(0) >= upto) return;
  const done = once(buffer, "updateend");
  buffer.remove(0, upto);
  await done;
}

/** Keeps the picture near the live edge: plays a little faster or slower, jumps when it is far off. */
function steer(video) {
  const ranges = video.buffered;
  if (!ranges.length) return;
  const edge = ranges.end(ranges.length - 1);
  const behind = edge - video.currentTime;
  if (behind > TOO_FAR_S || video.currentTime < ranges.start(ranges.length - 1)) video.currentTime = Math.max(ranges.start(ranges.length - 1), edge - BEHIND_S);
  else video.playbackRate = behind > BEHIND_S + 0.1 ? 1.1 : behind < 0.1 ? 0.95 : 1;
  if (video.paused) video.play().catch(() => {}); // a browser that wants a click first shows its controls
}

/** Measures how late each frame is; the text for it. */
function meter(video, start, signal) {
  const late = [];
  let stalls = 0;
  video.addEventListener("waiting", () => late.length && stalls++, { signal });
  const look = (_, frame) => {
    if (signal.aborted) return;
    late.push(Date.now() / 1000 - start - frame.mediaTime);
    if (late.length > 1000) late.shift();
    video.requestVideoFrameCallback(look);
  };
  video.requestVideoFrameCallback(look);
  return () => {
    if (!late.length) return "waiting for the first picture";
    const sorted = [...late].sort((one, other) => one - other);
    const quantile = (share) => Math.round(1000 * sorted[Math.floor(share * (sorted.length - 1))]);
    video.dataset.p95Ms = quantile(0.95);
    video.dataset.stalls = stalls;
    return `late by ${quantile(0.5)} ms, 95 of 100 frames by at most ${quantile(0.95)} ms; ${stalls} stalls`;
  };
}

async function play(video, url, say, signal) {
  const stream = parse(await (await get(url, signal)).text(), url);
  if (!MediaSource.isTypeSupported(stream.mime)) throw new Error(`this browser plays no ${stream.mime}`);
  const source = new MediaSource();
  video.src = URL.createObjectURL(source);
  await once(source, "sourceopen");
  const buffer = source.addSourceBuffer(stream.mime);
  await append(buffer, await (await get(stream.init, signal)).arrayBuffer());
  const text = meter(video, stream.start, signal);
  const timer = setInterval(() => {
    steer(video);
    say(text());
  }, 200);
  signal.addEventListener("abort", () => clearInterval(timer));
  let number = stream.first + Math.floor((Date.now() / 1000 - stream.start) / stream.segment);
  for (; ; number++) {
    const reader = (await get(stream.media(number), signal)).body.getReader();
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) await append(buffer, piece.value);
    await trim(buffer, video);
  }
}

/** Plays the manifest at `path` of `base` until `stop`, another call, or an error, which is said. */
export async function watch(video, path, base, say) {
  stop();
  const own = (running = new AbortController());
  say("asking for the manifest");
  try {
    await play(video, new URL(path, base), say, own.signal);
  } catch (error) {
    if (running === own) say(own.signal.aborted ? "stopped" : `stopped: ${error.message}`);
  }
  own.abort();
}
