// Exercises in the page: the learner writes into a cell or fills in a form, and Python judges it in this browser. What
// is written stays here (local storage) until it is downloaded as the notebook that a grader takes.
//
// Not here: judging (minilora/exercises), the end of what never ends (judge.js), the fields (answer_form.js of the package).
import { element } from "./controls.js";
import { codeEditor } from "./editor.js";
import { choice, typed } from "./answer_form.js";
import { Judge, Stopped } from "./judge.js";
import { reachable } from "./scroll.js";
import { read, write } from "./storage.js";

const NUMBERS = "Your numbers will stand here, once you have given a name.";

export function openExercises(page = document) {
  const handing = page.querySelector(".handing-in[data-notebook]");
  const nodes = [...page.querySelectorAll(".exercise[data-exercise]")];
  const judge = new Judge(handing.dataset.packages.split(" ").filter(Boolean));
  const all = nodes.map((node) => {
    const data = JSON.parse(node.dataset.exercise);
    const cell = page.querySelector(`.cell.tag_answer-${data.name}`);
    return new (data.fields ? Question : Exercise)(node, cell, data, judge);
  });
  all.forEach((exercise, place) => {
    exercise.before = () => all.slice(0, place).filter((other) => !other.data.fields).map((other) => other.source);
  });
  handing.replaceWith(new HandingIn(handing.dataset.notebook, all).node);
}

class Exercise {
  constructor(node, cell, data, judge) {
    Object.assign(this, { node, cell, data, judge, key: `minilora/exercise/${data.name}` });
    this.code = cell.querySelector(".cell_input");
    this.stub = this.code.textContent.trim();
    this.kept = read(this.key);
    this.out = element("div", { className: "verdict" });
    this.out.setAttribute("role", "status");
    this.checking = button("Check", () => this.check());
    this.checking.classList.add("primary");
    this.stopping = button("Stop", () => this.judge.stop?.(new Stopped("you stopped it")));
    this.stopping.hidden = true;
    this.solving = button("Show a solution", () => this.showSolution());
    this.solving.hidden = !this.kept.outcome;
    const row = element("div", { className: "controls" });
    row.append(this.checking, this.stopping, this.solving, button("Start over", () => this.startOver()));
    node.replaceChildren(row, this.out);
    this.open();
  }

  get source() {
    return this.kept.source ?? this.stub;
  }

  get id() { // of the cell in the notebook
    return this.data.name;
  }

  open() {
    const editor = codeEditor(`Your code for ${this.data.name}`, this.source, (source) => this.keep({ source }));
    this.code.replaceChildren(editor);
  }

  keep(changes) {
    this.kept = { ...this.kept, ...changes };
    write(this.key, this.kept);
    this.changed?.();
  }

  startOver() {
    this.kept = {};
    this.keep({});
    this.solving.hidden = true;
    this.out.replaceChildren();
    this.open();
  }

  async check() {
    const found = await this.python("Checking", "check", this.data.name, this.source, this.before());
    if (!found) return;
    this.out.innerHTML = found.html;
    if (found.printed) this.out.prepend(element("pre", { className: "printed", textContent: found.printed }));
    this.out.querySelectorAll("pre, table").forEach(reachable);
    this.node.dataset.outcome = found.outcome;
    this.solving.hidden = false;
    this.keep({ outcome: found.outcome });
  }

  async showSolution() {
    const html = await this.python("Looking it up", "solution", this.data.name, this.source);
    if (html) this.out.innerHTML = html;
    this.out.querySelectorAll("pre").forEach(reachable);
  }

  // Says what it does meanwhile, and why there is no answer.
  async python(doing, ...question) {
    this.checking.disabled = true;
    this.stopping.hidden = false;
    this.out.textContent = `${doing} … (the first time, Python has to start: some seconds)`;
    try {
      return await this.judge.ask(...question);
    } catch (error) {
      this.out.textContent = error instanceof Stopped
        ? `Your code was ended: ${error.message}. Does every loop come to an end?`
        : `Python does not run here (${error.message}). Solve this exercise on your own computer.`;
      this.node.dataset.outcome = error instanceof Stopped ? "stopped" : "failed";
    } finally {
      this.checking.disabled = false;
      this.stopping.hidden = true;
    }
  }
}

// The parts of a question as fields; what is filled in stands in the cell, which is folded away.
class Question extends Exercise {
  get id() {
    return `${this.data.name}-answers`;
  }

  open() {
    this.form ??= this.node.insertBefore(element("div", { className: "minilora-form" }), this.node.firstChild);
    this.text = element("pre", { textContent: this.source });
    reachable(this.text);
    this.folded ??= this.node.appendChild(element("details"));
    this.folded.replaceChildren(element("summary", { textContent: "The cell that is handed in" }), this.text);
    this.cell.hidden = true;
    this.numbers = element("div", { className: "numbers", textContent: NUMBERS });
    const values = this.kept.values ?? {};
    this.form.replaceChildren(...this.data.fields.flatMap((field) => {
      const note = element("p", { className: "note" });
      note.setAttribute("role", "status");
      const changed = (text) => this.putIn(field.key, text, note);
      const name = `${this.data.name}-${field.key}`;
      const control = field.kind === "choice"
        ? choice(field, values[field.key] ?? "", name, changed)
        : typed(field, values[field.key] ?? "", changed);
      return field.key === "student" ? [control, note, this.numbers] : [control, note];
    }));
    if (values.student) this.showNumbers(values.student);
  }

  putIn(key, text, note) {
    this.keep({ values: { ...this.kept.values, [key]: text } });
    note.textContent = this.judge.number ? "" : "Starting Python …";
    this.filled = Promise.resolve(this.filled).then(() => this.writeInto(key, text, note));
  }

  async writeInto(key, text, note) { // one after the other: each goes out from the text that the last one left
    try {
      const { source, note: said } = await this.judge.ask("fill_in", this.data.name, this.source, key, text);
      note.textContent = said;
      this.keep({ source });
      this.text.textContent = source;
      if (key === "student") await this.showNumbers(text);
    } catch (error) {
      note.textContent = `This could not be written into the cell: ${error.message}`;
    }
  }

  async check() {
    await this.filled;
    await super.check();
  }

  async showNumbers(student) {
    this.numbers.innerHTML = (await this.judge.ask("numbers", this.data.name, student)) || NUMBERS;
  }
}

class HandingIn {
  constructor(name, all) {
    Object.assign(this, { name, all, said: element("span", { className: "note" }) });
    this.node = element("div", { className: "controls handing-in" });
    this.node.append(button("Download the notebook with your answers", () => this.download()), this.said);
    for (const exercise of all) exercise.changed = () => this.show();
    this.show();
  }

  show() {
    const right = this.all.filter(({ kept }) => kept.outcome === "correct").length;
    this.said.textContent = `${right} of ${this.all.length} right in this browser`;
  }

  async download() {
    const reply = await fetch(new URL(`exercises/${this.name}`, import.meta.url));
    const notebook = await reply.json();
    await Promise.all(this.all.map(({ filled }) => filled));
    for (const { id, source, kept } of this.all) {
      const cell = notebook.cells.find((cell) => cell.metadata.nbgrader?.grade_id === id);
      if (kept.source !== undefined) cell.source = source.match(/[^\n]*\n|[^\n]+$/g) ?? [];
    }
    const file = new Blob([JSON.stringify(notebook, null, 1), "\n"], { type: "application/x-ipynb+json" });
    const link = element("a", { href: URL.createObjectURL(file), download: this.name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }
}

function button(words, act) {
  const made = element("button", { type: "button", textContent: words });
  made.addEventListener("click", act);
  return made;
}
