// The selects of this page: a shop needs none of this.
document.querySelector(".look").addEventListener("change", ({ target }) => {
  if (target.name === "theme") document.documentElement.dataset.theme = target.value;
  else document.querySelectorAll("review-answers").forEach((widget) => (widget.lang = target.value));
});
