// The editing page: wires the boxes, the stage, the settings and the server together.

import { Edit } from "/boxes.js";
import * as server from "/calls.js";
import { Stage, describe, showBlob } from "/stage.js";

const byId = (id) => document.getElementById(id);
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const WHOLE = "WHOLE_PICTURE";

let state, edit, stage, classes, lastLabel, original, ended = false;

async function begin() {
  await server.openSession();
  state = await server.getState();
  classes = new Map(state.classes.map((entry) => [entry.name, entry]));
  lastLabel = state.classes[0].name;
  edit = new Edit(state.width, state.height, state.boxes);
  stage = new Stage(state, edit, classes);
  original = await server.getPicture("/original");
  fillPage();
  listen();
  byId("waiting").hidden = true;
  stage.fit();
  drawPanel();
  await refresh();
  byId("save").disabled = false;
  await server.stayAlive();
  if (!ended) problem("The editing round has ended: the program in the terminal has stopped. Nothing more can be saved.");
}

function fillPage() {
  document.title = `${state.source} – censor`;
  byId("source").textContent = state.source;
  byId("source").title = state.source;
  const verdict = byId("verdict");
  verdict.hidden = state.verdict === null;
  verdict.textContent = state.verdict;
  verdict.classList.add(state.verdict ?? "none");
  verdict.title = state.reasons.join("; ");
  const replaced = state.replaces.length ? ", replacing what is there" : "";
  byId("where").textContent = `Saves ${state.target} and ${state.mask_target}${replaced}`;
  fillSelect("label", state.classes.map(({ name, words }) => [name, words]));
  fillSelect("style", state.styles.map((name) => [name, name]));
  fillSelect("sticker", state.stickers.map((name) => [name, name]));
  fillSelect("shape", state.shapes.map((name) => [name, name]));
  byId("by-class").hidden = !state.by_class.length;
  byId("by-class").textContent =
    `The policy hides ${state.by_class.map((name) => classes.get(name).words).join(", ")} in a way of its own. ` +
    "A change here holds for every class.";
  if (state.warnings.length) problem(state.warnings.join(" "));
}

function fillSelect(id, entries) {
  byId(id).replaceChildren(...entries.map(([value, words]) => new Option(words, value)));
}

/** Fill the column on the right from the state. */
function drawPanel() {
  const { boxes, look } = edit.now;
  drawList(boxes);
  byId("none").hidden = boxes.some((box) => box.hide);
  const one = edit.find(stage.chosen);
  byId("one").hidden = !one;
  if (one) {
    const [x1, y1, x2, y2] = one.box;
    setValue("label", one.label);
    for (const [id, value] of [["x", x1], ["y", y1], ["w", x2 - x1], ["h", y2 - y1]]) setValue(id, Math.round(value));
  }
  const shown = { ...state.look, ...look };
  for (const id of Object.keys(state.look)) setValue(id, shown[id]);
  for (const id of ["grow", "feather"]) byId(`${id}-value`).textContent = `${Math.round(shown[id] * 100)} %`;
  byId("cells-value").textContent = shown.cells;
  const soft = state.soft_styles.includes(shown.style);
  byId("colour-field").hidden = !["box", "sticker"].includes(shown.style);
  byId("sticker-field").hidden = shown.style !== "sticker";
  byId("caption-field").hidden = soft;
  byId("cells-field").hidden = !soft;
  byId("cosmetic").hidden = shown.style !== "inpaint";
  byId("look-reset").disabled = !Object.keys(look).length;
  byId("undo").disabled = !edit.past.length;
  byId("redo").disabled = !edit.future.length;
  byId("add").setAttribute("aria-pressed", String(stage.drawing));
}

function setValue(id, value) {
  const field = byId(id);
  if (document.activeElement !== field || field.value !== String(value)) field.value = value;
}

function drawList(boxes) {
  const list = byId("boxes");
  const focused = document.activeElement?.closest?.("#boxes li");
  const again = focused && [focused.dataset.id, document.activeElement.className];
  list.replaceChildren(...boxes.map(drawEntry));
  if (again) list.querySelector(`[data-id="${again[0]}"] .${again[1]}`)?.focus();
}

