// The order of rules, by drag; the same by the buttons beside each.
import Sortable from "sortablejs";

function ready() {
  for (const list of document.querySelectorAll("[data-sortable]")) {
    Sortable.create(list, {
      handle: ".handle", animation: 0,
      onEnd: () => {
        const order = list.closest("form").querySelector('input[name="order"]');
        order.value = [...list.querySelectorAll("[data-id]")].map((item) => item.dataset.id).join(",");
        list.closest("form").requestSubmit();
      },
    });
  }
}
ready();
document.addEventListener("htmx:after:swap", ready);
