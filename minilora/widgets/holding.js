// Pictures that can be taken hold of. A part with data-set="outlier=8" sets the control `outlier` to 8 when it is
// clicked. While the pointer stays down, the nearest part that names the same control does, so a row of such parts is a
// track that a thing can be dragged along. The picture may be redrawn meanwhile. A web page without a kernel calls
// hold() with a `set` of its own.
export function hold(root, set) {
  let held = ""; // the control that the pointer has hold of
  let last = "";
  const put = (part) => {
    if (part.dataset.set === last) return;
    last = part.dataset.set;
    set(held, last.slice(held.length + 1));
  };
  root.addEventListener("pointerdown", (event) => {
    const part = event.target.closest?.("[data-set]");
    if (!part || event.button) return;
    event.preventDefault(); // no selection of text
    root.setPointerCapture(event.pointerId);
    [held, last] = [part.dataset.set.split("=")[0], ""];
    put(part);
  });
  root.addEventListener("pointermove", (event) => {
    if (!held) return;
    const parts = [...root.querySelectorAll("[data-set]")].filter((part) => part.dataset.set.startsWith(`${held}=`));
    const away = (part) => {
      const box = part.getBoundingClientRect();
      return Math.hypot(event.clientX - (box.left + box.right) / 2, event.clientY - (box.top + box.bottom) / 2);
    };
    if (parts.length) put(parts.reduce((a, b) => (away(b) < away(a) ? b : a)));
  });
  for (const end of ["pointerup", "pointercancel"]) root.addEventListener(end, () => (held = ""));
}

function render({ model, el }) {
  const start = () => {
    const root = el.closest(".minilora");
    if (!root) return requestAnimationFrame(start); // not on the page yet
    hold(root, (name, value) => model.send({ name, value }));
  };
  start();
}

export default { render };
