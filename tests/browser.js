// Reads what TensorBoard has drawn, from inside its page: geometry in pixels and labels; tests/browser.py makes steps and values of it.

function all(selector, root = document) {
  const found = [];
  for (const element of root.querySelectorAll("*")) {
    if (element.matches(selector)) found.push(element);
    if (element.shadowRoot) found.push(...all(selector, element.shadowRoot));
  }
  return found;
}

const written = (element) => element.textContent.trim().replace(/\s+/g, " ");
const numbers = (text) => (text.match(/-?[\d.]+(?:e[-+]?\d+)?/g) || []).map(Number);
const shown = (element) => getComputedStyle(element).display !== "none" && getComputedStyle(element).opacity !== "0";

// The sub-paths of a path as lists of points.
function lines(path) {
  return (path.getAttribute("d") || "").split("M").filter(Boolean).map((part) => {
    const flat = numbers(part);
    return flat.flatMap((x, i) => (i % 2 ? [] : [[x, flat[i + 1]]]));
  });
}

const ticks = (labels, side) => labels.map((label) => [Number(label.getAttribute(side)), written(label)]);

// One chart of the dashboard Time Series, or null while it is not there.
function timeSeries(tag) {
  const card = all("card-view").find((each) => each.querySelector(`tb-truncated-path[title="${CSS.escape(tag)}"]`));
  const chart = card && card.querySelector("line-chart");
  if (!chart) return null;
  const shapes = [];
  for (const element of chart.querySelectorAll(".series-view > svg > *")) {
    if (!shown(element)) continue;
    const style = getComputedStyle(element);
    if (element.tagName === "circle") {
      const centre = ["cx", "cy"].map((name) => Number(element.getAttribute(name)));
      shapes.push({ kind: "dot", colour: style.fill, points: [centre] });
    } else if (style.fill === "none") {
      for (const points of lines(element)) shapes.push({ kind: "line", colour: style.stroke, points });
    } else {
      for (const points of lines(element)) shapes.push({ kind: "triangle", colour: style.fill, points });
    }
  }
  const runs = all("runs-data-table tb-data-table-content-row").map((row) => [
    written(row.querySelector(".table-column-run")),
    getComputedStyle(row.querySelector(".run-color-swatch")).backgroundColor]);
  return {
    shapes, runs: Object.fromEntries(runs), height: chart.querySelector(".series-view").clientHeight,
    x: ticks([...chart.querySelectorAll(".x-axis text")], "x"), y: ticks([...chart.querySelectorAll(".y-axis text")], "y"),
    legend: [...card.querySelectorAll("tb-data-table-content-row")].map((row) => [...row.children].map(written).filter(Boolean)),
  };
}

// The card of a tag in the dashboard Scalars.
const scalarCard = (tag) =>
  all("tf-scalar-card").find((card) => all("[itemprop=tag]", card.shadowRoot).some((label) => written(label) === tag));

// One chart of the dashboard Scalars: its lines, a dot at the end of each, and triangles where a value is not a number.
function scalars(tag) {
  const card = scalarCard(tag);
  const chart = card && all("#chartdiv", card.shadowRoot)[0];
  if (!chart || !chart.querySelector(".line-plot")) return null;
  const shapes = [];
  for (const path of chart.querySelectorAll(".line-plot path.line")) {
    for (const points of lines(path)) {
      if (points.length > 1) shapes.push({ kind: "line", colour: getComputedStyle(path).stroke, points });
    }
  }
  chart.querySelectorAll(".scatter-plot").forEach((plot, place) => {
    for (const path of plot.querySelectorAll("path.symbol")) {
      const points = [["x", "y"].map((name) => Number(path.getAttribute(name)))];
      shapes.push({ kind: place ? "dot" : "triangle", colour: getComputedStyle(path).fill, points });
    }
  });
  const runs = all(".name-row").map((row) => [
    written(row.querySelector(".item-label-container")), getComputedStyle(row.querySelector(".isolator")).color]);
  return {
    shapes, runs: Object.fromEntries(runs), height: chart.querySelector(".line-plot").clientHeight, legend: [],
    x: ticks([...chart.querySelectorAll(".x-axis .tick-label")], "x"), y: ticks([...chart.querySelectorAll(".y-axis .tick-label")], "y"),
  };
}

// What the (i) on a card of the dashboard Scalars opens; null while there is none.
function description(tag) {
  const card = scalarCard(tag);
  const heading = card && card.shadowRoot.querySelector("tf-card-heading");
  const button = heading && heading.shadowRoot.querySelector("paper-icon-button[icon=info]");
  if (!button) return null;
  const dialog = heading.shadowRoot.querySelector("paper-dialog");
  if (!shown(dialog)) {
    button.click();
    return null;
  }
  return all("tf-markdown-view", dialog)[0].shadowRoot.querySelector("#markdown").innerText.trim();
}

// The cards of the dashboard Text, each with its entries.
function texts() {
  return all("tf-text-loader").map((card) => ({
    heading: written(all("figcaption", card.shadowRoot)[0]),
    steps: all(".step-value", card.shadowRoot).map(written),
    entries: all(".text tf-markdown-view", card.shadowRoot).map((view) => view.shadowRoot.querySelector("#markdown").innerText.trim()),
  }));
}
