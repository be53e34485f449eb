"use strict";
// Looks whether the store has something new, and then shows it without moving the reader; searches on; keys.
const LOOK_MS = 2000;
const said = document.querySelector(".live");

// What is wider than the screen says so, in report.css.
const widths = new ResizeObserver((entries) => {
  for (const { target } of entries) target.classList.toggle("wide", target.scrollWidth > target.clientWidth + 1);
});

function hintAtWidth(within) {
  within.querySelectorAll(".scroll").forEach((element) => widths.observe(element));
}

function redraw() {
  if (typeof draw !== "function") return;
  plots.length = 0;
  for (const script of document.querySelectorAll("script[data-figure]")) {
    plots.push({ element: document.getElementById(script.dataset.figure), figure: JSON.parse(script.textContent) });
  }
  draw();
}

function place(element) {
  if (!element || element === document.body) return null;
  if (element.id) return `#${CSS.escape(element.id)}`;
  const href = element.getAttribute("href");
  if (href) return `${element.tagName}[href="${CSS.escape(href)}"]`;
  return element.name && element.value ? `[name="${CSS.escape(element.name)}"][value="${CSS.escape(element.value)}"]` : null;
}

function shown(before, after) {
  const open = new Map([...before.querySelectorAll("details[id]")].map((each) => [each.id, each.open]));
  const chosen = new Set([...before.querySelectorAll("input:checked")].map((each) => `${each.name}=${each.value}`));
  const focus = before.contains(document.activeElement) ? place(document.activeElement) : null;
  for (const each of after.querySelectorAll("details[id]")) if (open.has(each.id)) each.open = open.get(each.id);
  for (const each of after.querySelectorAll("input[type=radio]")) {
    if (chosen.size) each.checked = chosen.has(`${each.name}=${each.value}`);
  }
  before.replaceWith(after);
  hintAtWidth(after);
  if (focus) after.querySelector(focus)?.focus({ preventScroll: true });
}

async function look() {
  const { stamp, look: address } = document.body.dataset;
  try {
    const now = await (await fetch(address)).json();
    if (now.stamp !== stamp) {
      const page = new DOMParser().parseFromString(await (await fetch(location.href)).text(), "text/html");
      let figures = false;
      for (const before of document.querySelectorAll("[data-live]")) {
        const after = page.getElementById(before.id);
        if (!after || before.dataset.seen === after.innerHTML) continue;
        after.dataset.seen = after.innerHTML;
        figures ||= before.id === "figures";
        shown(before, document.adoptNode(after));
      }
      if (figures) redraw();
      document.body.dataset.stamp = page.body.dataset.stamp;
    }
    said.textContent = `live, ${new Date().toLocaleTimeString()}`;
  } catch {
    said.textContent = "the server does not answer; this page is as it was";
  }
  setTimeout(look, LOOK_MS);
}

async function searchOn() {
  const more = document.getElementById("more");
  const hits = document.getElementById("hits");
  if (!more || hits.children.length >= 50) return;
  try {
    const page = new DOMParser().parseFromString(await (await fetch(more.href)).text(), "text/html");
    hits.append(...page.getElementById("hits").children);
    document.getElementById("goes-on").replaceWith(document.adoptNode(page.getElementById("goes-on")));
    searchOn();
  } catch {
    said.textContent = "the server does not answer";
  }
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select")) return;
  const target = { "/": ".find input", j: "[rel=next]", k: "[rel=prev]", u: "[rel=up], .bar nav a:last-of-type" }[event.key];
  const found = target && document.querySelector(target);
  if (!found) return;
  event.preventDefault();
  if (event.key === "/") found.focus();
  else found.click();
});

for (const each of document.querySelectorAll("[data-live]")) {
  each.dataset.seen = each.id === "figures" ? "" : each.innerHTML;
}
hintAtWidth(document);
if (document.body.dataset.look) setTimeout(look, LOOK_MS);
searchOn();
