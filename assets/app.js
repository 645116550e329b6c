// What every page can do: parts over htmx, theme, keyboard, notices. Everything works without it, by plain links and forms.
import htmx from "htmx.org";

window.htmx = htmx;

document.addEventListener("click", (event) => {
  const themed = event.target.closest("[data-theme]");
  if (themed) {
    if (themed.dataset.theme === "system") localStorage.removeItem("theme");
    else localStorage.setItem("theme", themed.dataset.theme);
    dispatchEvent(new Event("storage"));
  }
  const opener = event.target.closest("[data-opens]");
  if (opener) document.getElementById(opener.dataset.opens)?.showModal();
  if (event.target.closest("[data-closes]")) event.target.closest("dialog")?.close();
  const copier = event.target.closest("[data-copies]");
  if (copier) navigator.clipboard?.writeText(document.getElementById(copier.dataset.copies)?.textContent.trim() ?? "");
  if (event.target.closest("#toasts .btn-close")) event.target.closest(".alert").remove();
});

// Which colours she chose is told by more than a colour.
function press() {
  const chosen = localStorage.getItem("theme") ?? "system";
  for (const button of document.querySelectorAll("button[data-theme]")) {
    button.setAttribute("aria-pressed", String(button.dataset.theme === chosen));
    button.classList.toggle("active", button.dataset.theme === chosen);
  }
}
press();
addEventListener("storage", press);

// Browsers that can't show the inside of a closed menu by style get it opened.
if (!CSS.supports("selector(::details-content)") && matchMedia("(min-width: 48.01rem)").matches) document.querySelector(".rooms")?.setAttribute("open", "");

// What is shown once was made by a form: a reload shows the page, and does not send the form again.
const once = document.querySelector("[data-reload]");
if (once) history.replaceState(null, "", once.dataset.reload);

// A form that saves itself: each change is sent at once.
document.addEventListener("change", (event) => {
  const form = event.target.closest("form[data-autosubmit]");
  if (form) form.requestSubmit();
  const all = event.target.closest("input[data-checks]");
  if (all) document.querySelectorAll(`input[name="${all.dataset.checks}"]`).forEach((box) => { box.checked = all.checked; box.dispatchEvent(new Event("input", { bubbles: true })); });
});

// Notices go by themselves, except errors.
new MutationObserver((changes) => {
  for (const change of changes) for (const node of change.addedNodes) if (node.nodeType === 1 && !node.matches(".alert-danger")) setTimeout(() => node.remove(), 8000);
}).observe(document.getElementById("toasts") ?? document.createElement("div"), { childList: true });

// Keyboard: one key, one thing; never while she writes.
let place = -1;
function rows() { return [...document.querySelectorAll("[data-row]")]; }
function stand(at) {
  const all = rows();
  if (!all.length) return;
  place = Math.max(0, Math.min(at, all.length - 1));
  all.forEach((row, index) => row.classList.toggle("is-at", index === place));
  all[place].scrollIntoView({ block: "nearest" });
  all[place].querySelector("a")?.focus({ preventScroll: true });
}
const go = { i: "/inbox", p: "/preferences", r: "/rules", a: "/addresses", f: "/feeds", w: "/why" };
let isGoing = false;
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input:not([type=checkbox]), textarea, select, dialog[open]")) return;
  if (isGoing) { isGoing = false; if (go[event.key]) location.assign(go[event.key]); return; }
  const row = rows()[place];
  const keyed = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
  if (keyed && !rows().length) { keyed.click(); return; }
  switch (event.key) {
    case "g": isGoing = true; break;
    case "j": stand(place + 1); break;
    case "k": stand(place - 1); break;
    case "x": { const box = row?.querySelector("input[type=checkbox]"); if (box) { box.checked = !box.checked; box.dispatchEvent(new Event("input", { bubbles: true })); } break; }
    case "o": row?.querySelector("a.subject")?.click(); break;
    case "/": { const search = document.querySelector("input[type=search]"); if (search) { event.preventDefault(); search.focus(); } break; }
    case "?": document.getElementById("keys")?.showModal(); break;
    default: {
      if (!keyed) return;
      if (keyed.name === "change" && row && !document.querySelector('input[name="ids"]:checked, input[name="whole"]:checked')) { const box = row.querySelector('input[name="ids"]'); if (box) box.checked = true; }
      keyed.click();
    }
  }
});

// After a part was swapped in, the place in the list stays.
document.addEventListener("htmx:after:swap", () => { if (place >= 0 && rows().length) { place = Math.min(place, rows().length - 1); rows()[place].classList.add("is-at"); } });

// While she looks at a page her own stream tells it at once what is new. Where there is no stream it asks every two seconds; with one now and then,
// for what she does elsewhere. A page in the background lets its stream go, and asks when it is looked at again. It is a WebSocket, as
// browsers allow few event streams to one site, and many pages may be open.
let socket = null, isFollowing = false, askedAt = 0, triedAt = -Infinity;
const isWatched = () => !document.hidden && document.getElementById("unread");
function look() { if (isWatched()) { askedAt = performance.now(); document.body.dispatchEvent(new Event("look")); } }
let looking = 0;
function lookSoon() { looking ||= setTimeout(() => { looking = 0; look(); }, 100); }
function follow() {
  if (socket || !isWatched() || performance.now() - triedAt < 10000) return;
  triedAt = performance.now();
  const made = socket = new WebSocket(`${location.origin.replace(/^http/, "ws")}/api/v1/stream`, "angelia.v1");
  made.onopen = () => made.send(JSON.stringify({ id: 1, bind: { exchange: "me", key: "#" } }));
  made.onmessage = ({ data }) => {
    const told = JSON.parse(data);
    if (told.bound) { isFollowing = true; look(); }
    if (told.event || told.gap) lookSoon();
  };
  // Within ten seconds again: not all pages at once, where the hub was started anew.
  made.onclose = () => { if (socket === made) { socket = null; isFollowing = false; triedAt = performance.now() - 10000 * Math.random(); } };
}
// One that is being opened is closed once it is open: browsers complain otherwise.
function letGo() {
  const old = socket;
  socket = null; isFollowing = false; triedAt = -Infinity;
  if (old?.readyState === WebSocket.CONNECTING) old.onopen = () => old.close();
  else old?.close();
}
setInterval(() => { if (!isFollowing || performance.now() - askedAt > 15000) look(); follow(); }, 2000);
document.addEventListener("visibilitychange", () => { if (document.hidden) letGo(); else { look(); follow(); } });
follow();
