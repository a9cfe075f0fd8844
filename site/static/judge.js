// Asks Python one thing after the other, and ends it when an answer takes too long: a learner's loop may never end.
//
// Not here: what is asked (exercise.js), and Python itself (exercise_worker.js).
const LIMIT = 20_000; // milliseconds of the learner's code; most exercises take less than one second

export class Stopped extends Error {}

export class Judge {
  constructor(packages) {
    Object.assign(this, { packages, number: 0, last: Promise.resolve() });
  }

  // A function of in_page.py and its arguments -> what it returns.
  ask(action, ...given) {
    const answer = this.last.then(() => this.run(action, given));
    this.last = answer.catch(() => {});
    return answer;
  }

  run(action, given) {
    this.worker ??= new Worker(new URL("exercise_worker.js", import.meta.url), { type: "module" });
    const number = ++this.number;
    return new Promise((resolve, reject) => {
      this.stop = (error) => {
        clearTimeout(this.timer);
        this.worker.terminate();
        this.worker = undefined;
        reject(error);
      };
      this.worker.onerror = (event) => {
        event.preventDefault();
        this.stop(new Error(event.message || "Python did not start"));
      };
      this.worker.onmessage = ({ data }) => {
        if (data.number !== number) return;
        if (data.begun) {
          this.timer = setTimeout(() => this.stop(new Stopped("it did not finish within 20 seconds")), LIMIT);
          return;
        }
        clearTimeout(this.timer);
        data.error === undefined ? resolve(data.result) : this.stop(new Error(data.error));
      };
      this.worker.postMessage({ number, action, given, packages: this.packages });
    });
  }
}
