// Python in a worker of the reader's browser: Pyodide with the package's own files, all from this site.
//
// Not here: what it is used for (python_worker.js, exercise_worker.js).
import { loadPyodide } from "./pyodide/pyodide.mjs";

const here = new URL(".", import.meta.url);

// packages: names from Pyodide's own list, whose files lie beside it if the site was built with them.
export async function startPython(packages = []) {
  const [python, archive] = await Promise.all([
    loadPyodide({ indexURL: new URL("pyodide/", here).href, packages }),
    fetch(new URL("minilora.zip", here)).then((reply) => reply.arrayBuffer()),
  ]);
  python.unpackArchive(archive, "zip");
  return python;
}
