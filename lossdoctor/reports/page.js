"use strict";
// What a page does beyond showing itself: copying settings, the other ground, and a cross-hair on charts.

function copy(text) {
  if (navigator.clipboard && window.isSecureContext) return navigator.clipboard.writeText(text);
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
  return Promise.resolve();
}

for (const block of document.querySelectorAll(".code")) {
  const button = document.createElement("button");
  button.textContent = "Copy";
  button.addEventListener("click", () =>
    copy(block.querySelector("pre").textContent + "\n").then(
      () => { button.textContent = "Copied"; },
      () => { button.textContent = "Not allowed"; }));
  block.append(button);
}

const ground = document.querySelector("[data-ground]");
if (ground) {
  ground.hidden = false;
  ground.addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });
}

// The points of a path: each part begins with M and goes on in relative lines, as charts are written.
function points(path) {
  return path.getAttribute("d").split("M").slice(1).flatMap(part);
}

function part(text) {
  const numbers = (text.match(/-?(?:\d+\.?\d*|\.\d+)/g) || []).map(Number);
  const found = [];
  let x = 0, y = 0;
  for (let i = 0; i + 1 < numbers.length; i += 2) {
    x += numbers[i];
    y += numbers[i + 1];
    found.push([x, y]);
  }
  return found;
}

function curves(chart) {
  const found = [];
  for (const panel of chart.querySelectorAll("[data-panel]")) {
    const [top, height, low, high, log] = panel.dataset.panel.split(" ").map(Number);
    const value = (y) => {
      const share = (top + height - y) / height;
      return log ? low * (high / low) ** share : low + (high - low) * share;
    };
    for (const line of panel.querySelectorAll("[data-line]")) {
      const spots = [...line.querySelectorAll("path")].flatMap(points).sort((a, b) => a[0] - b[0]);
      if (spots.length) found.push({ name: line.dataset.line, spots, value });
    }
  }
  return found;
}

function nearest(spots, x) {
  let low = 0, high = spots.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (spots[middle][0] < x) low = middle + 1; else high = middle;
  }
  return low && x - spots[low - 1][0] < spots[low][0] - x ? spots[low - 1] : spots[low];
}

for (const chart of document.querySelectorAll(".lossdoctor-chart")) {
  const [first, last] = chart.dataset.steps.split(" ").map(Number);
  const [left, width] = chart.dataset.plot.split(" ").map(Number);
  const drawn = curves(chart);
  const readout = chart.parentElement.querySelector(".readout");
  const cross = document.createElementNS("http://www.w3.org/2000/svg", "path");
  cross.setAttribute("class", "cross");
  chart.append(cross);
  chart.addEventListener("pointermove", (event) => {
    const box = chart.getBoundingClientRect();
    const x = (event.clientX - box.left) * chart.viewBox.baseVal.width / box.width;
    const inside = x >= left && x <= left + width;
    cross.setAttribute("d", inside ? `M${x} 14V${chart.viewBox.baseVal.height - 26}` : "");
    if (!readout) return;
    const step = Math.round(first + (last - first) * (x - left) / width);
    const values = drawn.map(({ name, spots, value }) => `${name} ≈ ${Number(value(nearest(spots, x)[1]).toPrecision(3))}`);
    readout.textContent = inside ? [`step ${step.toLocaleString("en")}`, ...values].join("   ") : "";
  });
  chart.addEventListener("pointerleave", () => { cross.setAttribute("d", ""); });
}
