// The button "Notify this browser": asks for leave, subscribes, and sends what the browser was given as an address, by the form that it stands in.
const form = document.querySelector("form[data-subscribes]");

function packed(buffer) {
  return btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

function unpacked(text) {
  return Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (sign) => sign.charCodeAt(0));
}

function tell(word) {
  const place = form.querySelector("[role=status]");
  place.textContent = place.dataset[word];
}

async function subscribed() {
  await navigator.serviceWorker.register(form.dataset.worker);
  const { pushManager } = await navigator.serviceWorker.ready;
  const options = { userVisibleOnly: true, applicationServerKey: unpacked(form.dataset.key) };
  const known = await pushManager.getSubscription();
  // A subscription is bound to the key it was made with: one from before the hub changed its key is of no use.
  if (known && packed(known.options.applicationServerKey) !== form.dataset.key) await known.unsubscribe();
  return pushManager.subscribe(options);
}

async function subscribe(event) {
  if (form.elements.value.value) return;
  event.preventDefault();
  tell("waiting");
  if (await Notification.requestPermission() !== "granted") {
    tell("refused");
    return;
  }
  try {
    const made = await subscribed();
    form.elements.value.value = `${made.endpoint}#${packed(made.getKey("p256dh"))}.${packed(made.getKey("auth"))}`;
    form.requestSubmit();
  } catch {
    tell("failed");
  }
}

if (form && "serviceWorker" in navigator && "PushManager" in window && "Notification" in window) {
  form.hidden = false;
  form.addEventListener("submit", subscribe);
}
