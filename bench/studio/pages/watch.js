"use strict";
// Reads the clock in every frame that the video element presents, and notes what else happens to it.
// What the notes mean is decided elsewhere (bench/studio/viewing.py).

const BLOCK = 16, TIME_BITS = 32, BITS = 40; // of the row of blocks: see bench/studio/clock.py
const NOTES_MAX = 1000000;

class Watch {
  constructor(video) {
    this.video = video;
    this.frames = []; // [presented, painted], in ms since 1970
    this.events = []; // [when, name, value]
    this.samples = []; // [when, the player's own latency in s, rate, seconds buffered ahead]
    this.unreadable = 0;
    this.playerLatency = () => NaN;
    const canvas = new OffscreenCanvas(BITS, 1);
    this.context = canvas.getContext("2d", { willReadFrequently: true });
    this.context.imageSmoothingEnabled = false; // a pixel is the middle of a block
    for (const name of ["waiting", "playing", "stalled", "pause", "seeking", "ended", "error"])
      video.addEventListener(name, () => this.note(name, video.readyState));
    video.addEventListener("ratechange", () => this.note("rate", video.playbackRate));
    setInterval(() => this.sample(), 1000);
    this.next();
  }

  note(name, value) {
    if (this.events.length < NOTES_MAX) this.events.push([Date.now(), name, value]);
  }

  next() {
    this.video.requestVideoFrameCallback((_, metadata) => {
      this.next();
      const now = Date.now();
      const shown = now + Math.max(0, metadata.expectedDisplayTime - performance.now());
      const painted = this.read(now);
      if (painted === null) this.unreadable++;
      else if (this.frames.length < NOTES_MAX) this.frames.push([shown, painted]);
    });
  }

  // The time in the picture, or null.
  read(now) {
    this.context.drawImage(this.video, 0, 0, BITS * BLOCK, BLOCK, 0, 0, BITS, 1);
    const pixels = this.context.getImageData(0, 0, BITS, 1).data;
    let value = 0, check = 0;
    for (let at = 0; at < BITS; at++) {
      const bit = pixels[4 * at + 1] >= 128 ? 1 : 0;
      if (at < TIME_BITS) value = value * 2 + bit;
      else check = check * 2 + bit;
    }
    if (checksum(value) !== check) return null;
    const turn = 2 ** TIME_BITS;
    return now - ((now - value) % turn + turn) % turn;
  }

  sample() {
    const { buffered, currentTime, playbackRate } = this.video;
    const end = buffered.length ? buffered.end(buffered.length - 1) : currentTime;
    if (this.samples.length < NOTES_MAX)
      this.samples.push([Date.now(), this.playerLatency(), playbackRate, end - currentTime]);
    const last = this.frames.at(-1);
    const said = document.getElementById("said"); // not in a page of somebody else's
    if (said) said.textContent = last
      ? `glass to glass ${Math.round(last[0] - last[1])} ms, ` +
        `the player says ${Math.round(this.playerLatency() * 1000)} ms\n` +
        `${this.frames.length} frames read, ${this.unreadable} unreadable`
      : "nothing yet";
  }

  report() {
    const { frames, events, samples, unreadable } = this;
    const quality = this.video.getVideoPlaybackQuality();
    const dropped = quality.droppedVideoFrames, decoded = quality.totalVideoFrames;
    return { now: Date.now(), frames, events, samples, unreadable, dropped, decoded };
  }
}

function checksum(value) {
  let crc = 0xff;
  for (let shift = 24; shift >= 0; shift -= 8) {
    crc ^= Math.floor(value / 2 ** shift) & 0xff;
    for (let round = 0; round < 8; round++) crc = crc & 0x80 ? ((crc << 1) ^ 0x107) & 0xff : crc << 1;
  }
  return crc;
}

const asked = new URLSearchParams(location.search);
const watch = new Watch(document.querySelector("video"));
