// How late the picture is: of each frame, from its time in the stream, by the manifest's clock, to the
// moment at which the browser promises it to the screen.

const WINDOW_S = 30; // figures are of the frames of so long
const STILL_S = 0.25; // a picture that stands so long, and two frames more, has stalled

/** How far the server's clock is ahead of this browser's, in seconds: by the fastest of a few answers. */
export async function clockAhead(signal) {
  let fastest = { took: Infinity, ahead: 0 };
  for (let turn = 0; turn < 5; turn++) {
    const began = Date.now();
    const server = Date.parse(await (await fetch("/time", { signal })).text());
    const took = Date.now() - began;
    if (took < fastest.took) fastest = { took, ahead: server - began - took / 2 };
  }
  return fastest.ahead / 1000;
}

export class Lateness {
  /** Measures `video` until `signal`; its time 0 was at `start`, in seconds since 1970 of this browser's clock. */
  constructor(video, start, signal) {
    this.frames = []; // [shown, late], in seconds
    this.stalls = 0;
    this.jumps = 0; // pictures that were left out to be near the edge again
    this.last = null; // the newest frame: when it was shown, and its time in the stream
    this.step = 0; // from one frame to the next, in the stream
    video.addEventListener("seeking", () => this.last && this.jumps++, { signal });
    // What nobody sees isn't drawn: no stall.
    document.addEventListener("visibilitychange", () => (this.last = null), { signal });
    const look = (_, frame) => {
      if (signal.aborted) return;
      const shown = (Date.now() + Math.max(0, frame.expectedDisplayTime - performance.now())) / 1000;
      this.note(shown, frame.mediaTime, shown - start - frame.mediaTime);
      video.requestVideoFrameCallback(look);
    };
    video.requestVideoFrameCallback(look);
  }

  note(shown, mediaTime, late) {
    if (this.last) {
      if (this.isStill(shown)) this.stalls++;
      const step = mediaTime - this.last.mediaTime;
      if (step > 0 && step < 1) this.step = step;
    }
    this.last = { shown, mediaTime };
    this.frames.push([shown, late]);
    while (this.frames[0][0] < shown - WINDOW_S) this.frames.shift();
  }

  isStill(now) {
    return now - this.last.shown > STILL_S + 2 * this.step;
  }

  /** The figures now, in seconds; null before the first picture. */
  figures() {
    if (!this.frames.length) return null;
    const sorted = this.frames.map(([, late]) => late).sort((one, other) => one - other);
    const quantile = (share) => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
    const now = Date.now() / 1000;
    return {
      p50: quantile(0.5),
      p95: quantile(0.95),
      max: quantile(1),
      latest: this.last && this.isStill(now) ? null : this.frames.at(-1)[1],
      still: this.last && this.isStill(now) ? now - this.last.shown : 0,
      frames: sorted.length,
      stalls: this.stalls,
      jumps: this.jumps,
    };
  }
}
