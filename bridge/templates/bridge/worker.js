{% load static %}/**
 * The service worker of /roomote. It answers in the place of a server that cannot be reached, with a
 * page that says so. Nothing else is ever kept: conversations stay where they are.
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
