// What runs on every page. Each part is in a module of its own.
import { wakeExplorables } from "./explorable.js";
import { askPredictions } from "./prediction.js";

askPredictions();
wakeExplorables();
makeScrollable();

// A drawing that is wider than the window scrolls in a box of its own, which the keyboard reaches.
function makeScrollable() {
  const boxes = [...document.querySelectorAll(".cell_output .output, .picture, .table-wrapper")];
  const sizes = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      if (target.scrollWidth > target.clientWidth + 1) target.tabIndex = 0;
      else target.removeAttribute("tabindex");
    }
  });
  boxes.forEach((box) => sizes.observe(box));
}

// Keeps the site readable without a network (sw.js).
const root = document.documentElement.dataset.content_root ?? "./";
if ("serviceWorker" in navigator) {
  addEventListener("load", () => navigator.serviceWorker.register(new URL("sw.js", new URL(root, location.href))));
}
