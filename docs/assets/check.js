// "Which network has this number of parameters?": the search of densenet_solutions/check/search.py
// once more. Rows, deviations and sentences come from Python as JSON; tests compare the answers.
(() => {
  "use strict";

  function normal(b) {
    if (!("growth_rate" in b)) return b;
    return {
      ...b,
      stem_width: b.stem_width === "2k" ? 2 * b.growth_rate : b.stem_width,
      blocks: b.blocks.map((layers, i) => layers + b.added[i]),
      added: [0, 0, 0, 0],
      buffers: b.norms === "none" ? "not counted" : b.buffers,
      bottleneck_kernel: b.bottleneck === "none" ? 1 : b.bottleneck_kernel,
      compression: b.transitions === "pool only" ? 1 : b.compression,
      stem_norm: b.stem_norm && b.norms !== "none",
    };
  }

  // Weights of convolutions and their outputs (biases); channels and number of the norms.
  class Sum {
    constructor(bias) {
      this.bias = bias;
      this.weights = this.outputs = this.normed = this.norms = 0;
    }
    convolution(inputs, outputs, kernel = 1, times = 1) {
      this.weights += kernel ** 2 * inputs * outputs;
      this.outputs += this.bias ? outputs * times : 0;
    }
    norm(channels, times = 1) {
      this.normed += channels;
      this.norms += times;
    }
    total(buffers) {
      let kept = buffers === "not counted" ? 0 : 2 * this.normed;
      if (buffers === "all") kept += this.norms;
      return this.weights + this.outputs + 2 * this.normed + kept;
    }
  }

  function transition(sum, b, width) {
    const out = Math.floor(width * b.compression);
    sum.norm(width);
    sum.convolution(width, out);
    return out;
  }

  function layers(sum, b, width, count) {
    const k = b.growth_rate;
    const m = { "2k": 2 * k, k, "k kept": k, swapped: k, none: 0 }[b.bottleneck] ?? 4 * k;
    const grown = b.bottleneck === "swapped" ? 4 * k : k;
    const kept = b.bottleneck.endsWith("kept") ? m : 0;
    const read = count * width + ((grown + kept) * count * (count - 1)) / 2;
    sum.norm(read, count);
    if (b.bottleneck === "none") {
      sum.convolution(read, grown, 3, count);
      return count * grown;
    }
    sum.convolution(read, m, b.bottleneck_kernel, count);
    const between = (kept ? read : 0) + count * m;
    sum.norm(between, count);
    sum.convolution(between, grown, 3, count);
    return count * (grown + kept);
  }

  const perClass = (b, width) => (b.head ? width + (b.head_bias ? 1 : 0) : 0);

  // [fixed, per channel, per class]
  function dense(b) {
    let width = b.stem_width;
    const sum = new Sum(b.bias !== "none");
    const perChannel = b.stem_kernel ** 2 * width;
    if (b.bias === "all") sum.outputs += width;
    if (b.stem_norm) sum.norm(width);
    if (b.transitions === "first") width = transition(sum, b, width);
    b.blocks.forEach((count, i) => {
      width = layers(sum, b, width, count) + (b.keeps_input ? width : 0);
      const last = i === b.blocks.length - 1;
      if (b.transitions !== "pool only" && (!last || b.transitions === "last"))
        width = transition(sum, b, width);
    });
    if (b.norms === "all") sum.norm(width);
    if (b.norms === "none") sum.normed = sum.norms = 0;
    return [sum.total(b.buffers), perChannel, perClass(b, width)];
  }

  function residual(b) {
    const sum = new Sum(b.bias !== "none");
    let width = 64;
    if (b.bias === "all") sum.outputs += width;
    if (b.stem_norm) sum.norm(width);
    b.blocks.forEach((blocks, stage) => {
      const inner = 64 * 2 ** stage;
      const out = b.wide ? 4 * inner : inner;
      for (let block = 0; block < blocks; block++) {
        const sides = b.wide
          ? [[width, inner, 1], [inner, inner, 3], [inner, out, 1]]
          : [[width, inner, 3], [inner, out, 3]];
        for (const [read, written, kernel] of sides) {
          sum.convolution(read, written, kernel);
          sum.norm(written);
        }
        const needed = block === 0 && (stage > 0 || width !== out);
        const stages = b.projection === "stages 2 to 4" && stage > 0;
        if (needed || stages || b.projection === "every block") {
          sum.convolution(width, out);
          if (b.projection_norm) sum.norm(out);
        }
        width = out;
      }
    });
    return [sum.total(b.buffers), b.stem_kernel ** 2 * 64, perClass(b, width)];
  }

  const terms = (b) => ("growth_rate" in b ? dense(normal(b)) : residual(b));
  const count = ([fixed, perChannel, perClass], channels, classes) =>
    fixed + perChannel * channels + perClass * classes;

  function applies(b, option) {
    const same = (x, y) => x === y || (Array.isArray(x) && x.every((side, i) => side === y[i]));
    if (Object.entries(option.changes).every(([name, value]) => same(b[name], value))) return false;
    const added = option.changes.added;
    if (!added) return true;
    const beyond = added.slice(b.blocks.length).some((a) => a) && !added.every((a) => a);
    return !beyond && b.blocks.every((layers, i) => layers + added[i] > 0);
  }

  // All builds within a weight, the right one first.
  function deviate(found, entry, axes, most) {
    found.push(entry);
    const { row, number, weight, chosen, build } = entry;
    const last = chosen.length ? axes.indexOf(chosen[chosen.length - 1][0]) : -1;
    for (const axis of axes.slice(last + 1))
      for (const option of axis.options) {
        if (weight + option.weight > most || !applies(build, option)) continue;
        deviate(found, {
          row, number, weight: weight + option.weight, chosen: [...chosen, [axis, option]],
          build: { ...build, ...option.changes },
        }, axes, most);
      }
  }

  const indexes = new WeakMap();
  function index(tables) {
    if (!indexes.has(tables)) {
      const found = [];
      tables.rows.forEach((row, number) => deviate(found, {
        row, number, weight: 0, chosen: [], build: row.build,
      }, tables.axes[row.family], tables.most));
      for (const entry of found) entry.terms = terms(entry.build);
      found.sort((a, b) => a.weight - b.weight || a.number - b.number);
      indexes.set(tables, found);
    }
    return indexes.get(tables);
  }

  const many = (n, what) => `${n} ${what}${n > 1 ? "s" : ""}`;
  const grouped = (n) => String(n).replace(/\B(?=(\d{3})+$)/g, ",");

  function finding({ row, channels, classes, chosen }, most) {
    const setup = `${row.title}, ${many(channels, "channel")}, ${classes} classes`;
    if (!chosen.length) return { kind: "right", text: `${setup}: right.`, line: "" };
    let text = `${setup}, but: ${chosen.map(([, option]) => option.text).join(" ")}`;
    if (chosen.length >= most) text += " (Three deviations at once can meet a number by chance.)";
    const lines = chosen.map(([axis]) => axis.lines[row.authority] ?? axis.lines.paper ?? "");
    const wrong = chosen.some(([, option]) => option.kind === "mistake");
    return { kind: wrong ? "wrong" : "harmless", text, line: [...new Set(lines)].join(" ") };
  }

  function matches(tables, n) {
    const hits = [];
    index(tables).forEach((entry, i) => {
      for (const channels of tables.channels)
        for (const classes of tables.classes)
          if (count(entry.terms, channels, classes) === n) {
            const { row } = entry;
            const unusual = (channels !== row.channels) + (classes !== row.classes);
            hits.push({ ...entry, unusual, i, channels, classes });
          }
    });
    hits.sort((a, b) => a.weight - b.weight || a.unusual - b.unusual || a.i - b.i
      || a.channels - b.channels || a.classes - b.classes);
    const seen = new Set();
    return hits.filter((hit) => {
      const same = JSON.stringify([Object.entries(normal(hit.build)).sort(), hit.channels,
        hit.build.head ? hit.classes : 0]);
      return !seen.has(same) && seen.add(same);
    });
  }

  function meaning(difference, [, perChannel, perClass], channels, classes) {
    const more = difference / perClass;
    if (Number.isInteger(more) && classes + more >= 2 && classes + more <= 100000)
      return `So ${grouped(classes + more)} classes make it: ${grouped(perClass)} parameters each.`;
    const planes = difference / perChannel;
    if (Number.isInteger(planes) && channels + planes >= 1 && channels + planes <= 32)
      return `So ${channels + planes} channels make it: ${grouped(perChannel)} parameters each.`;
    return "";
  }

  function nearest(tables, n) {
    const found = [];
    tables.rows.forEach((row, number) => {
      const of = terms(row.build);
      for (const channels of tables.channels)
        for (const classes of tables.classes) {
          const total = count(of, channels, classes);
          const difference = n - total;
          found.push({ row, number, channels, classes, total, difference,
            meaning: meaning(difference, of, channels, classes) });
        }
    });
    found.sort((a, b) => !a.meaning - !b.meaning
      || Math.abs(a.difference) - Math.abs(b.difference) || a.number - b.number
      || a.channels - b.channels || a.classes - b.classes);
    const names = new Set();
    return found.filter(({ row }) => !names.has(row.name) && names.add(row.name)).slice(0, 3);
  }

  // What a number of parameters says, as a list of { kind, text, line }.
  function findings(tables, n) {
    const builds = matches(tables, n);
    if (builds.length) return builds.map((build) => finding(build, tables.most));
    return [
      { kind: "wrong", text: tables.nothing, line: "" },
      ...nearest(tables, n).map(({ row, channels, classes, total, difference, meaning: so }) => {
        const sign = difference > 0 ? "more" : "fewer";
        const text = `${grouped(Math.abs(difference))} ${sign} than ${row.title} with `
          + `${many(channels, "channel")} and ${classes} classes (${grouped(total)}). ${so}`;
        return { kind: "note", text: text.trim(), line: "" };
      }),
    ];
  }

  if (typeof module !== "undefined" && module.exports) {
    module.exports = { findings };
    return;
  }
  globalThis.densenetCheck = { findings };

  const words = { right: "Right", wrong: "Wrong", harmless: "Harmless", note: "Note" };

  function show(output, found) {
    const list = document.createElement("ul");
    for (const { kind, text, line } of found) {
      const item = list.appendChild(document.createElement("li"));
      item.dataset.kind = kind;
      item.appendChild(document.createElement("strong")).textContent = `${words[kind]}. `;
      item.append(text);
      if (line) item.appendChild(document.createElement("small")).textContent = line;
    }
    output.replaceChildren(list);
  }

  function start(form) {
    const tables = JSON.parse(form.querySelector("script").textContent);
    const written = new RegExp(`^(?:${tables.written})$`);
    const input = form.querySelector("input");
    const output = form.querySelector("output");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const said = input.value.trim();
      const typed = Number(said.replace(/[^0-9]/g, ""));
      const valid = written.test(said) && typed > 0 && Number.isSafeInteger(typed);
      input.setAttribute("aria-invalid", String(!valid));
      show(output, valid ? findings(tables, typed) : [{
        kind: "note", text: "Type a whole number, for example 7,978,856.", line: "",
      }]);
    });
    // The table of all builds is made while the reader types.
    input.addEventListener("focus", () => setTimeout(() => index(tables), 50), { once: true });
    form.hidden = false;
  }

  document.querySelectorAll(".ds-check-form").forEach(start);
})();
