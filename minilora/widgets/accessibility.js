// What ipywidgets' sliders lack: an accessible name, a spoken value, and arrow keys that Notebook 7 leaves alone.
function mend(root) {
  for (const handle of root.querySelectorAll(".noUi-handle")) {
    const row = handle.closest(".widget-inline-hbox");
    handle.dataset.lmSuppressShortcuts = "true";
    handle.setAttribute("aria-label", row?.querySelector(".widget-label")?.textContent ?? "");
    const spoken = row?.querySelector(".widget-readout")?.textContent;
    if (spoken && handle.getAttribute("aria-valuetext") !== spoken) handle.setAttribute("aria-valuetext", spoken);
  }
  root.querySelectorAll(".widget-html-content").forEach((node) => node.setAttribute("aria-live", "polite"));
}

function render({ el }) {
  const start = () => {
    const root = el.closest(".minilora");
    if (!root) return requestAnimationFrame(start); // not on the page yet
    mend(root);
    new MutationObserver(() => mend(root)).observe(root, { childList: true, subtree: true, characterData: true });
  };
  start();
}

export default { render };
