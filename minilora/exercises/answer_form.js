// Fields for a question's answers. A change goes to Python with the text of the cell above, which comes back with the
// new value in it. Nothing here knows what an answer means. The web site uses the fields alone (site/static/exercise.js).

// JupyterLab 4 and Notebook 7 keep the editor of a cell at its element (CodeMirror's EditorView.findFromDOM reads it
// there). Elsewhere there is none, and the lines to copy are shown.
function editorAbove(el) {
  const content = el.closest(".jp-CodeCell")?.querySelector(".jp-InputArea-editor .cm-content");
  return (content?.cmTile?.root ?? content?.cmView)?.view;
}

const text = (editor) => editor?.state.doc.toString() ?? null;

// Only what differs is replaced, so that the cursor and the scroll position stay.
function write(editor, source) {
  const old = text(editor);
  let from = 0, same = 0;
  while (from < Math.min(old.length, source.length) && old[from] === source[from]) from++;
  const rest = Math.min(old.length, source.length) - from;
  while (same < rest && old[old.length - 1 - same] === source[source.length - 1 - same]) same++;
  editor.dispatch({ changes: { from, to: old.length - same, insert: source.slice(from, source.length - same) } });
}

function element(name, properties = {}, ...children) {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children);
  return node;
}

function prose(words) {
  const parts = words.split("`").map((part, i) => (i % 2 ? element("code", { textContent: part }) : part));
  return element("span", {}, ...parts);
}

export function choice(field, value, name, changed) {
  const options = field.options.map(([letter, words]) => {
    const button = element("input", { type: "radio", name, value: letter, checked: value === letter });
    button.addEventListener("change", () => changed(letter));
    return element("label", { className: "option" }, button, element("b", { textContent: letter }), prose(words));
  });
  return element("fieldset", {}, element("legend", {}, prose(field.prompt)), ...options);
}

export function typed(field, value, changed) {
  const long = field.kind === "text";
  const input = element(long ? "textarea" : "input", { value, spellcheck: long, autocomplete: "off" });
  if (long) input.rows = 4;
  let waiting, sent = value;
  const send = () => {
    clearTimeout(waiting);
    if (input.value !== sent) changed((sent = input.value));
  };
  input.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(send, 600);
  });
  input.addEventListener("change", send); // before another cell runs
  return element("label", { className: "typed" }, prose(field.prompt), input);
}

function render({ model, el }) {
  const root = element("div", { className: "minilora-form" });
  const notes = {};
  const status = element("p", { className: "status" });
  status.setAttribute("role", "status");
  const copy = element("pre", { hidden: true });
  const group = Math.random().toString(36).slice(2);
  let late;

  const ask = (key, value) => {
    clearTimeout(late);
    late = setTimeout(() => (status.textContent = SILENT), 3000);
    model.send({ key, text: value, source: text(editorAbove(el)) });
  };

  for (const field of model.get("fields")) {
    const changed = (value) => {
      model.set("values", { ...model.get("values"), [field.key]: value });
      ask(field.key, value);
    };
    const value = model.get("values")[field.key] ?? "";
    const control =
      field.kind === "choice" ? choice(field, value, `${group}-${field.key}`, changed) : typed(field, value, changed);
    notes[field.key] = element("p", { className: "note" });
    notes[field.key].setAttribute("role", "status");
    root.append(control, notes[field.key]);
  }
  // Without the mark JupyterLab would go to another cell with the arrows.
  root.querySelectorAll("input, textarea").forEach((node) => (node.dataset.lmSuppressShortcuts = "true"));
  const lock = () => root.querySelectorAll("input, textarea").forEach((node) => (node.disabled = model.get("locked")));
  model.on("change:locked", lock);
  lock();

  model.on("msg:custom", (reply) => {
    clearTimeout(late);
    notes[reply.key].textContent = reply.note ?? "";
    const editor = editorAbove(el);
    if (reply.source && editor) {
      if (text(editor) !== reply.instead_of) return ask(reply.key, model.get("values")[reply.key]); // typed meanwhile
      write(editor, reply.source);
    }
    copy.hidden = !reply.copy;
    copy.textContent = reply.copy ?? "";
    status.textContent = reply.source ? WRITTEN : reply.copy ? COPY : "";
  });
  root.append(status, copy);
  el.append(root);
}

const WRITTEN = "Written into the cell above. Save the notebook before you hand it in.";
const COPY = "This could not be written into the cell above. Replace its dict by these lines before you hand it in:";
const SILENT = "Python has not answered yet. If nothing else is running, run the cell above again.";

export default { render };
