// The little of a DASH manifest that the watch view needs: SegmentTemplate with $Number$, CMAF.

/** What a manifest says of its first picture; throws an Error with a sentence where it isn't one of these. */
export function parse(text, url) {
  const doc = new DOMParser().parseFromString(text, "text/xml");
  const root = doc.documentElement;
  if (root.localName !== "MPD") throw new Error("that is no DASH manifest");
  if (root.getAttribute("type") !== "dynamic") throw new Error("the stream has ended");
  const sets = [...doc.querySelectorAll("AdaptationSet")];
  const typeOf = (set) =>
    set.getAttribute("contentType") ??
    set.getAttribute("mimeType") ??
    set.querySelector("Representation")?.getAttribute("mimeType") ??
    "";
  const representation = sets.find((set) => typeOf(set).startsWith("video"))?.querySelector("Representation");
  const template =
    representation?.querySelector("SegmentTemplate") ?? representation?.parentElement.querySelector("SegmentTemplate");
  if (!template?.getAttribute("duration")) throw new Error("no SegmentTemplate with a duration and a picture in it");
  const number = (name, otherwise) => Number(template.getAttribute(name) ?? otherwise);
  const id = representation.getAttribute("id");
  const fill = (pattern, value) =>
    pattern
      .replace("$RepresentationID$", id)
      .replace(/\$Number(?:%0(\d+)d)?\$/, (_, width) => String(value).padStart(Number(width ?? 0), "0"));
  return {
    mime: `video/mp4; codecs="${representation.getAttribute("codecs")}"`,
    start: Date.parse(root.getAttribute("availabilityStartTime")) / 1000,
    segment: number("duration") / number("timescale", 1),
    first: number("startNumber", 1),
    init: new URL(fill(template.getAttribute("initialization")), url),
    media: (value) => new URL(fill(template.getAttribute("media"), value), url),
  };
}
