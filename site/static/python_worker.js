// Python for the explorables that have too many states to record: the package's own files, in Pyodide, from this site.
//
// Not here: which explorables these are (explorable.js), and any drawing (minilora/figures).
import { startPython } from "./start_python.js";

const PROGRAM = `
import importlib
from minilora.explorables.picture import as_html, picture

def draw(module, places):
    explorable = importlib.import_module("minilora.explorables." + module)
    controls = explorable.controls()
    if places is None:
        return ""
    chosen = {name: control.values()[places[name]] for name, control in controls.items()}
    return as_html(*picture(explorable.draw, chosen))

draw
`;

const ready = start();

async function start() {
  const python = await startPython();
  const draw = python.runPython(PROGRAM);
  return (module, places) => {
    const given = places && python.toPy(places); // subtle: undefined becomes None, null does not
    try {
      return draw(module, given);
    } finally {
      given?.destroy();
    }
  };
}

self.onmessage = async ({ data: { number, module, places } }) => {
  try {
    const draw = await ready;
    self.postMessage({ number, html: draw(module, places) });
  } catch (error) {
    self.postMessage({ number, error: String(error.message ?? error) });
  }
};
