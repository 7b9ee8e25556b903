// Small repairs for the keyboard and for screen readers. The site is complete without them.

// What scrolls sideways can be reached by keyboard, but only while there is something to scroll;
// a table fades where it goes on.
function markScrollBoxes() {
  const boxes = ".ds-math, .ds-table, .md-typeset__scrollwrap";
  for (const box of document.querySelectorAll(boxes)) {
    if (box.scrollWidth > box.clientWidth + 1) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
    if (box.matches(".ds-table")) {
      box.classList.toggle("ds-wide", box.scrollWidth > box.clientWidth + 1);
      fade(box);
      box.onscroll = () => fade(box);
    }
  }
}

function fade(box) {
  box.classList.toggle("ds-more", box.scrollLeft + box.clientWidth < box.scrollWidth - 1);
}

// The theme wraps each copy button in a landmark of its own; a page needs none of these.
function quietLandmarks() {
  for (const nav of document.querySelectorAll("nav.md-code__nav:not([role])")) {
    nav.setAttribute("role", "none");
  }
}

addEventListener("DOMContentLoaded", () => {
  quietLandmarks();
  markScrollBoxes();
  new MutationObserver(() => {
    quietLandmarks();
    markScrollBoxes();
  }).observe(document.querySelector("article") ?? document.body, { childList: true, subtree: true });
});
addEventListener("load", markScrollBoxes);
addEventListener("resize", markScrollBoxes);
