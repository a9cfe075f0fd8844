// Brings the stills of a page to life when they near the window. A still says which controls it has (data-controls).
// Its pictures were recorded when the page was built (data-states), or Python draws them here, in a worker. Where
// neither works, the still remains.
//
// Not here: what the pictures show (minilora/figures draws all of them), the controls themselves (controls.js), and
// predictions (prediction.js).

import { hold } from "./holding.js";
import { element, makeControl, setControl } from "./controls.js";
import { reachable } from "./scroll.js";

const IN_PYTHON = { MemoryExplorer: "memory", MethodChooser: "methods" };

export function wakeExplorables(page = document) {
  const nearing = new IntersectionObserver(
    (entries) => {
      for (const { isIntersecting, target } of entries) {
        if (!isIntersecting) continue;
        nearing.unobserve(target);
        wake(target);
      }
    },
    { rootMargin: "600px" },
  );
  for (const still of page.querySelectorAll(".explorable[data-controls]")) {
    if (still.dataset.states || still.dataset.name in IN_PYTHON) nearing.observe(still);
  }
}

async function wake(still) {
  const declared = JSON.parse(still.dataset.controls);
  still.dataset.alive = "waking";
  try {
    const draw = still.dataset.states ? await recorded(still, declared) : await inPython(still);
    bringToLife(still, declared, draw);
    still.dataset.alive = "yes";
  } catch (error) {
    console.warn(`${still.dataset.name} stays a picture: ${error.message}`);
    still.dataset.alive = "no";
    say(still, "Shown as a picture; it moves in JupyterLab.");
  }
}

// -- two ways to a picture: each returns a function from the places of the controls to HTML --------------------------

export async function states(name) {
  const reply = await fetch(new URL(`states/${name}`, import.meta.url));
  if (!reply.ok) throw new Error(`${name}: ${reply.status}`);
  return reply.json();
}

async function recorded(still, declared) {
  const pictures = await states(still.dataset.states);
  return (places) => {
    let index = 0;
    for (const { name, words } of declared) index = index * (words.length || 2) + places[name];
    return pictures[index];
  };
}

let worker, waiting, numbers;

function askPython(message) {
  if (!worker) {
    worker = new Worker(new URL("python_worker.js", import.meta.url), { type: "module" });
    waiting = new Map();
    numbers = 0;
    worker.onmessage = ({ data: { number, html, error } }) => {
      const { resolve, reject } = waiting.get(number);
      waiting.delete(number);
      error ? reject(new Error(error)) : resolve(html);
    };
    worker.onerror = (event) => {
      event.preventDefault();
      for (const { reject } of waiting.values()) reject(new Error(event.message || "the worker did not start"));
      waiting.clear();
    };
  }
  return new Promise((resolve, reject) => {
    waiting.set(++numbers, { resolve, reject });
    worker.postMessage({ number: numbers, ...message });
  });
}

async function inPython(still) {
  const note = say(still, "Starting Python in your browser …");
  const module = IN_PYTHON[still.dataset.name];
  try {
    await askPython({ module });
  } finally {
    note.remove();
  }
  return (places) => askPython({ module, places });
}

function bringToLife(still, declared, draw) {
  const places = Object.fromEntries(declared.map(({ name, place }) => [name, place]));
  const row = element("div", { className: "controls" });
  const picture = element("div", { className: "picture" });
  picture.append(...still.childNodes);
  let busy = false, changed = false;

  async function redraw() { // the last position wins: what was passed over on the way is not drawn
    changed = true;
    if (busy) return;
    busy = true;
    while (changed) {
      changed = false;
      picture.innerHTML = await draw(places);
      picture.setAttribute("aria-live", "polite");
    }
    busy = false;
  }

  const made = declared.map((control) =>
    makeControl(control, (place) => { places[control.name] = place; redraw(); }));
  row.append(...made);
  still.replaceChildren(row, picture);
  reachable(picture);
  hold(picture, (name, value) => {
    const which = declared.findIndex((control) => control.name === name);
    const place = declared[which]?.values.indexOf(value) ?? -1;
    if (place >= 0) setControl(made[which], place);
  });
}

function say(still, words) {
  const note = element("p", { className: "note", textContent: words });
  still.append(note);
  return note;
}
