// The picture with its boxes: drawn, moved, resized and added by pointer, at any zoom.

import { tooSmall } from "/boxes.js";

const SVG = "http://www.w3.org/2000/svg";
const GRIPS = { nw: [0, 0], n: [0.5, 0], ne: [1, 0], e: [1, 0.5], se: [1, 1], s: [0.5, 1], sw: [0, 1], w: [0, 0.5] };
const GRIP = 10; // all of these are pixels of the screen, at any zoom
const TEXT = 12;
const MARGIN = 48;
const ZOOMS = [0.05, 8];

export class Stage extends EventTarget {
  constructor(state, edit, classes) {
    super();
    this.state = state;
    this.edit = edit;
    this.classes = classes;
    this.chosen = null;
    this.drawing = false;
    this.zoom = 1;
    this.fits = true;
    this.drag = null;
    this.view = document.getElementById("view");
    this.stage = document.getElementById("stage");
    this.picture = document.getElementById("picture");
    this.overlay = document.getElementById("overlay");
    this.groups = new Map();
    this.overlay.setAttribute("viewBox", `0 0 ${state.width} ${state.height}`);
    this.overlay.addEventListener("pointerdown", (event) => this.#press(event));
    this.overlay.addEventListener("pointermove", (event) => this.#pull(event));
    for (const name of ["pointerup", "pointercancel"]) this.overlay.addEventListener(name, () => this.#release());
    this.view.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    new ResizeObserver(() => this.fits && this.fit()).observe(this.view);
  }

  show(blob) {
    showBlob(this.picture, blob);
  }

  choose(id, { focus = false } = {}) {
    this.chosen = id;
    this.draw();
    if (focus) this.groups.get(id)?.focus({ preventScroll: true });
    this.dispatchEvent(new Event("choose"));
  }

  setDrawing(on) {
    this.drawing = on;
    this.overlay.classList.toggle("drawing", on);
    this.dispatchEvent(new Event("choose"));
  }

  fit() {
    const width = (this.view.clientWidth - MARGIN) / this.state.width;
    const height = (this.view.clientHeight - MARGIN) / this.state.height;
    this.#setZoom(Math.min(width, height, 1), true);
  }

  zoomBy(factor, around = null) {
    const before = this.zoom;
    const box = this.stage.getBoundingClientRect();
    const view = this.view.getBoundingClientRect();
    const at = around ?? [view.left + view.width / 2, view.top + view.height / 2];
    const spot = [(at[0] - box.left) / before, (at[1] - box.top) / before];
    this.#setZoom(before * factor, false);
    const moved = this.stage.getBoundingClientRect();
    this.view.scrollBy(moved.left + spot[0] * this.zoom - at[0], moved.top + spot[1] * this.zoom - at[1]);
  }

  #setZoom(zoom, fits) {
    this.zoom = Math.max(ZOOMS[0], Math.min(zoom, ZOOMS[1]));
    this.fits = fits;
    const { width, height, factor } = this.state;
    this.stage.style.width = this.overlay.style.width = `${width * this.zoom}px`;
    this.stage.style.height = this.overlay.style.height = `${height * this.zoom}px`;
    // What the server sent is whole squares of factor x factor pixels: the last ones may reach over the edge.
    this.picture.style.width = `${Math.ceil(width / factor) * factor * this.zoom}px`;
    this.picture.style.height = `${Math.ceil(height / factor) * factor * this.zoom}px`;
    this.draw();
    this.dispatchEvent(new Event("zoom"));
  }

  draw() {
    const there = new Set();
    const taken = [];
    for (const box of this.edit.now.boxes) {
      there.add(box.id);
      if (!this.groups.has(box.id)) this.groups.set(box.id, this.#makeGroup(box.id));
      this.#drawBox(this.groups.get(box.id), box, taken);
    }
    for (const [id, group] of this.groups) {
      if (!there.has(id)) {
        group.remove();
        this.groups.delete(id);
      }
    }
    if (this.drag?.sketch) place(this.drag.sketch, this.drag.box);
  }

  #makeGroup(id) {
    const group = element("g", { class: "box", tabindex: 0, role: "button", "data-id": id });
    for (const name of ["rim", "edge"]) group.append(element("rect", { class: name }));
    group.append(element("rect", { class: "tag" }), element("text"));
    for (const name of Object.keys(GRIPS)) group.append(element("rect", { class: `grip ${name}`, "data-grip": name }));
    group.addEventListener("focus", () => this.chosen !== id && this.choose(id));
    this.overlay.append(group);
    return group;
  }

  #drawBox(group, { id, label, box, hide, score }, taken) {
    const { words, colour } = this.classes.get(label);
    const chosen = id === this.chosen;
    group.setAttribute("class", `box${chosen ? " chosen" : ""}${hide ? "" : " shown"}${dark(colour) ? " dark-tag" : ""}`);
    group.style.setProperty("--colour", colour);
    group.setAttribute("aria-label", `${words}, ${hide ? "hidden" : "not hidden"}, ${describe(box)}`);
    group.setAttribute("aria-pressed", String(hide));
    const [rim, edge, tag, text, ...grips] = group.children;
    place(rim, box);
    place(edge, box);
    const scale = 1 / this.zoom;
    const name = score === undefined ? words : `${words} ${score.toFixed(2)}`;
    text.textContent = hide ? name : `${name} (shown)`;
    text.setAttribute("font-size", TEXT * scale);
    const spot = this.#placeTag(box, text.getComputedTextLength() + 10 * scale, TEXT * 1.5 * scale, taken);
    place(tag, spot);
    text.setAttribute("x", spot[0] + 5 * scale);
    text.setAttribute("y", spot[3] - TEXT * 0.42 * scale);
    grips.forEach((grip, i) => {
      grip.style.display = chosen ? "" : "none";
      const [along, down] = Object.values(GRIPS)[i];
      const x = box[0] + (box[2] - box[0]) * along;
      const y = box[1] + (box[3] - box[1]) * down;
      const half = (GRIP / 2) * scale;
      place(grip, [x - half, y - half, x + half, y + half]);
    });
    if (chosen && this.overlay.lastChild !== group && document.activeElement !== group && !this.drag) {
      this.overlay.append(group); // on top, where its grips can be reached
    }
  }

  /** Return where a box's words go: above it, below or inside, and off those that are there already. */
  #placeTag([x1, y1, , y2], width, height, taken) {
    const left = Math.max(0, Math.min(x1, this.state.width - width));
    const spots = [y1 - height, y2, y1, y2 - height].map((top) => [left, top, left + width, top + height]);
    const inside = spots.filter((spot) => spot[1] >= 0 && spot[3] <= this.state.height);
    const spot = inside.find((one) => !taken.some((other) => touch(one, other))) ?? inside[0] ?? spots[2];
    taken.push(spot);
    return spot;
  }

