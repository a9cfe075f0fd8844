// What runs on every page. Each part is in a module of its own.
import { wakeExplorables } from "./explorable.js";
import { askPredictions } from "./prediction.js";
import { reachable } from "./scroll.js";
import { showSwitches } from "./switch.js";

askPredictions();
wakeExplorables();
showSwitches().then(async ([first]) => {
  const place = document.querySelector(".trainer");
  if (place) new (await import("./trainer.js")).Trainer(place, first);
});
if (document.querySelector(".exercise")) import("./exercise.js").then(({ openExercises }) => openExercises());
document.querySelectorAll(".cell_output .output, .explorable, .table-wrapper, pre").forEach(reachable);

// Keeps the site readable without a network (sw.js).
const root = document.documentElement.dataset.content_root ?? "./";
addEventListener("load", async () => {
  if (!("serviceWorker" in navigator)) return;
  await navigator.serviceWorker.register(new URL("sw.js", new URL(root, location.href)));
  const { active } = await navigator.serviceWorker.ready;
  if (!navigator.connection?.saveData) setTimeout(() => active.postMessage("keep all"), 2000);
});
