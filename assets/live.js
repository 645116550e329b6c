// The live page: events as they come, over an event stream that the browser itself takes up again.
const form = document.getElementById("live");
const list = document.getElementById("live-events");
const state = document.getElementById("live-state");
const pause = document.getElementById("live-pause");
const MOST = 200;
let source = null;
let held = null;  // while the page is paused: what comes meanwhile, the newest last

function tell(word) { state.textContent = state.dataset[word]; }

function part(kind, text, look) {
  const made = document.createElement(kind);
  made.textContent = text;
  made.className = look;
  return made;
}

function row(message) {
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
  list.replaceChildren();
  if (held !== null) { held = []; stop(); }
  pause.hidden = false;
  const wanted = new URLSearchParams(new FormData(form));
  history.replaceState(null, "", `?${wanted}`);
  source = new EventSource(`/api/v1/stream?${wanted}`);
  tell("waiting");
  source.addEventListener("bound", () => tell("following"));
  source.addEventListener("gap", () => tell("gap"));
  source.addEventListener("closed", () => { source.close(); tell("closed"); });
  source.addEventListener("message", row);
  source.addEventListener("error", () => tell(source.readyState === EventSource.CLOSED ? "refused" : "waiting"));
}

form.addEventListener("submit", follow);
pause.addEventListener("click", stop);
if (new URLSearchParams(location.search).has("exchange")) follow();
