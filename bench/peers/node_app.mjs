// Read-while-write on node's http module: the writer pushes each chunk to all readers at the edge.
//
// A reader whose socket is full is left until it has drained, and then catches up from the object's
// parts, so that memory doesn't grow with the slow. Buffers are large enough that this is rare.

import { createServer } from "node:http";

const HOST = "127.0.0.1";
const TYPE = { "content-type": "video/mp4" };

const objects = new Map();

function put(path, request, response) {
  const stored = { parts: [], whole: null, isOpen: true, readers: new Set() };
  objects.set(path, stored);
  request.on("data", (part) => {
    stored.parts.push(part);
    for (const reader of stored.readers) feed(stored, reader);
  });
  request.on("end", () => {
    stored.whole = Buffer.concat(stored.parts);
    end(stored);
    response.writeHead(201, { "content-length": 0 }).end();
  });
  request.on("close", () => {
    if (!stored.isOpen) return;
    if (objects.get(path) === stored) objects.delete(path);
    end(stored);
  });
  request.on("error", () => {}); // "close" comes after it, and does what there is to do
}

function end(stored) {
  stored.isOpen = false;
  for (const reader of stored.readers) feed(stored, reader);
}

// Sends what the reader hasn't yet and its socket takes; ends or cuts it when that was the last.
function feed(stored, reader) {
  const { response } = reader;
  if (response.destroyed) return;
  while (reader.sentCount < stored.parts.length && !response.writableNeedDrain) {
    response.write(stored.parts[reader.sentCount++]);
  }
  if (stored.isOpen || reader.sentCount < stored.parts.length) return;
  stored.readers.delete(reader);
  if (stored.whole === null) response.destroy();
  else response.end();
}

function get(stored, response) {
  if (stored === undefined) {
    response.writeHead(404, { "content-length": 0 }).end();
  } else if (stored.whole !== null) {
    response.writeHead(200, { ...TYPE, "content-length": stored.whole.length }).end(stored.whole);
  } else {
    const reader = { response, sentCount: 0 };
    stored.readers.add(reader);
    response.writeHead(200, TYPE);
    response.flushHeaders();
    response.on("drain", () => feed(stored, reader));
    response.on("close", () => stored.readers.delete(reader));
    feed(stored, reader);
  }
}

const settings = { keepAliveTimeout: 75_000, requestTimeout: 0, highWaterMark: 1 << 20 };
const server = createServer(settings, (request, response) => {
  if (request.method === "PUT" || request.method === "POST") {
    put(request.url, request, response);
  } else if (request.method === "GET") {
    get(objects.get(request.url), response);
  } else {
    response.writeHead(405, { "content-length": 0 }).end();
  }
});

process.on("SIGTERM", () => {
  server.close();
  server.closeAllConnections();
});

server.listen({ host: HOST, port: 0, backlog: 4096 }, () => {
  console.error(`listening on http://${HOST}:${server.address().port}`);
});
