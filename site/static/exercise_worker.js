// Python for the exercises: runs what the learner wrote, and judges it. The page ends this worker if it does not finish.
//
// Not here: judging (minilora/exercises), and the page (exercise.js).
import { startPython } from "./start_python.js";

const PROGRAM = `
from minilora.exercises.no_numpy import import_anyway
in_page = import_anyway("minilora.exercises.in_page")
lambda action, *given: getattr(in_page, action)(*given)
`;

let ready;

// action: a function of in_page.py, which gets what is given; packages: what to start Python with.
self.onmessage = async ({ data: { number, action, given, packages } }) => {
  try {
    ready ??= startPython(packages).then((python) => ({ python, run: python.runPython(PROGRAM) }));
    const { python, run } = await ready;
    self.postMessage({ number, begun: true });
    if (!action) return self.postMessage({ number, result: null });
    const made = run(action, ...given.map((value) => python.toPy(value)));
    const result = made?.toJs ? made.toJs({ dict_converter: Object.fromEntries }) : made;
    made?.destroy?.();
    self.postMessage({ number, result });
  } catch (error) {
    self.postMessage({ number, error: String(error.message ?? error) });
  }
};
