// The order of rules, by drag (the same by the buttons beside each), and known values that go into a condition by a click.
import Sortable from "sortablejs";

function ready() {
  for (const list of document.querySelectorAll("[data-sortable]")) {
    if (Sortable.get(list)) continue;
    Sortable.create(list, {
      handle: ".handle", animation: 0,
      onEnd: (event) => {
        if (event.oldIndex === event.newIndex) return;
        const form = document.getElementById(list.dataset.sortable);
        form.elements.order.value = JSON.stringify([...list.querySelectorAll("[data-id]")].map((item) => item.dataset.id));
        form.requestSubmit();
      },
    });
  }
}
ready();
document.addEventListener("htmx:after:swap", ready);

document.addEventListener("click", (event) => {
  const known = event.target.closest("[data-adds]");
  const field = known && document.getElementById(known.dataset.to);
  if (!field) return;
  field.value = [...field.value.split("\n").filter((line) => line.trim()), known.dataset.adds].join("\n");
  field.rows = Math.min(field.value.split("\n").length, 6);
  known.remove();
  field.focus();
  field.dispatchEvent(new Event("change", { bubbles: true }));
});