function drawEntry({ id, label, box, hide, score }) {
  const { words, colour } = classes.get(label);
  const entry = document.createElement("li");
  entry.dataset.id = id;
  entry.className = `${id === stage.chosen ? "chosen" : ""} ${hide ? "" : "shown"}`;
  entry.style.setProperty("--colour", colour);
  const check = Object.assign(document.createElement("input"), { type: "checkbox", checked: hide, className: "hide" });
  check.setAttribute("aria-label", `Hide ${words}, ${describe(box)}`);
  check.addEventListener("change", () => edit.update(id, { hide: check.checked }));
  const dot = Object.assign(document.createElement("span"), { className: "dot" });
  const name = Object.assign(document.createElement("button"), { type: "button", className: "name", textContent: words });
  name.title = describe(box);
  name.addEventListener("click", () => stage.choose(id));
  const number = Object.assign(document.createElement("span"), { className: "score" });
  number.textContent = score === undefined ? "by hand" : score.toFixed(2);
  const remove = Object.assign(document.createElement("button"), { type: "button", className: "remove", textContent: "×" });
  remove.setAttribute("aria-label", `Remove ${words}`);
  remove.addEventListener("click", () => removeBox(id));
  entry.append(check, dot, name, number, remove);
  return entry;
}

function removeBox(id) {
  if (!edit.find(id)) return;
  if (stage.chosen === id) stage.chosen = null;
  edit.remove(id);
  say("Box removed.");
}

function addBox(box, label = lastLabel) {
  const id = edit.add(label, box);
  stage.choose(id, { focus: true });
  say(`Box added: ${classes.get(label).words}, ${describe(box)}.`);
}

function addInMiddle() {
  const side = Math.round(Math.min(state.width, state.height) / 4);
  const [x, y] = [Math.round((state.width - side) / 2), Math.round((state.height - side) / 2)];
  addBox([x, y, x + side, y + side]);
}

// The preview: one request at a time, and the last state always comes to be shown.
let wanted = 0, running = false, failed = false;

async function refresh() {
  wanted += 1;
  if (running) return;
  running = true;
  for (let shown = 0; shown !== wanted;) {
    shown = wanted;
    try {
      if (byId("original").checked) {
        stage.show(original);
        byId("picture").alt = "The picture as it came";
      } else {
        stage.show(await server.getPicture("/preview", edit.changes));
        byId("picture").alt = "The picture as it would be saved";
      }
      document.body.dataset.shown = shown;
      if (failed) problem("");
      failed = false;
    } catch (error) {
      failed = true;
      problem(error.message);
    }
  }
  running = false;
}

async function saveAll() {
  const button = byId("save");
  if (button.disabled || byId("saved").open) return;
  button.disabled = true;
  say("Saving, and looking at the result again …");
  const now = edit.now;
  try {
    const report = await server.save(edit.changes);
    edit.saved = now;
    problem("");
    await showOutcome(report);
  } catch (error) {
    problem(`Not saved: ${error.message}`);
    say("Not saved.");
  }
  button.disabled = false;
}

async function showOutcome(report) {
  byId("saved-title").textContent = report.exit_code === 0 ? "Saved" : "Saved – please look at it";
  const count = report.painted.length;
  const hidden = count ? `${count} region${count === 1 ? "" : "s"} hidden` : "Nothing hidden";
  byId("summary").textContent = `${hidden}; ${report.verified ? "the written file was looked at again and passed." : "not verified."}`;
  byId("warnings").hidden = !report.warnings.length;
  byId("warnings").replaceChildren(...report.warnings.map((text) =>
    Object.assign(document.createElement("li"), { textContent: text })));
  byId("saved-picture").textContent = state.target;
  byId("saved-boxes").textContent = state.mask_target;
  showBlob(byId("result"), await server.getPicture("/result"));
  byId("saved").showModal();
  say("Saved.");
}

async function finish() {
  if (edit?.unsaved && !confirm("Close without saving the changes?")) return;
  ended = true;
  await server.end().catch(() => {});
  byId("saved").close();
  sessionStorage.clear();
  for (const id of ["picture", "result"]) byId(id).removeAttribute("src");
  document.body.className = "over";
  const bye = Object.assign(document.createElement("div"), { id: "bye" });
  bye.append(
    Object.assign(document.createElement("h1"), { textContent: "The editing round has ended" }),
    Object.assign(document.createElement("p"), { textContent: "This page can be closed." }),
  );
  document.body.append(bye);
}

