// What a reader has done, in this browser. It may forbid storage; then everything lasts as long as the page.
const kept = new Map();

export function read(key) {
  try {
    return JSON.parse(localStorage.getItem(key)) ?? kept.get(key) ?? {};
  } catch {
    return kept.get(key) ?? {};
  }
}

export function write(key, value) {
  kept.set(key, value);
  try {
    localStorage.setItem(key, JSON.stringify(value));
  } catch { /* see above */ }
}
