// What the theme leaves out: names of its two sidebars, and the keyboard's way into what scrolls sideways.
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
  reachable();
});
addEventListener("resize", reachable);
