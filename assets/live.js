// The live page: events as they come, over an event stream that the browser itself takes up again.
const form = document.getElementById("live");
const list = document.getElementById("live-events");
const state = document.getElementById("live-state");
const pause = document.getElementById("live-pause");
const MOST = 200;
const TOO_SLOW = 4408;
const MOST_TRIES = 60;
let source = null;
let wanted = "", cursor = "", tries = 0, timer = 0;
let held = null;  // while the page is paused: what comes meanwhile, the newest last

function tell(word) { state.textContent = state.dataset[word]; }

function part(kind, text, look) {
  const made = document.createElement(kind);
  made.textContent = text;
  made.className = look;
  return made;
}

function row(message) {
  cursor = message.lastEventId;
  const { event } = JSON.parse(message.data);
  const now = new Date();
  const item = part("li", "", "border-bottom py-1");
  const time = part("time", now.toLocaleTimeString(document.documentElement.lang), "small text-body-secondary");
  time.dateTime = now.toISOString();
  const text = "body" in event ? JSON.stringify(event.body) : event.text ?? event.base64;
  item.append(time, " ", part("strong", event.key, "text-break"), " ", part("code", text, "text-break"));
  if (held === null) show([item]);
  else {
    held.push(item);
    while (held.length > MOST) held.shift();
    pause.textContent = `${pause.dataset.resume} (${held.length})`;
  }
}

function show(items) {
  for (const item of items) list.prepend(item);
  while (list.children.length > MOST) list.lastChild.remove();
}

function stop() {
  if (held === null) held = [];
  else {
    show(held);
    held = null;
  }
  pause.textContent = held === null ? pause.dataset.pause : pause.dataset.resume;
}

function follow(event) {
  event?.preventDefault();
  source?.close();
  clearTimeout(timer);
  cursor = "";
  tries = 0;
  list.replaceChildren();
  if (held !== null) { held = []; stop(); }
  pause.hidden = false;
  wanted = new URLSearchParams(new FormData(form));
  history.replaceState(null, "", `?${wanted}`);
  open();
}

function open() {
  const query = new URLSearchParams(wanted);
  if (cursor) query.set("since", cursor);
  source = new EventSource(`/api/v1/stream?${query}`);
  tell("waiting");
  source.addEventListener("bound", (message) => { cursor = message.lastEventId; tries = 0; tell("following"); });
  source.addEventListener("gap", (message) => { cursor = message.lastEventId; tell("gap"); });
  source.addEventListener("closed", (message) => {
    source.close();
    if (JSON.parse(message.data).code === TOO_SLOW) open(); else tell("closed");
  });
  source.addEventListener("message", row);
  source.addEventListener("error", () => {
    if (source.readyState !== EventSource.CLOSED) return tell("waiting");
    // Browsers come back after a lost connection, and not after the answer of a proxy whose hub is just being started.
    if (!cursor || ++tries > MOST_TRIES) return tell("refused");
    tell("waiting");
    timer = setTimeout(open, 5000 * (1 + Math.random()));
  });
}

form.addEventListener("submit", follow);
pause.addEventListener("click", stop);
if (new URLSearchParams(location.search).has("exchange")) follow();
