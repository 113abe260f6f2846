"use strict";
// hls.js in low-latency mode, set to keep a given distance from the live edge.

const player = new Hls({
  lowLatencyMode: true,
  liveSyncDuration: Number(asked.get("target")),
  maxLiveSyncPlaybackRate: 1.1,
  backBufferLength: 8,
});
watch.playerLatency = () => player.latency;
player.on(Hls.Events.ERROR, (_, data) => watch.note(`player ${data.details}`, data.fatal));
player.on(Hls.Events.MANIFEST_PARSED, () => watch.video.play());
player.loadSource(asked.get("url"));
player.attachMedia(watch.video);
