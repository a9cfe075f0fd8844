// Native controls for what Python declares (minilora/explorables/controls.py): a slider, a list, or a check box.

// onMove gets the place of the new value among the words.
export function makeControl({ kind, label, words, place }, onMove) {
  const whole = element("label", { className: `control ${kind}` });
  const name = element("span", { textContent: label });
  if (kind === "switch") {
    const box = element("input", { type: "checkbox", checked: place === 1 });
    box.addEventListener("change", () => onMove(box.checked ? 1 : 0));
    whole.append(box, name);
  } else if (kind === "choice") {
    const list = element("select");
    list.append(...words.map((word) => element("option", { textContent: word })));
    list.selectedIndex = place;
    list.addEventListener("change", () => onMove(list.selectedIndex));
    whole.append(name, list);
  } else {
    const slider = element("input", { type: "range", min: 0, max: words.length - 1, step: 1, value: place });
    const shown = element("output", { textContent: words[place] });
    slider.setAttribute("aria-valuetext", words[place]);
    slider.addEventListener("input", () => {
      const now = Number(slider.value);
      shown.textContent = words[now];
      slider.setAttribute("aria-valuetext", words[now]);
      onMove(now);
    });
    whole.append(name, slider, shown);
  }
  return whole;
}

// As if moved by hand.
export function setControl(whole, place) {
  const input = whole.querySelector("input, select");
  if (input.type === "checkbox") input.checked = place === 1;
  else if (input.tagName === "SELECT") input.selectedIndex = place;
  else input.value = place;
  input.dispatchEvent(new Event(input.type === "range" ? "input" : "change"));
}

export function element(tag, properties = {}) {
  return Object.assign(document.createElement(tag), properties);
}
