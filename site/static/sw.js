// After the first visit the site works without a network. Every page and its small files are fetched once, in the
// background; what is large (Python, the model) is kept when it is first used. Nothing is asked of another host.
//
// tools/build_site.py writes the two values: the version changes with any file of the site.
const VERSION = "@VERSION@";
const FILES = "@FILES@";

const CACHE = `minilora-${VERSION}`;
const scope = self.registration.scope;

self.addEventListener("install", (event) => event.waitUntil(install()));

async function install() {
  await (await caches.open(CACHE)).add(new Request(scope, { cache: "reload" }));
  self.skipWaiting();
}

self.addEventListener("activate", (event) => event.waitUntil(activate()));

async function activate() {
  for (const name of await caches.keys()) {
    if (name.startsWith("minilora-") && name !== CACHE) await caches.delete(name);
  }
  await self.clients.claim();
}

// The page asks for it once it has loaded, so that nothing competes with the first look.
self.addEventListener("message", (event) => {
  if (event.data === "keep all") event.waitUntil(keepAll());
});

async function keepAll() {
  const cache = await caches.open(CACHE);
  const kept = new Set((await cache.keys()).map(({ url }) => url));
  for (const file of FILES) {
    const url = new URL(file, scope).href;
    if (!kept.has(url)) await cache.add(url).catch(() => {}); // without a network now: the next visit tries again
  }
}

self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET") return;
  if (!request.url.startsWith(scope)) return event.respondWith(Response.error());
  event.respondWith(answer(request));
});

async function answer(request) {
  const cache = await caches.open(CACHE);
  const kept = await cache.match(request, { ignoreSearch: true });
  if (kept) return kept;
  const reply = await fetch(request);
  if (reply.ok) await cache.put(request.url.split("?")[0], reply.clone());
  return reply;
}
