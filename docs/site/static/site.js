// What theme and gallery leave out: names of sidebars and thumbnails, the level of captions in the list of pages, and the
// keyboard's way into what scrolls sideways.
const named = { ".sidebar-drawer": "All pages", ".toc-drawer": "On this page" };
const wide = ".highlight pre, .table-wrapper, .math-block";

function reachable() {
  for (const region of document.querySelectorAll(wide)) {
    if (region.scrollWidth > region.clientWidth) region.tabIndex = 0;
    else region.removeAttribute("tabindex");
  }
}

addEventListener("DOMContentLoaded", () => {
  for (const [sidebar, name] of Object.entries(named)) {
    document.querySelector(sidebar)?.setAttribute("aria-label", name);
  }
  for (const caption of document.querySelectorAll(".caption[role=heading]")) caption.ariaLevel = 2;
  for (const link of document.querySelectorAll(".sphx-glr-thumbcontainer a")) link.ariaLabel = link.textContent;
  reachable();
});
addEventListener("resize", reachable);
