"use strict";
// dash.js, set to keep a given distance from the live edge.

const target = Number(asked.get("target"));
const player = dashjs.MediaPlayer().create();
player.updateSettings({
  streaming: {
    delay: { liveDelay: target, useSuggestedPresentationDelay: false },
    // Encoder and player share a clock: to ask a server for the time would only add its delay.
    utcSynchronization: { enabled: false },
    liveCatchup: {
      enabled: true,
      maxDrift: 0, // never a seek: it shows as a gap
      playbackRate: { min: -0.4, max: 0.4 }, // wide: 15 ms off, it was brought back
      playbackBufferMin: target / 2,
      mode: "liveCatchupModeDefault",
    },
    buffer: { fastSwitchEnabled: false, bufferToKeep: 8, bufferPruningInterval: 4 },
    abr: { autoSwitchBitrate: { video: false } },
  },
});
watch.playerLatency = () => player.getCurrentLiveLatency();
for (const name of ["ERROR", "PLAYBACK_STALLED", "BUFFER_EMPTY"])
  player.on(dashjs.MediaPlayer.events[name], (event) =>
    watch.note(`player ${name}`, event.error ? String(event.error.message) : ""));
player.initialize(watch.video, asked.get("url"), true);
