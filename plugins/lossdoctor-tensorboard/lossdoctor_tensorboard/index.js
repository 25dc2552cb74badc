// The tab: a list of runs, and the report on the chosen one in a frame, looked at again while the training goes on.

const PAUSE = 15000;
const CHOSEN = "lossdoctor.run";
const READING = "Reading the run …";
const STYLE = `
  html { color-scheme: light; height: 100%; } html[data-theme=dark] { color-scheme: dark; }
  body { margin: 0; height: 100%; display: flex; flex-direction: column; font: 14px system-ui, sans-serif; background: #f6f7f9; color: #1c2129; }
  html[data-theme=dark] body { background: #0d1117; color: #e4e8ee; }
  header { overflow: hidden; scrollbar-gutter: stable; }
  label { display: block; max-width: 940px; width: 100%; margin: 0 auto; padding: 14px 16px 0; box-sizing: border-box; }
  select { font: inherit; max-width: 80%; margin-left: 6px; }
  p { max-width: 908px; margin: 24px auto; padding: 0 16px; overflow-wrap: anywhere; }
  iframe { flex: 1; border: 0; width: 100%; }`;

const made = (name, properties, ...inside) => {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...inside);
  return element;
};
const choice = made("select", { id: "run" });
const message = made("p", { hidden: true });
let frame = null; // the report that is shown
let shown = ""; // its run and version
let failures = 0; // since the last answer
let next = 0; // when to look again

const address = (path) => new URL(path, import.meta.url);
const ask = async (path) => (await fetch(address(path))).json();
const stored = (run) => {
  try {
    return run === undefined ? localStorage.getItem(CHOSEN) : localStorage.setItem(CHOSEN, run);
  } catch {
    return null; // storage may be forbidden
  }
};

function tell(text) {
  message.textContent = text;
  message.hidden = !text;
  if (!text) return;
  if (frame) frame.remove();
  frame = null;
  shown = "";
}

// A report that is shown outlasts one failure: TensorBoard may have been reading its files just then.
function fail(text) {
  failures += 1;
  if (!shown || failures > 1) tell(text);
}

function list(runs) {
  if (JSON.stringify(runs) === choice.dataset.runs) return;
  const before = choice.value || stored();
  choice.dataset.runs = JSON.stringify(runs);
  choice.replaceChildren(...runs.map((run) => made("option", { value: run, textContent: run })));
  choice.value = runs.includes(before) ? before : runs[0];
}

// Puts the new report in the place of the old one once it is there, scrolled to where the reader was.
function draw(run) {
  const place = shown && frame ? frame.contentWindow.scrollY : 0;
  const fresh = made("iframe", { title: `Report on ${run}`, src: address(`./report?run=${encodeURIComponent(run)}`) });
  fresh.style.display = "none";
  fresh.addEventListener("load", () => {
    if (frame !== fresh) return fresh.remove();
    for (const old of document.querySelectorAll("iframe")) if (old !== fresh) old.remove();
    fresh.style.display = "";
    ground();
    fresh.contentWindow.scrollTo(0, place);
  });
  frame = fresh;
  document.body.append(fresh);
}

async function update() {
  const { runs, message: failed } = await ask("./runs");
  if (!runs) return fail(failed);
  list(runs);
  const run = choice.value;
  if (!run) return tell("No run with a training loss is here yet.");
  if (!shown && message.hidden) tell(READING);
  const state = await ask(`./state?run=${encodeURIComponent(run)}`);
  if (run !== choice.value) return undefined;
  if (!state.version) return fail(state.message);
  failures = 0;
  tell("");
  const wanted = `${state.version} ${run}`;
  if (wanted === shown) return undefined;
  draw(run);
  shown = wanted;
  return undefined;
}

async function look() {
  const began = performance.now();
  next = Infinity;
  await update().catch(() => fail("TensorBoard does not answer."));
  const now = performance.now();
  next = now + Math.max(PAUSE, 10 * (now - began)); // a report that takes long is asked for less often
}

// TensorBoard marks its own page when it is dark.
function ground() {
  const theme = parent.document.body.classList.contains("dark-mode") ? "dark" : "light";
  document.documentElement.dataset.theme = theme;
  const report = frame && frame.contentDocument;
  if (!report || !report.documentElement) return;
  report.documentElement.dataset.theme = theme;
  for (const button of report.querySelectorAll("[data-ground]")) button.hidden = true;
}

export function render() {
  document.head.append(made("style", { textContent: STYLE }));
  document.body.append(made("header", {}, made("label", {}, "Run", choice)), message);
  choice.addEventListener("change", () => { stored(choice.value); tell(READING); look(); });
  new MutationObserver(ground).observe(parent.document.body, { attributes: true, attributeFilter: ["class"] });
  ground();
  setInterval(() => { if (!document.hidden && innerWidth && performance.now() >= next) look(); }, 500);
}
