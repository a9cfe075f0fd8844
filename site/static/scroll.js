// A box whose content is wider than itself scrolls sideways; then the keyboard must reach it, and only then.
const sizes = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    if (target.scrollWidth > target.clientWidth + 1) target.tabIndex = 0;
    else target.removeAttribute("tabindex");
  }
});

export function reachable(box) {
  sizes.observe(box);
}
