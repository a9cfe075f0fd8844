// What runs on every page. Each part is in a module of its own.
import { wakeExplorables } from "./explorable.js";
import { askPredictions } from "./prediction.js";
import { showSwitches } from "./switch.js";

askPredictions();
wakeExplorables();
showSwitches();
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
addEventListener("load", async () => {
  if (!("serviceWorker" in navigator)) return;
  await navigator.serviceWorker.register(new URL("sw.js", new URL(root, location.href)));
  const { active } = await navigator.serviceWorker.ready;
  if (!navigator.connection?.saveData) setTimeout(() => active.postMessage("keep all"), 2000);
});
