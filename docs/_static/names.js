// The theme's switches that unfold the contents have no text: name them for those who do not see the arrow.
document.addEventListener("DOMContentLoaded", () => {
  for (const summary of document.querySelectorAll("details > summary")) {
    if (summary.textContent.trim() || summary.hasAttribute("aria-label")) continue;
    const page = summary.closest("li")?.querySelector("a")?.textContent.trim();
    summary.setAttribute("aria-label", page ? `Pages below ${page}` : "Pages below");
  }
});
