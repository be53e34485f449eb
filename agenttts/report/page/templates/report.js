"use strict";
// Draws the figures in the page's colours, and again when these or the paper change.
const plots = [...document.querySelectorAll("script[data-figure]")].map((script) => ({
  element: document.getElementById(script.dataset.figure),
  figure: JSON.parse(script.textContent),
}));

function colours() {
  const style = getComputedStyle(document.documentElement);
  const [text, grid, page] = ["--text", "--grid", "--page"].map((name) => style.getPropertyValue(name).trim());
  return { text, grid, page };
}

function dressed(layout) {
  const { text, grid, page } = colours();
  const hoverlabel = { ...layout.hoverlabel, bgcolor: page, bordercolor: grid, font: { size: 12, color: text } };
  const dressedLayout = {
    ...layout, autosize: true, dragmode: false, paper_bgcolor: "rgba(0,0,0,0)", font: { ...layout.font, color: text }, hoverlabel,
  };
  for (const name of Object.keys(layout).filter((key) => /^[xy]axis/.test(key))) {
    dressedLayout[name] = { ...layout[name], gridcolor: grid, zerolinecolor: grid, linecolor: grid };
  }
  return dressedLayout;
}

function draw() {
  for (const { element, figure } of plots) {
    Plotly.react(element, figure.data, dressed(figure.layout), { responsive: true, displayModeBar: false });
  }
}

draw();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
matchMedia("print").addEventListener("change", draw);
addEventListener("beforeprint", () => {
  document.querySelectorAll("details.chapter").forEach((chapter) => { chapter.open = true; });
  draw();
});
