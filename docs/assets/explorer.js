// The explorer page: reads the form, draws both cases and the cards, keeps its state in the address.
// Numbers come from the page, those of a network of one's own from `explorer-own.js`. `densenet_solutions/exercises/explorer/estimate.py` and `cards.py`, and
// `tests/site/explorer_in_python.py`, say the same in Python, and a test compares the two.
"use strict";
(function () {
  const holder = document.getElementById("explorer-data");
  const root = document.getElementById("explorer");
  if (!holder || !root) return;
  const data = JSON.parse(holder.textContent);
  const form = root.querySelector("form");
  const field = form.elements;
  const slider = root.querySelector("[data-slider]"); // base-2 logarithm of the batch
  const GIB = 2 ** 30;
  const [LEFT, RIGHT] = [0.75, 160]; // GiB at the ends of the ruler, which is logarithmic
  const whole = (value) => Math.floor(Math.max(0, value) + 0.5);
  const isTraining = (state) => state.way !== "inference";

  // --- what Python computes too -----------------------------------------------------------------

  function need(found, state, batch) {
    const pixels = batch * state.side * state.side;
    let at = found.x.findIndex((x, i) => i > 0 && pixels <= x);
    if (at < 0) at = found.x.length - 1;
    const share = (pixels - found.x[at - 1]) / (found.x[at] - found.x[at - 1]);
    const kept = isTraining(state) ? 4 * found.p * data.optimizers[state.optimizer] : 0;
    const floor = kept ? 8 * found.p + kept : 0;
    return [found.a, found.r].map((y) =>
      Math.max(whole(y[at - 1] + (y[at] - y[at - 1]) * share) + kept, floor));
  }

  function bounds(state, [allocated, reserved]) {
    const own = state.own && !same(state.own, state.from);
    const miss = data.miss[own ? "own" : state.network][isTraining(state) ? 1 : 0];
    return [allocated + data.context, whole(reserved * (1 + miss)) + data.context];
  }

  function largest(found, state, card, which) {
    let [low, high] = [0, data.largest + 1];
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2);
      if (bounds(state, need(found, state, middle))[which] <= card) low = middle;
      else high = middle;
    }
    return low;
  }

  function alive(found, state) {
    const pixels = state.batch * state.side * state.side;
    const kept = isTraining(state) ? 4 * found.p * data.optimizers[state.optimizer] : 0;
    const images = 4 * found.c * pixels + (isTraining(state) ? 8 * state.batch : 0);
    const fixed = whole((found.f + kept + images) / 1024);
    const share = (pixels - found.s[0]) / (found.s[1] - found.s[0]);
    const rows = [];
    found.l[0].forEach((low, i) => {
      if (i % 3 === 0) rows.push([fixed]);
      rows[rows.length - 1].push(whole(low + (found.l[1][i] - low) * share));
    });
    return rows;
  }

  // --- state ------------------------------------------------------------------------------------

  function read() {
    const all = Object.fromEntries(new FormData(form));
    const common = {
      batch: within(all.batch, 1, data.largest),
      side: Number(all.side),
      numbers: all.numbers,
      optimizer: all.optimizer ?? field.optimizer.value, // a disabled field has no value
    };
    return ["a", "b"].map((name) => {
      const state = { ...common, name, network: all[name], way: all[name + "-way"] };
      const from = data.networks[state.network];
      return from ? { ...state, from, own: ownOf(name, from, all) } : state;
    });
  }

  // What was typed, made possible; what was not understood is as in the network that it came from.
  function ownOf(name, from, all) {
    const layers = (all[name + "-layers"] ?? "").match(/[\d.]+/g);
    const theta = parseFloat((all[name + "-theta"] ?? "").replace(",", "."));
    return {
      ...from,
      k: within(all[name + "-k"] || from.k, 4, 128),
      layers: layers ? layers.slice(0, 4).map((count) => within(count, 1, 64)) : from.layers,
      theta: Number.isNaN(theta) ? from.theta : Math.min(1, Math.max(0.2, theta)),
    };
  }

  const same = (own, from) =>
    own.k === from.k && own.theta === from.theta && "" + own.layers === "" + from.layers;

  const made = new Map(); // networks of one's own
  function known(state) {
    const autocast = state.numbers === "autocast";
    const recorded = data.cases[state.network + " " + state.way + (autocast ? " autocast" : "")];
    if (!recorded || !state.own || same(state.own, state.from)) return recorded;
    const { k, layers, theta } = state.own;
    const name = [state.network, state.way, autocast, k, layers, theta].join(" ");
    if (!made.has(name)) {
      const { sizes, stretches, cublas } = data;
      made.set(name, window.ownDenseNet(state.own, state.way, autocast, sizes, stretches, cublas));
    }
    return withAsked(made.get(name), state);
  }

  // What is known of a network of one's own, and what it needs at the size that was asked for.
  function withAsked(found, { own, way, numbers, batch, side }) {
    if (data.sizes.some(([images, resolution]) => images === batch && resolution === side)) return found;
    const asked = window.ownDenseNet(own, way, numbers === "autocast", [[batch, side]],
      data.stretches, data.cublas);
    const [pixels] = asked.x;
    const at = found.x.filter((x) => x < pixels).length;
    const after = found.x[at] === pixels ? at + 1 : at;
    const put = (of) => [...found[of].slice(0, at), asked[of][0], ...found[of].slice(after)];
    return { ...found, x: put("x"), a: put("a"), r: put("r") };
  }

  const within = (value, low, high) =>
    Math.min(high, Math.max(low, Math.round(Number(value)) || low));

  // Fields follow each other: ResNet has no growth rate and nothing to recompute, inference no
  // optimizer.
  function agree() {
    for (const name of ["a", "b"]) {
      const network = field[name].value;
      const ways = field[name + "-way"];
      for (const option of ways.options) {
        option.disabled = !(network + " " + option.value in data.cases);
      }
      if (ways.selectedOptions[0].disabled) ways.value = "plain";
      const from = data.networks[network];
      for (const of of ["k", "layers", "theta"]) {
        const typed = field[name + "-" + of];
        typed.disabled = !from;
        if (!from) typed.value = "";
        else if (!typed.value && typed !== document.activeElement) { // which is being typed into
          typed.value = of === "layers" ? from.layers.join(" ") : from[of];
        }
      }
    }
    field.optimizer.disabled = ["a", "b"].every((name) => field[name + "-way"].value === "inference");
  }

  // --- what is shown ----------------------------------------------------------------------------

  const size = (bytes) => bytes >= 0.995 * GIB ? (bytes / GIB).toFixed(2) + " GiB"
    : (bytes / 2 ** 20).toFixed(0) + " MiB";
  const times = (ratio) => ratio.toFixed(ratio < 10 ? 1 : 0) + "×";
  const place = (bytes) => 100 * Math.min(1, Math.max(0,
    Math.log(bytes / GIB / LEFT) / Math.log(RIGHT / LEFT)));

  function element(tag, text, attributes) {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    Object.entries(attributes || {}).forEach(([name, value]) => made.setAttribute(name, value));
    return made;
  }

  function title(state) {
    const text = field[state.name].selectedOptions[0].textContent;
    const way = field[state.name + "-way"].selectedOptions[0].textContent;
    if (!state.own || same(state.own, state.from)) return text + ", " + way;
    const { k, layers, theta } = state.own;
    return `${text} with k\u00a0=\u00a0${k}, ${layers.join("·")} layers, θ\u00a0=\u00a0${theta}, ${way}`;
  }

  function drawStep(box, found, state, top, moment) {
    const rows = alive(found, state);
    const sum = (row) => row.reduce((a, b) => a + b, 0);
    const height = (kib) => ((100 * 1024 * kib) / top).toFixed(2);
    let floor = rows.map(() => 0);
    const parts = data.kinds.map(([, colour], kind) => {
      const ceiling = floor.map((kib, i) => kib + rows[i][kind]);
      const edge = (line) => line.map((kib, i) =>
        [i + "," + (100 - height(kib)), i + 1 + "," + (100 - height(kib))]);
      const points = [...edge(ceiling).flat(), ...edge(floor).map((p) => p.reverse()).reverse().flat()];
      floor = ceiling;
      return '<polygon points="' + points.join(" ") + '" style="fill:' + colour + '"/>';
    });
    const most = rows.reduce((best, row, i) => (sum(row) > sum(rows[best]) ? i : best), 0);
    const at = moment ? moment - 1 : most;
    const y = 100 - (100 * state.need[1]) / top;
    box.querySelector("svg").innerHTML = parts.join("") +
      `<path class="ds-explorer-reserved" d="M0 ${y}H${rows.length}"/>` +
      `<path class="ds-explorer-moment" d="M${at + 0.5} 0V100"/>`;
    box.querySelector("svg").dataset.live = rows[at].join(" ");
    const kind = rows[at].indexOf(Math.max(...rows[at]));
    box.querySelector(".ds-explorer-alive").textContent =
      `${moment ? "Here" : "Peak"}: ${size(1024 * sum(rows[at]))} alive, ` +
      `${((100 * rows[at][kind]) / sum(rows[at])).toFixed(0)}% of it ${data.kinds[kind][0]}`;
  }

  function drawCards(states) {
    const body = root.querySelector("tbody");
    body.replaceChildren();
    Object.entries(data.cards).forEach(([card, gib]) => {
      const row = element("tr");
      const head = element("th", card + " ", { scope: "row" });
      head.append(element("small", gib.toFixed(1)));
      const ruler = element("td", undefined, { class: "ds-explorer-ruler", "aria-hidden": "true" });
      ruler.append(element("i", undefined, { style: `width:${place(gib * GIB)}%` }));
      row.append(head, ruler);
      states.forEach((state) => {
        if (!state.found) return row.append(element("td", "—"));
        const [least, most] = state.bounds;
        ruler.append(
          element("span", undefined, { class: "ds-explorer-band", "data-case": state.name,
            style: `left:${place(least)}%;width:${place(most) - place(least)}%` }),
          element("b", undefined, { "data-case": state.name, style: `left:${place(state.gone)}%` }));
        const verdict = gib * GIB >= most ? "fits" : gib * GIB >= least ? "tight" : "too-large";
        const mark = { fits: "✓", tight: "≈", "too-large": "✗" }[verdict];
        const words = { fits: "fits", tight: "is tight", "too-large": "does not fit" }[verdict];
        const batches = [1, 0].map((which) => largest(state.found, state, gib * GIB, which));
        const say = (n) => (n >= data.largest ? "≥ " : "") + n.toLocaleString("en");
        const cell = element("td", undefined, { class: "ds-" + verdict, "data-card": card,
          "data-case": state.name, "data-fits": batches[0], "data-may-fit": batches[1],
          title: `${words}; up to ${say(batches[0])} images, perhaps up to ${say(batches[1])}` });
        cell.append(element("span", mark, { "aria-hidden": "true" }),
          element("span", words + ", largest batch ", { class: "ds-explorer-spoken" }),
          " " + say(batches[0]));
        row.append(cell);
      });
      body.append(row);
    });
  }

  function show(save = true) {
    agree();
    const states = read();
    slider.value = Math.round(Math.log2(states[0].batch));
    const moment = Number(field.moment.value);
    field.moment.setAttribute("aria-valuetext",
      moment ? `${moment} of ${field.moment.max}` : "at the peak");
    for (const state of states) {
      state.found = known(state);
      if (!state.found) continue;
      state.need = need(state.found, state, state.batch);
      state.bounds = bounds(state, state.need);
      state.gone = state.need[1] + data.context;
    }
    const top = 1.04 * Math.max(...states.map((state) => state.need?.[1] ?? 0));
    for (const state of states) {
      const box = root.querySelector(`figure[data-case=${state.name}]`);
      box.querySelector(".ds-explorer-name").textContent = title(state);
      const said = box.querySelector("strong");
      said.textContent = state.found ? size(state.need[1]) : "not predicted";
      ["allocated", "reserved"].forEach((name, i) => (said.dataset[name] = state.need?.[i] ?? ""));
      if (state.found) drawStep(box, state.found, state, top, moment);
      else {
        box.querySelector("svg").replaceChildren();
        box.querySelector(".ds-explorer-alive").textContent =
          "With autocast: plain and inference only.";
      }
      const flag = root.querySelector(`thead [data-case=${state.name}]`);
      flag.hidden = !state.found;
      flag.style.left = place(state.gone ?? 0) + "%";
      const other = states[1 - states.indexOf(state)].gone ?? Infinity; // flags side by side
      const before = state.gone < other || (state.gone === other && state.name === "a");
      flag.style.transform = `translateX(${before || place(state.gone ?? 0) > 90 ? -100 : 0}%)`;
    }
    drawCards(states);
    const [a, b] = states.map((state) => state.need?.[1]);
    const taken = states.filter((state) => state.found)
      .map((state) => `${state.name.toUpperCase()} ${(state.gone / GIB).toFixed(2)}`);
    const compared = !a || !b ? "" : a === b ? "Both reserve the same. "
      : a > b ? `B reserves ${times(a / b)} less. ` : `B reserves ${times(b / a)} as much. `;
    root.querySelector("[aria-live]").textContent = `${compared}Of a card: ${taken.join(", ")} GiB.`;
    if (save) history.replaceState(null, "", "#" + new URLSearchParams(new FormData(form)).toString());
  }

  function restore() {
    const said = new URLSearchParams(location.hash.slice(1));
    for (const name of ["a", "b"]) if (said.has(name)) asItIs(name);
    said.forEach((value, name) => {
      const found = field[name];
      if (!(found instanceof HTMLElement) || found.tagName === "BUTTON") return;
      const before = found.value;
      found.value = value;
      if (found.tagName === "SELECT" && !found.value) found.value = before; // not on offer
    });
    agree();
    write();
  }

  // What was typed becomes what is computed.
  function write() {
    const states = read();
    field.batch.value = states[0].batch;
    for (const { name, own } of states) {
      if (!own) continue;
      field[name + "-k"].value = own.k;
      field[name + "-layers"].value = own.layers.join(" ");
      field[name + "-theta"].value = own.theta;
    }
  }

  // Another network comes as it is.
  function asItIs(name) {
    for (const of of ["k", "layers", "theta"]) field[name + "-" + of].value = "";
  }

  form.addEventListener("input", (event) => {
    if (event.target === slider) field.batch.value = 2 ** slider.value;
    for (const name of ["a", "b"]) {
      if (event.target === field[name]) asItIs(name);
    }
    show();
  });
  form.addEventListener("change", () => { write(); show(); });
  form.addEventListener("submit", (event) => event.preventDefault());
  const copy = form.querySelector("button");
  copy.hidden = !navigator.clipboard;
  copy.addEventListener("click", () => navigator.clipboard.writeText(location.href)
    .then(() => (copy.textContent = "Copied")));
  form.addEventListener("input", () => (copy.textContent = "Copy link"));
  // A finger or a mouse over a step looks into that moment.
  for (const svg of root.querySelectorAll("figure svg")) {
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const at = Math.floor((Number(field.moment.max) * (event.clientX - box.left)) / box.width);
      field.moment.value = 1 + at;
      show();
    });
    svg.addEventListener("pointerleave", () => { field.moment.value = 0; show(); });
  }
  function follow() {
    restore();
    show(!document.getElementById(location.hash.slice(1))); // the address of a section stays
  }
  window.addEventListener("hashchange", follow);
  root.hidden = false;
  follow();
})();
