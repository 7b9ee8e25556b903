// What a lesson can do only with a script: show a guess beside the answer, and say on a phone
// which section one is in. Nothing is stored, nothing leaves the page.

function rememberGuesses(turn) {
  for (const solution of turn.querySelectorAll("details.solution")) {
    const said = document.createElement("p");
    said.className = "ds-guess-said";
    solution.querySelector("summary").after(said);
    solution.addEventListener("toggle", () => {
      const guesses = [...turn.querySelectorAll(".ds-guess")]
        .map((guess) => [guess.querySelector("span").textContent, guess.querySelector("input")])
        .filter(([, input]) => input.value.trim())
        .map(([name, input]) => `${name}: ${input.value.trim()}`);
      said.textContent = guesses.length ? `Your guess was ${guesses.join("; ")}.` : "";
    });
  }
}

function addRail() {
  const heads = [...document.querySelectorAll("article h2[id]")];
  if (heads.length < 4) return;
  const title = (head) => head.firstChild.textContent.trim();
  const rail = document.createElement("nav");
  rail.className = "ds-rail";
  rail.setAttribute("aria-label", "Sections of this page");
  const fold = rail.appendChild(document.createElement("details"));
  const now = fold.appendChild(document.createElement("summary"));
  const list = fold.appendChild(document.createElement("ol"));
  const links = heads.map((head) => {
    const link = list.appendChild(document.createElement("li")).appendChild(document.createElement("a"));
    link.href = `#${head.id}`;
    link.textContent = title(head);
    return link;
  });
  list.addEventListener("click", () => (fold.open = false));
  document.querySelector("article").prepend(rail);

  function follow() {
    const at = heads.findLastIndex((head) => head.getBoundingClientRect().top < 130);
    rail.hidden = at < 0;
    if (at < 0) return;
    now.textContent = `${at + 1} of ${heads.length} · ${title(heads[at])}`;
    rail.style.setProperty("--ds-progress", (at + 1) / heads.length);
    links.forEach((link, i) => {
      if (i === at) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    });
  }

  let waiting = false;
  addEventListener("scroll", () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      follow();
    });
  }, { passive: true });
  follow();
}

addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll(".admonition.turn").forEach(rememberGuesses);
  addRail();
});
