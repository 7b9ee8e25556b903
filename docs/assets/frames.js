// Figures of several frames. Python has drawn them all; this only chooses which one is seen:
// by slider, buttons, arrow keys, or by dragging over the picture. Where frames stand in rows,
// a second slider chooses the row.

function run(figure) {
  const all = [...figure.querySelectorAll(".ds-frame")];
  const list = figure.querySelector(".ds-frames-all");
  const now = figure.querySelector(".ds-frames-now");
  const columns = Number(figure.dataset.columns);
  const counts = [columns, all.length / columns];
  const bars = [...figure.querySelectorAll(".ds-frames-bar")];
  let place = null; // column and row

  function show(...wanted) {
    const next = wanted.map((at, axis) => Math.max(0, Math.min(counts[axis] - 1, at)));
    if (place && next.every((at, axis) => at === place[axis])) return;
    place = next;
    const shown = all[next[0] + columns * next[1]];
    all.forEach((frame) => {
      frame.hidden = frame !== shown;
      frame.classList.toggle("ds-frame-now", frame === shown);
    });
    bars.forEach((bar, axis) => {
      const slider = bar.querySelector("input");
      slider.value = next[axis];
      slider.setAttribute("aria-valuetext", shown.dataset.label);
      // A disabled button would lose the focus.
      bar.querySelector(".ds-frames-back").setAttribute("aria-disabled", next[axis] === 0);
      const last = next[axis] === counts[axis] - 1;
      bar.querySelector(".ds-frames-on").setAttribute("aria-disabled", last);
    });
    now.innerHTML = shown.querySelector(".ds-frame-caption").innerHTML;
  }

  bars.forEach((bar, axis) => {
    const slider = bar.querySelector("input");
    const go = (at) => show(...place.map((old, i) => (i === axis ? at : old)));
    slider.addEventListener("input", () => go(Number(slider.value)));
    bar.querySelector(".ds-frames-back").addEventListener("click", () => go(place[axis] - 1));
    bar.querySelector(".ds-frames-on").addEventListener("click", () => go(place[axis] + 1));
    bar.addEventListener("keydown", (event) => {
      if (event.target === slider) return; // it has its own
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      go(place[axis] + step);
    });
  });

  // A finger or a mouse drags the sequence along; across it the page scrolls as ever.
  let from = null;
  list.addEventListener("pointerdown", (event) => {
    if (event.button === 0) from = { x: event.clientX, column: place[0] };
  });
  list.addEventListener("pointermove", (event) => {
    if (!from) return;
    const step = Math.max(16, list.clientWidth / columns);
    const moved = Math.round((event.clientX - from.x) / step);
    if (moved) list.setPointerCapture(event.pointerId);
    show(from.column + moved, place[1]);
  });
  for (const end of ["pointerup", "pointercancel"]) {
    list.addEventListener(end, () => (from = null));
  }

  const first = all.findIndex((frame) => frame.classList.contains("ds-frame-now"));
  figure.classList.add("ds-frames-run");
  for (const part of [...bars, now]) part.hidden = false;
  show(first % columns, Math.floor(first / columns));
}

addEventListener("DOMContentLoaded", () => document.querySelectorAll(".ds-frames").forEach(run));