function listen() {
  edit.addEventListener("change", () => {
    if (!edit.find(stage.chosen)) stage.chosen = null;
    stage.draw();
    drawPanel();
    refresh();
  });
  stage.addEventListener("choose", drawPanel);
  stage.addEventListener("zoom", () => (byId("zoom").textContent = `${Math.round(stage.zoom * 100)} %`));
  stage.addEventListener("drawn", (event) => addBox(event.detail));
  const clicks = {
    undo: () => edit.undo(), redo: () => edit.redo(), add: () => stage.setDrawing(!stage.drawing),
    "zoom-in": () => stage.zoomBy(1.25), "zoom-out": () => stage.zoomBy(0.8), "zoom-fit": () => stage.fit(),
    save: saveAll, end: finish, finish, again: () => byId("saved").close(), "look-reset": () => edit.resetLook(),
    whole: () => addBox([0, 0, state.width, state.height], WHOLE),
  };
  for (const [id, act] of Object.entries(clicks)) byId(id).addEventListener("click", act);
  byId("original").addEventListener("change", refresh);
  byId("label").addEventListener("change", (event) => {
    lastLabel = event.target.value;
    edit.update(stage.chosen, { label: lastLabel, score: undefined });
  });
  for (const id of ["x", "y", "w", "h"]) byId(id).addEventListener("change", placeByNumbers);
  byId("style").addEventListener("change", (event) => setStyle(event.target.value));
  for (const id of ["shape", "sticker"]) byId(id).addEventListener("change", (event) => edit.setLook({ [id]: event.target.value }));
  byId("caption").addEventListener("input", (event) => edit.setLook({ caption: event.target.value }, "caption"));
  byId("colour").addEventListener("input", (event) => edit.setLook({ colour: event.target.value }, "colour"));
  for (const id of ["grow", "feather", "cells"]) {
    byId(id).addEventListener("input", (event) => edit.setLook({ [id]: Number(event.target.value) }, id));
    byId(id).addEventListener("change", () => edit.endStep());
  }
  document.addEventListener("keydown", onKey);
  document.addEventListener("keyup", () => edit.endStep());
  window.addEventListener("beforeunload", (event) => !ended && edit.unsaved && event.preventDefault());
}

/** Choose a style, and drop what does not go with it: a sticker, or a caption on a soft style. */
function setStyle(style) {
  edit.change((now) => {
    const { sticker, ...look } = now.look;
    if (style === "sticker" && sticker !== undefined) look.sticker = sticker;
    if (state.soft_styles.includes(style)) {
      delete look.caption;
      if (state.look.caption) look.caption = "";
    }
    return { ...now, look: { ...look, style } };
  });
}

function placeByNumbers() {
  const [x, y, w, h] = ["x", "y", "w", "h"].map((id) => byId(id).valueAsNumber);
  if ([x, y, w, h].every(Number.isFinite)) edit.place(stage.chosen, edit.between([x, y], [x + Math.max(w, 1), y + Math.max(h, 1)]));
  drawPanel();
}

function onKey(event) {
  if (byId("saved").open) return;
  const key = event.key.toLowerCase();
  const typing = event.target.matches("input:not([type=checkbox]), select");
  let done = true;
  if (event.ctrlKey || event.metaKey) {
    if (key === "s") saveAll();
    else if (typing) return;
    else if (key === "y" || (key === "z" && event.shiftKey)) edit.redo();
    else if (key === "z") edit.undo();
    else done = false;
  } else if (typing) {
    return;
  } else if (event.target.closest(".box") && stage.chosen !== null && onBoxKey(event)) {
    // done there
  } else if (key === "n") addInMiddle();
  else if (key === "o") byId("original").click();
  else if (key === "+" || key === "=") stage.zoomBy(1.25);
  else if (key === "-") stage.zoomBy(0.8);
  else if (key === "0") stage.fit();
  else if (key === "escape") stage.drawing ? stage.setDrawing(false) : stage.choose(null);
  else done = false;
  if (done) event.preventDefault();
}

function onBoxKey(event) {
  const id = stage.chosen;
  if (event.key === "Delete" || event.key === "Backspace") {
    removeBox(id);
    byId("view").focus();
    return true;
  }
  if (event.key === " " || event.key === "Enter") {
    edit.update(id, { hide: !edit.find(id).hide });
    return true;
  }
  const arrow = ARROWS[event.key];
  if (!arrow) return false;
  const [dx, dy] = arrow.map((part) => part * (event.shiftKey ? 10 : 1));
  if (event.altKey) edit.resize(id, dx, dy, `keys ${id}`);
  else edit.move(id, dx, dy, `keys ${id}`);
  return true;
}

function say(text) {
  byId("status").textContent = text;
}

function problem(text) {
  byId("problem").textContent = text;
  byId("problem").hidden = !text;
}

begin().catch((error) => {
  byId("waiting").textContent = error.message;
  problem(error.message);
});
