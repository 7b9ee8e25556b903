// A DenseNet of one's own: what its step asks of a GPU's allocator, and what the allocator makes of
// it. The same in Python: `tape.py`, `tape_saving.py` and `own.py` of
// `densenet_solutions/exercises/explorer`, and `densenet_solutions/measure/cuda_cache.py`; a test
// compares the two to the byte. A network is { k, layers, theta, h, inplace, bias, channels, classes },
// h being the width of a bottleneck in growth rates, 0 without one.
"use strict";
(function () {
  const MIB = 2 ** 20;
  const ceil = (a, b) => Math.ceil(a / b);

  // --- the caching allocator, without a limit and without expandable segments --------------------

  class CachingAllocator {
    constructor() {
      this.allocated = this.reserved = this.peakAllocated = this.peakReserved = this.end = 0;
      this.pools = { small: [], large: [] }; // free blocks by size, then address
    }

    allocate(bytes) {
      const size = Math.max(512, 512 * ceil(bytes, 512));
      const small = size <= MIB;
      const pool = this.pools[small ? "small" : "large"];
      let at = this.place(pool, size, -1);
      if (at === pool.length) {
        const segment = size >= 10 * MIB ? 2 * MIB * ceil(size, 2 * MIB) : small ? 2 * MIB : 20 * MIB;
        this.give({ address: this.end, size: segment, pool, free: true, before: null, after: null });
        this.end += segment;
        this.reserved += segment;
        this.peakReserved = Math.max(this.peakReserved, this.reserved);
        at = this.place(pool, size, -1);
      }
      const [block] = pool.splice(at, 1);
      block.free = false;
      const left = block.size - size;
      if (small ? left >= 512 : left > MIB) {
        const rest = { address: block.address + size, size: left, pool, free: true,
          before: block, after: block.after };
        if (rest.after) rest.after.before = rest;
        block.size = size;
        block.after = rest;
        this.give(rest);
      }
      this.allocated += block.size;
      this.peakAllocated = Math.max(this.peakAllocated, this.allocated);
      return block;
    }

    release(block) {
      this.allocated -= block.size;
      block.free = true;
      this.give(block);
    }

    place(pool, size, address) {
      let [low, high] = [0, pool.length];
      while (low < high) {
        const middle = (low + high) >> 1;
        const one = pool[middle];
        if (one.size < size || (one.size === size && one.address < address)) low = middle + 1;
        else high = middle;
      }
      return low;
    }

    take(block) {
      block.pool.splice(this.place(block.pool, block.size, block.address), 1);
    }

    give(given) {
      let block = given;
      if (block.after?.free) this.join(block, this.take(block.after));
      if (block.before?.free) {
        block = block.before;
        this.take(block);
        this.join(block);
      }
      block.pool.splice(this.place(block.pool, block.size, block.address), 0, block);
    }

    join(block) {
      block.size += block.after.size;
      block.after = block.after.after;
      if (block.after) block.after.before = block;
    }
  }

  // --- births and deaths of storages --------------------------------------------------------------

  class Tape {
    constructor(width) {
      Object.assign(this, { width, sizes: [], events: [], gradients: new Set(), kept: new Set(),
        withIt: new Map() }); // storages that die with another
    }

    new(numbers, width = this.width) {
      this.events.push(this.sizes.length);
      return this.sizes.push(numbers * width) - 1;
    }

    free(...storages) {
      for (const storage of storages) {
        this.events.push(~storage, ...(this.withIt.get(storage) ?? []).map((one) => ~one));
      }
    }

    passing(numbers) {
      this.free(this.new(numbers));
    }

    gradient(numbers) {
      this.gradients.add(this.new(numbers, 4));
    }

    backward() {
      this.kept = new Set(this.events.filter((event) => event >= 0));
      for (const event of this.events) if (event < 0) this.kept.delete(~event);
    }
  }

  const last = (stack, count) => stack.splice(stack.length - count, count);

  class PlainStep {
    constructor(net, batch, side, autocast) {
      this.on = new Tape(autocast ? 2 : 4);
      this.k = net.k;
      this.h = net.h * net.k;
      this.width = 2 * net.k;
      this.stemPixels = (side / 2) ** 2;
      this.stemNumbers = this.width * batch * this.stemPixels;
      this.images = net.channels * batch * side * side;
      this.casts = [];
      Object.assign(this, { net, batch, side, autocast });
      this.blocks = widths(net).map(([start, end, after], i) => {
        const pixels = (side / 4 / 2 ** i) ** 2;
        return { start, end, after, pixels, rows: batch * pixels };
      });
    }

    tape() {
      const stem = this.stem();
      let x = stem[stem.length - 1];
      const kept = [];
      for (const block of this.blocks) {
        const [output, ofBlock] = this.forward(block, x);
        x = output;
        kept.push(ofBlock);
      }
      let gradient = this.head(this.blocks[this.blocks.length - 1], x);
      for (const block of [...this.blocks].reverse()) {
        gradient = this.backward(block, kept.pop(), gradient);
      }
      this.stemBackward(stem, gradient);
      return this.on;
    }

    norm(channels, rows, ...dead) {
      const a = this.on.new(channels * rows);
      const statistics = [this.on.new(channels), this.on.new(channels)];
      this.on.free(...dead);
      return this.rectified(a, channels * rows, statistics);
    }

    rectified(a, numbers, statistics) {
      const relu = this.net.inplace ? a : this.on.new(numbers);
      if (relu !== a) this.on.free(a);
      this.on.withIt.set(relu, statistics);
      return relu;
    }

    normBackward(channels, rows, a, da, ...dead) {
      const relu = this.on.new(channels * rows);
      this.on.free(a, da);
      const dx = this.on.new(channels * rows);
      this.on.gradient(channels);
      this.on.gradient(channels);
      this.on.free(...dead, relu);
      return dx;
    }

    cast(...numbers) {
      if (this.autocast) this.casts.push(numbers.filter(Boolean).map((some) => this.on.new(some)));
    }

    convolution(inputs, outputs, rows, kernel = 1) {
      this.cast(outputs * this.net.bias, kernel ** 2 * inputs * outputs);
      return this.on.new(outputs * rows);
    }

    weights(inputs, outputs, kernel = 1) {
      this.weightGradients(kernel ** 2 * inputs * outputs, outputs * this.net.bias);
    }

    weightGradients(...all) {
      const numbers = all.filter(Boolean);
      const halves = this.autocast ? numbers.map((some) => this.on.new(some)) : [];
      if (this.autocast) this.on.free(...this.casts.pop());
      numbers.forEach((some, i) => {
        this.on.gradient(some);
        this.on.free(...halves.slice(i, i + 1));
      });
    }

    wide(inputs, outputs, rows, kernel = 3) {
      this.on.passing((inputs + outputs) * rows + kernel ** 2 * inputs * outputs);
    }

    stemConvolution() {
      const { channels, bias } = this.net;
      this.cast(this.width * bias, 49 * channels * this.width, this.images);
      return this.on.new(this.stemNumbers);
    }

    stem() {
      const z = this.stemConvolution();
      const a = this.norm(this.width, this.batch * this.stemPixels);
      const x = this.on.new(this.stemNumbers / 4);
      return [z, a, this.on.new(this.stemNumbers / 4, 8), x];
    }

    stemBackward([z, a, winners], gradient) {
      const da = this.on.new(this.stemNumbers);
      this.on.free(winners, gradient);
      const dz = this.normBackward(this.width, this.batch * this.stemPixels, a, da, z);
      this.on.passing(this.stemNumbers + this.images + 49 * this.net.channels * this.width);
      this.weights(this.net.channels, this.width, 7);
      this.on.free(dz);
    }

    head(block, x) {
      const { on, batch } = this;
      const { classes } = this.net;
      const logits = batch * classes;
      const a = this.lastNorm(block.end, block.rows);
      const mean = on.new(batch * block.end);
      this.cast(classes * block.end, classes);
      const scores = [on.new(logits)];
      if (this.autocast) scores.push(on.new(logits, 4));
      const logs = on.new(logits, 4);
      on.new(1);
      on.new(1);
      on.backward();
      on.new(1);
      on.free(...scores);
      const ofLoss = on.new(logits, 4);
      let ofScores = on.new(logits, 4);
      on.free(logs, ofLoss);
      if (this.autocast) {
        const single = ofScores;
        ofScores = on.new(logits);
        on.free(single);
      }
      const dmean = on.new(batch * block.end);
      this.weightGradients(classes * block.end, classes);
      on.free(ofScores, mean);
      const da = on.new(block.end * block.rows);
      on.free(dmean);
      return this.normBackward(block.end, block.rows, a, da, ...this.afterHead(x));
    }

    lastNorm(channels, rows) {
      return this.norm(channels, rows);
    }

    afterHead(x) {
      return [x];
    }

    layer(channels, rows, ...dead) {
      if (!this.h) {
        const y = this.convolution(channels, this.k, rows, 3);
        this.on.free(...dead);
        return [[], y];
      }
      const z = this.convolution(channels, this.h, rows);
      this.on.free(...dead);
      const a = this.norm(this.h, rows);
      return [[z, a], this.convolution(this.h, this.k, rows, 3)];
    }

    forward(block, entered) {
      const kept = [];
      let x = entered;
      for (let channels = block.start; channels < block.end; channels += this.k) {
        const a = this.norm(channels, block.rows);
        const [inside, y] = this.layer(channels, block.rows);
        kept.push(x, a, ...inside);
        x = this.on.new((channels + this.k) * block.rows);
        this.on.free(y);
      }
      return this.transition(block, x, kept);
    }

    transition(block, x, kept) {
      if (!block.after) return [x, kept];
      const a = this.norm(block.end, block.rows);
      const t = this.convolution(block.end, block.after, block.rows);
      return [this.on.new((block.after * block.rows) / 4), [...kept, x, a, t]];
    }

    transitionBackward(block, [x, a, t], gradient) {
      const dt = this.on.new(block.after * block.rows);
      this.on.free(t, gradient);
      const da = this.on.new(block.end * block.rows);
      this.weights(block.end, block.after);
      this.on.free(dt);
      return this.normBackward(block.end, block.rows, a, da, x);
    }

    bottleneckBackward([z, a], rows, dy) {
      const da = this.on.new(this.h * rows);
      this.wide(this.h, this.k, rows);
      this.weights(this.h, this.k, 3);
      this.on.free(...dy);
      return this.normBackward(this.h, rows, a, da, z);
    }

    layerBackward(channels, rows, a, dy, ...dead) {
      const da = this.on.new(channels * rows);
      if (this.h) this.weights(channels, this.h);
      else {
        this.wide(channels, this.k, rows);
        this.weights(channels, this.k, 3);
      }
      this.on.free(...dy);
      return this.normBackward(channels, rows, a, da, ...dead);
    }

    backward(block, kept, given) {
      let gradient = given;
      if (block.after) gradient = this.transitionBackward(block, last(kept, 3), gradient);
      for (let channels = block.end - this.k; channels >= block.start; channels -= this.k) {
        const [x, a, ...inside] = last(kept, this.h ? 4 : 2);
        const dy = this.h ? [this.bottleneckBackward(inside, block.rows, [])] : [];
        const dx = this.layerBackward(channels, block.rows, a, dy, x);
        const total = this.on.new(channels * block.rows);
        this.on.free(gradient, dx);
        gradient = total;
      }
      return gradient;
    }
  }

  class Inference extends PlainStep {
    tape() {
      const { on, batch } = this;
      const { classes } = this.net;
      const z = this.stemConvolution();
      if (this.autocast) on.free(this.casts[0][this.casts[0].length - 1]); // the images
      const a = this.norm(this.width, batch * this.stemPixels, z);
      let x = on.new(this.stemNumbers / 4);
      on.free(a, on.new(this.stemNumbers / 4, 8));
      for (const block of this.blocks) x = this.infer(block, x);
      const block = this.blocks[this.blocks.length - 1];
      this.norm(block.end, block.rows, x);
      on.new(batch * block.end);
      this.cast(classes, classes * block.end);
      on.new(batch * classes);
      return on;
    }

    infer(block, entered) {
      const { on } = this;
      let x = entered;
      for (let channels = block.start; channels < block.end; channels += this.k) {
        const [inside, y] = this.layer(channels, block.rows, this.norm(channels, block.rows));
        on.free(...inside);
        const more = on.new((channels + this.k) * block.rows);
        on.free(...(x === entered ? [] : [x]), y);
        x = more;
      }
      on.free(entered);
      if (!block.after) return x;
      const a = this.norm(block.end, block.rows);
      const t = this.convolution(block.end, block.after, block.rows);
      on.free(a);
      const after = on.new((block.after * block.rows) / 4);
      on.free(x, t);
      return after;
    }
  }

  class Copies extends PlainStep {
    whole = false;

    forward(block, x) {
      const { on } = this;
      const features = [x];
      const kept = [];
      for (let channels = block.start; channels < block.end; channels += this.k) {
        const copy = on.new(channels * block.rows);
        const a = this.norm(channels, block.rows);
        if (!this.whole) on.free(copy);
        const [inside, y] = this.layer(channels, block.rows, a);
        if (this.whole) on.free(copy, ...inside);
        else kept.push(...inside);
        features.push(y);
      }
      const end = on.new(block.end * block.rows);
      on.free(features.pop());
      return this.transition(block, end, [...kept, ...features]);
    }

    blockGradient(block, kept, gradient) {
      return this.transitionBackward(block, last(kept, 3), gradient);
    }

    backward(block, kept, given) {
      const { on } = this;
      const { rows } = block;
      const gradient = block.after ? this.blockGradient(block, kept, given) : given;
      const features = last(kept, (block.end - block.start) / this.k);
      let sums = [gradient];
      for (let channels = block.end - this.k; channels >= block.start; channels -= this.k) {
        const ofEach = sums.length > 1;
        let dy = ofEach ? [sums.pop()] : [];
        if (this.h && !this.whole) dy = [this.bottleneckBackward(last(kept, 2), rows, dy)];
        const copy = on.new(channels * rows);
        const a = this.norm(channels, rows);
        if (this.h && this.whole) {
          const z = on.new(this.h * rows);
          dy = [this.bottleneckBackward([z, this.norm(this.h, rows)], rows, dy)];
        }
        const dx = this.layerBackward(channels, rows, a, dy, features.pop(), copy);
        const before = sums;
        sums = [block.start, ...features.map(() => this.k)].map((width, i) => {
          const sum = on.new(width * rows);
          if (ofEach) on.free(before[i]);
          return sum;
        });
        on.free(...(ofEach ? [] : before), dx);
      }
      return sums[0];
    }
  }

  class Layers extends Copies {
    whole = true;

    transition(block, x, kept) {
      if (!block.after) return [x, kept];
      const a = this.norm(block.end, block.rows);
      const t = this.convolution(block.end, block.after, block.rows);
      this.on.free(a);
      const after = this.on.new((block.after * block.rows) / 4);
      this.on.free(t);
      return [after, [...kept, x]];
    }

    blockGradient(block, kept, gradient) {
      const x = kept.pop();
      const a = this.norm(block.end, block.rows);
      const t = this.convolution(block.end, block.after, block.rows);
      return this.transitionBackward(block, [x, a, t], gradient);
    }
  }

  class SharedStorage extends PlainStep {
    slices = 1;

    plan(pixels) {
      const images = this.batch;
      const rows = images * pixels;
      const few = ceil(images, this.slices);
      const atOnce = Math.min(rows, Math.max(1024, ceil(rows, this.slices)));
      const parts = (columns) => {
        const some = Math.min(images, Math.max(few, Math.floor(MIB / (pixels * columns))));
        return Array.from({ length: ceil(images, some) }, (_, i) =>
          pixels * Math.min(some, images - i * some));
      };
      return { rows, atOnce, parts, pixels };
    }

    statistics(columns, plan) {
      for (let i = 0; i < plan.rows; i += plan.atOnce) {
        this.on.passing(columns * Math.min(plan.atOnce, plan.rows - i));
      }
    }

    asRows(numbers, images, ...dead) {
      const maps = this.on.new(numbers);
      const rows = images === 1 ? maps : this.on.new(numbers);
      this.on.free(...dead, ...(rows === maps ? [] : [maps]));
      return rows;
    }

    kernelGradient(channels, rows) {
      const dh = this.on.new(channels * rows);
      this.on.passing(9 * channels * this.k);
      this.on.free(dh);
    }

    stemConvolution() {
      return this.asRows(this.stemNumbers, this.batch, this.on.new(this.images));
    }

    stem() {
      const plan = this.plan(this.stemPixels);
      const z = this.stemConvolution();
      this.statistics(this.width, plan);
      let parts = plan.parts(this.width).map((rows) => {
        const part = this.on.new((this.width * rows) / 4);
        this.on.free(this.on.new((this.width * rows) / 4, 8));
        return part;
      });
      if (parts.length > 1) {
        const joined = this.on.new(this.stemNumbers / 4);
        this.on.free(...parts);
        parts = [joined];
      }
      this.on.free(z);
      return parts;
    }

    stemBackward(stem, gradient) {
      const { on, width } = this;
      const { channels } = this.net;
      const plan = this.plan(this.stemPixels);
      const z = this.stemConvolution();
      const dz = on.new(this.stemNumbers);
      let held = [];
      for (const rows of plan.parts(width)) {
        const pooled = on.new((width * rows) / 4);
        const winners = on.new((width * rows) / 4, 8);
        on.free(...held);
        held = [pooled];
        const dh = on.new(width * rows);
        on.free(winners, dh);
        on.passing(width * rows);
      }
      this.weights(channels, width, 7);
      for (const rows of plan.parts(width)) {
        const images = (rows / this.stemPixels) * channels * this.side ** 2;
        on.passing(width * rows + images + 49 * channels * width);
      }
      on.gradient(width);
      on.gradient(width);
      on.free(gradient, z, dz, ...held);
    }

    lastNorm(channels, rows) {
      const normalized = this.on.new(channels * rows);
      const statistics = [this.on.new(channels), this.on.new(channels)];
      const copied = this.on.new(channels * rows);
      this.on.free(normalized);
      return this.rectified(copied, channels * rows, statistics);
    }

    afterHead() {
      return [];
    }

    forward(block, x) {
      const { on } = this;
      const plan = this.plan(block.pixels);
      const features = on.new(block.end * block.rows);
      const kept = [features, on.new(block.end)];
      this.statistics(block.start, plan);
      for (let channels = block.start; channels < block.end; channels += this.k) {
        for (let i = 0; i < 3; i += 1) kept.push(on.new(channels)); // what normalizes it
        const y = this.h ? this.bottleneck(channels, plan, kept) : this.wideLayer(channels, plan);
        this.statistics(this.k, plan);
        on.free(y);
      }
      if (!block.after) {
        on.free(x);
        return [features, kept];
      }
      for (let i = 0; i < 3; i += 1) kept.push(on.new(block.end));
      const output = on.new((block.after * block.rows) / 4);
      const parts = plan.parts(block.end);
      const scratch = on.new(block.end * parts[0]);
      let held = [];
      for (const some of parts) {
        const pooled = on.new((block.end * some) / 4);
        on.free(...held);
        held = [pooled];
      }
      on.free(scratch, ...held, x);
      return [output, kept];
    }

    bottleneck(channels, plan, kept) {
      const { on } = this;
      const scratch = on.new(channels * plan.atOnce);
      const hidden = on.new(this.h * plan.rows);
      on.free(scratch);
      this.statistics(this.h, plan);
      for (let i = 0; i < 4; i += 1) kept.push(on.new(this.h));
      return this.asRows(this.k * plan.rows, this.batch, hidden);
    }

    wideLayer(channels, plan) {
      const { on } = this;
      const parts = plan.parts(channels);
      const y = on.new(this.k * plan.rows);
      const scratch = on.new(channels * parts[0]);
      for (const some of parts) {
        on.free(this.asRows(this.k * some, some / plan.pixels));
      }
      on.free(scratch);
      return y;
    }

    backward(block, kept, gradient) {
      const { on } = this;
      const plan = this.plan(block.pixels);
      const ofFeatures = on.new(block.end * block.rows);
      if (block.after) {
        this.weights(block.end, block.after);
        const parts = plan.parts(block.end);
        const scratch = on.new(block.end * parts[0]);
        let held = [];
        for (const some of parts) {
          on.passing((block.end * some) / 4);
          const dpool = on.new((block.end * some) / 4);
          on.free(...held);
          held = [dpool];
          on.passing(block.end * some);
        }
        on.gradient(block.end);
        on.gradient(block.end);
        on.free(scratch, ...held);
      }
      for (let channels = block.end - this.k; channels >= block.start; channels -= this.k) {
        const dy = on.new(this.k * block.rows);
        if (this.h) this.inGroups(block, channels, plan);
        else {
          this.weights(channels, this.k, 3);
          const parts = plan.parts(channels);
          const scratch = on.new(channels * parts[0]);
          for (const some of parts) this.kernelGradient(channels, some);
          on.free(scratch);
        }
        on.gradient(channels);
        on.gradient(channels);
        on.free(dy);
      }
      const dx = on.new(block.start * block.rows);
      on.free(...kept, gradient, ofFeatures);
      return dx;
    }

    inGroups(block, channels, plan) {
      const { on } = this;
      const parts = plan.parts(128);
      this.weights(channels, this.h);
      this.weights(this.h, this.k, 3);
      const normalized = on.new(channels * plan.atOnce);
      const size = Math.min(this.h, Math.max(8, 8 * Math.floor(block.end / 32)));
      const maps = [on.new(size * plan.rows), on.new(size * plan.rows)];
      for (let first = 0; first < this.h; first += size) {
        const group = Math.min(size, this.h - first);
        const scratch = on.new(group * parts[0]);
        for (const some of parts) {
          this.kernelGradient(group, some);
          on.passing(group * some);
        }
        on.free(scratch);
        on.passing(channels * plan.atOnce);
      }
      on.gradient(this.h);
      on.gradient(this.h);
      on.free(normalized, ...maps);
    }
  }

  class InSlices extends SharedStorage {
    slices = 8;
  }

  const WAYS = {
    "plain": PlainStep,
    "recompute_bottleneck_input": Copies,
    "recompute_layer": Layers,
    "shared_storage": SharedStorage,
    "shared_storage in 8 slices": InSlices,
    "inference": Inference,
  };

  // --- a network, and what the page knows of it ---------------------------------------------------

  // Of each block: channels that enter it, that leave it, and behind the transition (0 without one).
  function widths({ k, layers, theta }) {
    let start = 2 * k;
    return layers.map((count, i) => {
      const end = start + count * k;
      const after = i + 1 < layers.length ? Math.floor(end * theta) : 0;
      const found = [start, end, after];
      start = after;
      return found;
    });
  }

  // Numbers of each parameter, and bytes of each buffer.
  function tensors(net) {
    const [parameters, buffers] = [[], []];
    const convolution = (inputs, outputs, kernel) =>
      parameters.push(kernel ** 2 * inputs * outputs, ...(net.bias ? [outputs] : []));
    const norm = (channels) => {
      parameters.push(channels, channels);
      buffers.push(4 * channels, 4 * channels, 8);
    };
    const h = net.h * net.k;
    convolution(net.channels, 2 * net.k, 7);
    norm(2 * net.k);
    let features = 0;
    for (const [start, end, after] of widths(net)) {
      for (let channels = start; channels < end; channels += net.k) {
        norm(channels);
        if (h) {
          convolution(channels, h, 1);
          norm(h);
        }
        convolution(h || channels, net.k, 3);
      }
      if (after) {
        norm(end);
        convolution(end, after, 1);
      }
      features = end;
    }
    norm(features);
    parameters.push(features * net.classes, net.classes);
    return [parameters, buffers];
  }

  // Allocated and reserved bytes at their most over three steps.
  function play(tape, resident) {
    const cache = new CachingAllocator();
    for (const bytes of resident) cache.allocate(bytes);
    for (let step = 0; step < 3; step += 1) {
      const alive = new Map();
      for (const event of tape.events) {
        if (event >= 0) alive.set(event, cache.allocate(tape.sizes[event]));
        else {
          cache.release(alive.get(~event));
          alive.delete(~event);
        }
      }
      for (const block of alive.values()) cache.release(block);
    }
    return [cache.peakAllocated, cache.peakReserved];
  }

  function stretches(tape, count) {
    const found = Array.from({ length: count }, () => ({ most: -1, live: [0, 0, 0] }));
    const live = [0, 0, 0];
    for (const event of tape.events) {
      const storage = event >= 0 ? event : ~event;
      const kind = tape.gradients.has(storage) ? 2 : tape.kept.has(storage) ? 0 : 1;
      live[kind] += event >= 0 ? tape.sizes[storage] : -tape.sizes[storage];
      const part = found[Math.floor((storage * count) / tape.sizes.length)];
      const sum = live[0] + live[1] + live[2];
      if (event >= 0 && sum > part.most) {
        part.most = sum;
        part.live = live.map((bytes) => Math.floor(bytes / 1024 + 0.5));
      }
    }
    return found.flatMap((part) => part.live);
  }

  // As the page's data has the recorded networks: peaks at `sizes`, areas of the first image of 224²
  // and of the largest batch.
  function own(net, way, autocast, sizes, parts, cublas) {
    const [parameters, buffers] = tensors(net);
    const p = parameters.reduce((a, b) => a + b, 0);
    const found = { p, f: 4 * p + buffers.reduce((a, b) => a + b, 0), c: net.channels,
      x: [], a: [], r: [], s: [], l: [] };
    sizes.forEach(([batch, side], i) => {
      const tape = new WAYS[way](net, batch, side, autocast).tape();
      const pixels = batch * side * side;
      const images = [4 * net.channels * pixels, ...(way === "inference" ? [] : [8 * batch])];
      const resident = [...parameters.map((numbers) => 4 * numbers), ...buffers, ...images, cublas];
      const [allocated, reserved] = play(tape, resident);
      found.x.push(pixels);
      found.a.push(allocated);
      found.r.push(reserved);
      if ((batch === 1 && side === 224) || i === sizes.length - 1) {
        found.s.push(pixels);
        found.l.push(stretches(tape, parts));
      }
    });
    return found;
  }

  window.ownDenseNet = own;
})();