  #spot(event) {
    const box = this.overlay.getBoundingClientRect();
    return [(event.clientX - box.left) / this.zoom, (event.clientY - box.top) / this.zoom];
  }

  #press(event) {
    if (event.button !== 0 || this.drag) return;
    const group = this.drawing ? null : event.target.closest(".box");
    event.preventDefault();
    this.overlay.setPointerCapture(event.pointerId);
    const start = this.#spot(event);
    const step = `drag ${event.timeStamp}`;
    if (group) {
      const id = Number(group.dataset.id);
      this.choose(id, { focus: true });
      this.drag = { id, start, step, grip: event.target.dataset.grip, from: this.edit.find(id).box };
    } else if (this.drawing) {
      const sketch = element("rect", { class: "edge" });
      const holder = element("g", { class: "box" });
      holder.append(sketch);
      this.overlay.append(holder);
      this.drag = { start, sketch, holder, box: this.edit.between(start, start) };
      this.draw();
    } else {
      this.choose(null);
    }
  }

  #pull(event) {
    if (!this.drag) return;
    const spot = this.#spot(event);
    const { id, start, step, grip, from, sketch } = this.drag;
    if (sketch) {
      this.drag.box = this.edit.between(start, spot);
      this.draw();
      return;
    }
    const dx = Math.round(spot[0] - start[0]);
    const dy = Math.round(spot[1] - start[1]);
    if (!grip) {
      const now = this.edit.find(id).box;
      this.edit.move(id, from[0] + dx - now[0], from[1] + dy - now[1], step);
      return;
    }
    const box = [...from];
    if (grip.includes("w")) box[0] += dx;
    if (grip.includes("e")) box[2] += dx;
    if (grip.includes("n")) box[1] += dy;
    if (grip.includes("s")) box[3] += dy;
    const next = this.edit.between([box[0], box[1]], [box[2], box[3]]);
    if (!tooSmall(next)) this.edit.place(id, next, step);
  }

  #release() {
    const drag = this.drag;
    this.drag = null;
    if (!drag) return;
    this.edit.endStep();
    if (!drag.sketch) return;
    drag.holder.remove();
    this.setDrawing(false);
    if (!tooSmall(drag.box)) this.dispatchEvent(new CustomEvent("drawn", { detail: drag.box }));
  }

  #wheel(event) {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    this.zoomBy(Math.exp(-event.deltaY / 300), [event.clientX, event.clientY]);
  }
}

/** Show a blob in an <img>, and forget what it showed before. */
export function showBlob(image, blob) {
  if (image.src) URL.revokeObjectURL(image.src);
  image.src = URL.createObjectURL(blob);
}

export function describe([x1, y1, x2, y2]) {
  return `${Math.round(x2 - x1)} by ${Math.round(y2 - y1)} pixels at ${Math.round(x1)}, ${Math.round(y1)}`;
}

function element(name, attributes = {}) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function place(rect, [x1, y1, x2, y2]) {
  rect.setAttribute("x", x1);
  rect.setAttribute("y", y1);
  rect.setAttribute("width", x2 - x1);
  rect.setAttribute("height", y2 - y1);
}

function touch(one, other) {
  return one[0] < other[2] && other[0] < one[2] && one[1] < other[3] && other[1] < one[3];
}

/** Whether white text reads better on a colour. */
function dark(colour) {
  const [red, green, blue] = [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
  return 299 * red + 587 * green + 114 * blue < 128000;
}
