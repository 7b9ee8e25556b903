// The explorer page: reads the form, draws the result, keeps its state in the address.
// The numbers come from the page itself; `densenet_solutions/exercises/explorer/pictures.py` says
// the same in Python, and a test compares the two.
"use strict";
(function () {
  const holder = document.getElementById("explorer-data");
  const form = document.getElementById("explorer");
  const result = document.getElementById("explorer-result");
  if (!holder || !form || !result) return;
  const data = JSON.parse(holder.textContent);
  const slider = form.querySelector("input[type=range]"); // base-2 logarithm of the batch
  const GIB = 2 ** 30;

  function lookUp(state) {
    const autocast = state.dtype === "autocast" ? " autocast" : "";
    return data.cases[state.network + " " + state.strategy + autocast];
  }

  function estimate(state) {
    const found = lookUp(state);
    const [[x0, low], [x1, high]] = found.line;
    const share = (state.batch * state.resolution * state.resolution - x0) / (x1 - x0);
    const width = data.bytes[state.dtype];
    const sizes = {};
    data.categories.forEach((name, i) => {
      let value = (Math.max(0, low[i] + (high[i] - low[i]) * share) * width) / 4;
      if (name === "optimizer" && state.strategy !== "inference") {
        value += data.optimizers[state.optimizer] * found.parameters * width;
      }
      sizes[name] = Math.floor(value + 0.5);
    });
    return sizes;
  }

  function read() {
    const state = Object.fromEntries(new FormData(form));
    state.batch = Math.min(65536, Math.max(1, Math.round(Number(state.batch)) || 1));
    state.resolution = Number(state.resolution);
    return state;
  }

  function size(bytes) {
    return bytes >= GIB ? (bytes / GIB).toFixed(2) + " GiB" : (bytes / 2 ** 20).toFixed(1) + " MiB";
  }

  function element(tag, text, attributes) {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    Object.entries(attributes || {}).forEach(([name, value]) => made.setAttribute(name, value));
    return made;
  }

  function show() {
    const state = read();
    slider.value = Math.log2(state.batch);
    const found = lookUp(state);
    result.replaceChildren();
    if (!found) {
      result.append(element("p", "This combination was not computed."));
      return;
    }
    const sizes = estimate(state);
    const peak = Object.values(sizes).reduce((a, b) => a + b, 0);
    const work = (found.multiplyAdds * state.batch * (state.resolution / 224) ** 2) / 1e9;
    result.append(
      element("p", "Peak " + size(peak), { class: "ds-explorer-peak", "data-bytes": peak }),
      element("p", found.parameters.toLocaleString("en") + " parameters, about " +
        work.toLocaleString("en", { maximumFractionDigits: 1 }) + " G multiply-adds forward")
    );
    const bar = element("div", undefined, { class: "ds-explorer-bar", "aria-hidden": "true" });
    const list = element("dl");
    data.categories.forEach((name) => {
      if (!sizes[name]) return;
      const share = sizes[name] / peak;
      const colour = "background: var(--ds-" + name + ", " + data.colours[name] + ")";
      bar.append(element("span", undefined, { style: "width: " + 100 * share + "%; " + colour }));
      const term = element("dt");
      term.append(element("i", undefined, { style: colour }), " " + name);
      list.append(term, element("dd", size(sizes[name]) + ", " + (100 * share).toFixed(1) + "%",
        { "data-category": name, "data-bytes": sizes[name] }));
    });
    const gpus = element("ul", undefined, { "aria-label": "Which GPUs it fits" });
    data.gpus.forEach(([name, memory]) => {
      const spare = memory * GIB - peak;
      const [verdict, kind] = spare < 0 ? ["✗ too large for ", "ds-too-large"]
        : spare < data.headroom[0] + data.headroom[1] * peak ? ["≈ tight in ", "ds-tight"] : ["✓ fits ", "ds-fits"];
      gpus.append(element("li", verdict + memory + " GiB (" + name + ")", { class: kind }));
    });
    result.append(bar, list, gpus);
    history.replaceState(null, "", "#" + new URLSearchParams(state).toString());
  }

  function restore() {
    new URLSearchParams(location.hash.slice(1)).forEach((value, name) => {
      const field = form.elements[name];
      if (!field) return;
      const before = field.value;
      field.value = value;
      if (!field.value) field.value = before; // a value that is not on offer
    });
  }

  form.addEventListener("input", (event) => {
    if (event.target === slider) form.elements.batch.value = Math.round(2 ** slider.value);
    show();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  window.addEventListener("hashchange", () => { restore(); show(); });
  restore();
  form.hidden = result.hidden = false;
  show();
})();
