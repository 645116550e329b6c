// The live page: events as they come, over an event stream that the browser itself takes up again.
const form = document.getElementById("live");
const list = document.getElementById("live-events");
const state = document.getElementById("live-state");
const MOST = 200;
let source = null;

function tell(word) { state.textContent = state.dataset[word]; }

function row(message) {
  const { event } = JSON.parse(message.data);
  const item = document.createElement("li");
  const key = document.createElement("strong");
  key.textContent = event.key;
  const body = document.createElement("code");
  body.textContent = "body" in event ? JSON.stringify(event.body) : event.text ?? event.base64;
  item.append(key, " ", body);
  list.prepend(item);
  while (list.children.length > MOST) list.lastChild.remove();
}

function follow(event) {
  event?.preventDefault();
  source?.close();
  list.replaceChildren();
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
if (new URLSearchParams(location.search).has("exchange")) follow();
