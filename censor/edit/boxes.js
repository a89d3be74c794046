// The boxes and the look as they stand, with undo. Coordinates are pixels of the source picture.

const LEAST = 4; // pixels; a smaller box is a slip of the hand

export class Edit extends EventTarget {
  constructor(width, height, boxes) {
    super();
    this.width = width;
    this.height = height;
    this.next = 1;
    this.now = { boxes: boxes.map((box) => ({ ...box, id: this.next++ })), look: {} };
    this.past = [];
    this.future = [];
    this.step = null; // changes of one step, a drag for one, are undone together
    this.saved = this.now;
  }

  /** What the server takes. */
  get changes() {
    const boxes = this.now.boxes.map(({ label, box, hide, score }) =>
      score === undefined ? { label, box, hide } : { label, box, hide, score });
    return { boxes, look: this.now.look };
  }

  get unsaved() {
    return this.now !== this.saved;
  }

  find(id) {
    return this.now.boxes.find((box) => box.id === id);
  }

  /** Replace the state; `step` names what is undone together with the change before. */
  change(make, step = null) {
    const after = make(this.now);
    if (after === this.now) return;
    if (step === null || step !== this.step) this.past.push(this.now);
    this.step = step;
    this.future = [];
    this.now = after;
    this.dispatchEvent(new Event("change"));
  }

  /** End the present step: what comes next is undone by itself. */
  endStep() {
    this.step = null;
  }

  undo() {
    this.#travel(this.past, this.future);
  }

  redo() {
    this.#travel(this.future, this.past);
  }

  #travel(from, to) {
    if (!from.length) return;
    to.push(this.now);
    this.now = from.pop();
    this.step = null;
    this.dispatchEvent(new Event("change"));
  }

  update(id, part, step = null) {
    this.change((now) => ({ ...now, boxes: now.boxes.map((box) => (box.id === id ? { ...box, ...part } : box)) }), step);
  }

  /** Place a box; a box that a person placed has no score any more. */
  place(id, box, step = null) {
    const old = this.find(id);
    if (!old || old.box.every((side, i) => side === box[i])) return;
    this.update(id, { box, score: undefined }, step);
  }

  move(id, dx, dy, step) {
    const [x1, y1, x2, y2] = this.find(id).box;
    const width = x2 - x1;
    const height = y2 - y1;
    const left = within(x1 + dx, 0, this.width - width);
    const top = within(y1 + dy, 0, this.height - height);
    this.place(id, [left, top, left + width, top + height], step);
  }

  resize(id, dx, dy, step) {
    const [x1, y1, x2, y2] = this.find(id).box;
    const right = within(x2 + dx, x1 + LEAST, Math.max(this.width, x1 + LEAST));
    this.place(id, [x1, y1, right, within(y2 + dy, y1 + LEAST, Math.max(this.height, y1 + LEAST))], step);
  }

  add(label, box) {
    const id = this.next++;
    this.change((now) => ({ ...now, boxes: [...now.boxes, { id, label, box, hide: true }] }));
    return id;
  }

  remove(id) {
    this.change((now) => ({ ...now, boxes: now.boxes.filter((box) => box.id !== id) }));
  }

  setLook(part, step = null) {
    this.change((now) => ({ ...now, look: { ...now.look, ...part } }), step);
  }

  resetLook() {
    this.change((now) => (Object.keys(now.look).length ? { ...now, look: {} } : now));
  }

  /** Return the box between two corners, in whole pixels inside the picture. */
  between([ax, ay], [bx, by]) {
    const x1 = within(Math.round(Math.min(ax, bx)), 0, this.width - 1);
    const y1 = within(Math.round(Math.min(ay, by)), 0, this.height - 1);
    const x2 = within(Math.round(Math.max(ax, bx)), x1 + 1, this.width);
    const y2 = within(Math.round(Math.max(ay, by)), y1 + 1, this.height);
    return [x1, y1, x2, y2];
  }
}

export function tooSmall([x1, y1, x2, y2]) {
  return x2 - x1 < LEAST || y2 - y1 < LEAST;
}

function within(value, least, most) {
  return Math.max(least, Math.min(value, Math.max(least, most)));
}
