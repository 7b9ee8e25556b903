// Figures of several frames. Python has drawn them all; this only chooses which one is seen:
// by slider, buttons, arrow keys, or by dragging over the picture.

function run(figure) {
  const all = [...figure.querySelectorAll(".ds-frame")];
  const list = figure.querySelector(".ds-frames-all");
  const bar = figure.querySelector(".ds-frames-bar");
  const slider = bar.querySelector("input");
  const back = bar.querySelector(".ds-frames-back");
  const on = bar.querySelector(".ds-frames-on");
  const now = figure.querySelector(".ds-frames-now");
  let shown = -1;

  function show(number) {
    const next = Math.max(0, Math.min(all.length - 1, number));
    if (next === shown) return;
    shown = next;
    all.forEach((frame, i) => {
      frame.hidden = i !== next;
      frame.classList.toggle("ds-frame-now", i === next);
    });
    slider.value = next;
    slider.setAttribute("aria-valuetext", all[next].dataset.label);
    back.setAttribute("aria-disabled", next === 0); // a disabled button would lose the focus
    on.setAttribute("aria-disabled", next === all.length - 1);
    now.innerHTML = all[next].querySelector(".ds-frame-caption").innerHTML;
  }

  slider.addEventListener("input", () => show(Number(slider.value)));
  back.addEventListener("click", () => show(shown - 1));
  on.addEventListener("click", () => show(shown + 1));
  bar.addEventListener("keydown", (event) => {
    if (event.target === slider) return; // it has its own
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    show(shown + step);
  });

  // A finger or a mouse drags the sequence along; across it the page scrolls as ever.
  let from = null;
  list.addEventListener("pointerdown", (event) => {
    if (event.button === 0) from = { x: event.clientX, frame: shown };
  });
  list.addEventListener("pointermove", (event) => {
    if (!from) return;
    const step = Math.max(16, list.clientWidth / all.length);
    const moved = Math.round((event.clientX - from.x) / step);
    if (moved) list.setPointerCapture(event.pointerId);
    show(from.frame + moved);
  });
  for (const end of ["pointerup", "pointercancel"]) {
    list.addEventListener(end, () => (from = null));
  }

  const first = all.findIndex((frame) => frame.classList.contains("ds-frame-now"));
  figure.classList.add("ds-frames-run");
  bar.hidden = now.hidden = false;
  show(first);
}

addEventListener("DOMContentLoaded", () => document.querySelectorAll(".ds-frames").forEach(run));
