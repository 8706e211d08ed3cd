/// <reference lib="webworker" />
// Keeps the page's own files, so that it opens while the server is down. The server is asked first, every time: the
// cache answers only where it does not. Nothing else passes through here, neither tokens nor the socket.

declare const self: ServiceWorkerGlobalScope
/** Set by the build: the name of this version, and the paths of the page's files. */
declare const VERSION: string
declare const FILES: readonly string[]

const cacheName = `syncline-todo-${VERSION}`
const patienceMs = 3_000

self.addEventListener('install', (event) => {
  event.waitUntil(keepAll().then(() => self.skipWaiting()))
})

self.addEventListener('activate', (event) => {
  event.waitUntil(forgetOthers().then(() => self.clients.claim()))
})

self.addEventListener('fetch', (event) => {
  const { pathname, origin } = new URL(event.request.url)
  if (event.request.method !== 'GET' || origin !== self.location.origin || !FILES.includes(pathname)) return
  event.respondWith(serverFirst(pathname))
})

async function keepAll(): Promise<void> {
  const cache = await caches.open(cacheName)
  await cache.addAll(FILES.map((path) => new Request(path, { cache: 'reload' })))
}

async function forgetOthers(): Promise<void> {
  const names = await caches.keys()
  const old = names.filter((name) => name.startsWith('syncline-todo-') && name !== cacheName)
  await Promise.all(old.map((name) => caches.delete(name)))
}

/** What the server says, unless it is down, fails or keeps silent. */
async function serverFirst(path: string): Promise<Response> {
  const kept = caches.open(cacheName).then((cache) => cache.match(path))
  try {
    const response = await fetch(path, { cache: 'no-cache', signal: AbortSignal.timeout(patienceMs) })
    if (response.ok || (await kept) === undefined) return response
  } catch (error) {
    if ((await kept) === undefined) throw error
  }
  return (await kept) as Response
}
