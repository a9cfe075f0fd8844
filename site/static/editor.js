// A field for Python code: as high as its text; Tab and Enter indent. Escape, then Tab, leaves it.
//
// Not here: what becomes of the code (exercise.js).
import { element } from "./controls.js";

const INDENT = "    ";

export function codeEditor(label, source, onChange) {
  const field = element("textarea", {
    className: "code-editor", value: source, spellcheck: false, autocapitalize: "off", autocomplete: "off", wrap: "off",
  });
  field.setAttribute("autocorrect", "off");
  field.setAttribute("aria-label", `${label}. Escape, then Tab, leaves this field.`);
  const fit = () => { field.rows = field.value.split("\n").length + 1; };
  let leaving = false;
  field.addEventListener("input", () => { fit(); onChange(field.value); });
  field.addEventListener("keydown", (event) => {
    const tab = event.key === "Tab" && !leaving && !event.shiftKey;
    if (event.key !== "Shift") leaving = event.key === "Escape";
    if (event.ctrlKey || event.metaKey || event.altKey || !(tab || event.key === "Enter")) return;
    event.preventDefault();
    insert(field, tab ? INDENT : `\n${indentation(field)}`);
  });
  fit();
  return field;
}

// Of the next line: as this one, and deeper after a colon.
function indentation(field) {
  const line = field.value.slice(0, field.selectionStart).split("\n").at(-1);
  return line.match(/^ */)[0] + (line.trimEnd().endsWith(":") ? INDENT : "");
}

// As if typed, so that it can be undone.
function insert(field, text) {
  if (!document.execCommand("insertText", false, text)) {
    field.setRangeText(text, field.selectionStart, field.selectionEnd, "end");
    field.dispatchEvent(new Event("input"));
  }
}
