// Zoom, moving, and the bar between the plain image and the drawing.

const stage = byId('stage'), layers = byId('layers'), over = byId('over'), bar = byId('split');
const view = {scale: 1, x: 0, y: 0, fitted: true, split: 0, size: [1, 1]};
const MAX_SCALE = 32;
let viewChanged = () => {};  // set by page.js

function fitScale() {
  return Math.min(stage.clientWidth / view.size[0], stage.clientHeight / view.size[1]);
}

// No gap between image and stage where the image is the larger, equal gaps where it is smaller.
const placed = (offset, image, room) =>
  image <= room ? (room - image) / 2 : Math.min(0, Math.max(room - image, offset));

function updateView() {
  const [width, height] = view.size;
  if (view.fitted) view.scale = fitScale();
  view.x = placed(view.x, width * view.scale, stage.clientWidth);
  view.y = placed(view.y, height * view.scale, stage.clientHeight);
  layers.style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.scale})`;
  layers.classList.toggle('pixels', view.scale >= 2);
  stage.classList.toggle('movable', !view.fitted);
  const loaded = width > 1 || height > 1;  // until then, the scale means nothing
  byId('zoom').value = loaded ? `${Math.round(100 * view.scale)} %` : '';
  const cut = view.split / 100 * stage.clientWidth;
  bar.style.left = `${cut}px`;
  // The knob stays inside.
  const shift = Math.max(0, 13 - cut) - Math.max(0, 13 - (stage.clientWidth - cut));
  bar.style.setProperty('--shift', `${shift}px`);
  bar.setAttribute('aria-valuenow', Math.round(view.split));
  bar.setAttribute('aria-valuetext', `${Math.round(view.split)} per cent`);
  over.style.clipPath = `inset(0 0 0 ${Math.max(0, (cut - view.x) / view.scale)}px)`;
  viewChanged();
}

function fit() {
  view.fitted = true;
  updateView();
}

// Zoom, with the point (x, y) of the stage staying where it is; the middle, if it is not given.
function zoomTo(scale, x = stage.clientWidth / 2, y = stage.clientHeight / 2) {
  const low = Math.min(fitScale(), 1) / 4;
  scale = Math.min(MAX_SCALE, Math.max(low, scale));
  view.x = x - (x - view.x) * scale / view.scale;
  view.y = y - (y - view.y) * scale / view.scale;
  view.scale = scale;
  view.fitted = false;
  updateView();
}

function setSplit(share) {
  view.split = Math.min(100, Math.max(0, share));
  updateView();
}

// A place on the screen, in the stage.
function inStage(event) {
  const box = stage.getBoundingClientRect();
  return [event.clientX - box.left - stage.clientLeft, event.clientY - box.top - stage.clientTop];
}

// The pixel of the copy under a place on the screen, or null.
function pixelAt(event) {
  const [x, y] = inStage(event);
  const pixel = [(x - view.x) / view.scale, (y - view.y) / view.scale].map(Math.floor);
  return pixel.every((value, axis) => value >= 0 && value < view.size[axis]) ? pixel : null;
}

bar.addEventListener('pointerdown', event => {
  bar.setPointerCapture(event.pointerId);
  event.stopPropagation();
});
bar.addEventListener('pointermove', event => {
  if (bar.hasPointerCapture(event.pointerId)) {
    setSplit(100 * inStage(event)[0] / stage.clientWidth);
  }
});
bar.addEventListener('keydown', event => {
  const steps = {ArrowLeft: -2, ArrowDown: -2, ArrowRight: 2, ArrowUp: 2, PageDown: -20,
    PageUp: 20, Home: -100, End: 100};
  if (!(event.key in steps) || event.ctrlKey || event.altKey || event.metaKey) return;
  setSplit(view.split + steps[event.key]);
  event.preventDefault();
  event.stopPropagation();
});

const pointers = new Map();  // the pointers that are down on the stage: one moves, two zoom
stage.addEventListener('pointerdown', event => {
  if (event.button) return;
  pointers.set(event.pointerId, inStage(event));
  stage.setPointerCapture(event.pointerId);
});
stage.addEventListener('pointermove', event => {
  const before = pointers.get(event.pointerId);
  if (!before) return;
  const now = inStage(event);
  if (pointers.size === 1 && !view.fitted) {
    view.x += now[0] - before[0];
    view.y += now[1] - before[1];
    updateView();
  } else if (pointers.size === 2) {
    const other = [...pointers].find(([id]) => id !== event.pointerId)[1];
    const distance = point => Math.hypot(point[0] - other[0], point[1] - other[1]) || 1;
    zoomTo(view.scale * distance(now) / distance(before), (now[0] + other[0]) / 2,
      (now[1] + other[1]) / 2);
  }
  pointers.set(event.pointerId, now);
});
for (const end of ['pointerup', 'pointercancel']) {
  stage.addEventListener(end, event => pointers.delete(event.pointerId));
}
stage.addEventListener('wheel', event => {
  event.preventDefault();
  const pixels = event.deltaY * (event.deltaMode === 1 ? 16 : 1);  // mode 1 counts lines
  zoomTo(view.scale * Math.exp(-pixels / 500), ...inStage(event));
}, {passive: false});
new ResizeObserver(updateView).observe(stage);
