{% load static %}/**
 * The service worker of /roomote. It answers in the place of a server that cannot be reached, with a
 * page that says so. Nothing else is ever kept: conversations stay where they are. It also shows what
 * the server pushes (notifications.push), and opens the page that a notification leads to.
 */
const SHELL = "{% url 'roomote-offline' %}";
const KEPT = [
  SHELL,
  "{% static 'css/tokens.css' %}",
  "{% static 'css/base.css' %}",
  "{% static 'css/components.css' %}",
  "{% static 'css/roomote.css' %}",
  "{% static 'js/look-again.js' %}",
  "{% static 'images/roomote.svg' %}",
];
const CACHE = "roomote-shell";

self.addEventListener("install", (event) => {
  const fresh = KEPT.map((url) => new Request(url, { cache: "reload" }));
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(fresh)));
  self.skipWaiting();
});

self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const isKept = KEPT.includes(new URL(request.url).pathname);
  if (request.method !== "GET" || (request.mode !== "navigate" && !isKept)) return;
  event.respondWith(
    fetch(request).catch(async () => (await caches.match(isKept ? request : SHELL)) ?? Response.error()),
  );
});

self.addEventListener("push", (event) => {
  const { title, text, path, topic } = event.data.json();
  const icon = "{% static 'images/roomote-192.png' %}";
  event.waitUntil(
    self.registration.showNotification(title, { body: text, tag: topic, renotify: true, icon, data: { path } }),
  );
});

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(show(new URL(event.notification.data.path, self.location.origin).href));
});

/** @param {string} url */
async function show(url) {
  const pages = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
  const page = pages.find((one) => one.url === url);
  await (page ? page.focus() : self.clients.openWindow(url));
}
