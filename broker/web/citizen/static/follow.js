// What became of it: asks for the part that changes every second and a half while something moves, so that a change is
// seen within two; for twenty minutes (asking keeps a session open). Says that it changed.
// Without this the page has a link to look again.
"use strict";
(() => {
  const part = document.getElementById("etapes");
  const said = document.getElementById("annonce");
  const again = document.getElementById("revoir");
  let left = 800;
  const moves = () => part.querySelector('[data-moves="1"]') !== null;
  const look = async () => {
    try {
      const answer = await fetch(part.dataset.place, { headers: { accept: "text/html" }, redirect: "error" });
      if (!answer.ok) return;
      const told = new DOMParser().parseFromString(await answer.text(), "text/html").body.firstElementChild;
      if (told !== null && told.outerHTML !== part.firstElementChild.outerHTML && !part.contains(document.activeElement)) {
        part.replaceChildren(told);
        said.textContent = "";
        said.textContent = said.dataset.text;
      }
    } catch {
      return; // signed out, or away: the page stays as it is
    }
    left -= 1;
    if (moves() && left > 0) setTimeout(look, 1500);
    else if (!moves()) again.hidden = true;
  };
  if (moves()) setTimeout(look, 1500);
})();
