// The service worker: shows what is pushed to this browser, also while no page of ours is open, and opens the message on a click. It keeps nothing.
function place(url) {
  const wanted = new URL(typeof url === "string" ? url : "/inbox", self.location.origin);
  return wanted.origin === self.location.origin ? wanted.href : `${self.location.origin}/inbox`;
}

// A push that is not shown makes browsers show a notice of their own, so something is always said.
function read(data) {
  try {
    const said = data.json();
    return typeof said === "object" && said !== null ? said : {};
  } catch {
    return {};
  }
}

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("push", (event) => {
  const said = read(event.data);
  const options = { body: String(said.body ?? ""), data: { url: place(said.url) }, requireInteraction: said.stays === true };
  if (said.tag) options.tag = String(said.tag);
  event.waitUntil(self.registration.showNotification(String(said.title ?? "Angelia"), options));
});

async function open(url) {
  const windows = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
  const there = windows.find((one) => one.url === url);
  return there ? there.focus() : self.clients.openWindow(url);
}

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(open(place(event.notification.data?.url)));
});
