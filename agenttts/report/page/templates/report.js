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

// A figure's switch is made of the page's own controls: they can be reached by keyboard and follow its colours.
function addSwitch({ element, figure }) {
  const [menu] = figure.layout.updatemenus ?? [];
  if (!menu) return;
  delete figure.layout.updatemenus;
  figure.layout.margin.t = 12;
  const group = document.createElement("fieldset");
  const legend = document.createElement("legend");
  legend.textContent = "Shown against";
  group.append(legend, ...menu.buttons.map((button, place) => {
    const label = document.createElement("label");
    const input = Object.assign(document.createElement("input"), {
      type: "radio", name: `switch-${element.id}`, checked: place === 0,
    });
    input.addEventListener("change", () => {
      const [{ visible }, titles] = button.args;
      figure.data.forEach((trace, index) => { trace.visible = visible[index]; });
      figure.layout.xaxis.title.text = titles["xaxis.title.text"];
      draw();
    });
    label.append(input, ` ${button.label}`);
    return label;
  }));
  element.parentElement.before(group);
}

function draw() {
  for (const { element, figure } of plots) {
    Plotly.react(element, figure.data, dressed(figure.layout), { responsive: true, displayModeBar: false });
  }
}

plots.forEach(addSwitch);
draw();
const wide = new ResizeObserver((entries) => {
  for (const { target } of entries) target.classList.toggle("wide", target.scrollWidth > target.clientWidth + 1);
});
document.querySelectorAll(".scroll").forEach((element) => wide.observe(element));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
matchMedia("print").addEventListener("change", draw);
addEventListener("beforeprint", () => {
  document.querySelectorAll("details.chapter").forEach((chapter) => { chapter.open = true; });
  draw();
});
