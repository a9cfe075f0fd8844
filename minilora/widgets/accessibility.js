// What ipywidgets' controls lack: keys that reach them (JupyterLab and Notebook 7 would go to another cell with the
// arrows, and edit one with Enter), and for sliders an accessible name and a spoken value.
function mend(root) {
  for (const control of root.querySelectorAll(".noUi-handle, select, input, button"))
    control.dataset.lmSuppressShortcuts = "true";
  for (const handle of root.querySelectorAll(".noUi-handle")) {
    const row = handle.closest(".widget-inline-hbox");
    handle.setAttribute("aria-label", row?.querySelector(".widget-label")?.textContent ?? "");
    const spoken = row?.querySelector(".widget-readout")?.textContent;
    if (spoken && handle.getAttribute("aria-valuetext") !== spoken) handle.setAttribute("aria-valuetext", spoken);
  }
  root.querySelectorAll(".widget-html-content").forEach((node) => node.setAttribute("aria-live", "polite"));
}

// A part of a picture that names a control and a value (data-set) sets it when it is clicked. The web site uses this too.
export function takeHold(root, set) {
  root.addEventListener("click", (event) => {
    const part = event.target.closest?.("[data-set]");
    if (part) set(...part.dataset.set.split("="));
  });
}

function render({ el, model }) {
  const start = () => {
    const root = el.closest(".minilora");
    if (!root) return requestAnimationFrame(start); // not on the page yet
    mend(root);
    takeHold(root, (name, value) => model.send({ set: [name, value] }));
    new MutationObserver(() => mend(root)).observe(root, { childList: true, subtree: true, characterData: true });
  };
  start();
}

export default { render };
