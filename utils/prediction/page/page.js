// What is shown, and what changes it: keys, buttons, sliders, the address.

const hasEdges = index.task === 'edge' || index.both;
let isEdge = index.task === 'edge';  // of both, one is shown at a time: areas first
const shownNow = {place: -1, decoded: null, image: null};  // the image that is drawn
// threshold: per cent, or null for what predict.py draws.
const usualOpacity = () => isEdge ? 100 : 60;
const usualBackground = () => isEdge ? 'faded' : 'image';
const settings = {threshold: null, opacity: usualOpacity(), background: usualBackground()};
const BACKGROUNDS = ['image', 'faded', 'white'];
let wantedPlace = 0;  // the image that is to be shown, when it is there
let decoding = false;
let brush = 1;
let frame = 0;
let addressTimer = 0;

// --- the image ---

const neighbours = place => {
  const at = order.indexOf(place);
  return [order[at + 1], at > 0 ? order[at - 1] : undefined].filter(other => other !== undefined);
};

// One image is decoded at a time: where keys come faster, those in between are left out.
async function show(place) {
  wantedPlace = place;
  showPlace();
  if (!shownNow.image) byId('message').textContent = 'loading…';
  if (decoding) return;
  decoding = true;
  do {
    place = wantedPlace;
    try {
      await load(place);
    } catch (error) {
      if (wantedPlace === place) showMessage(`This image cannot be shown: ${error.message}`);
    }
  } while (wantedPlace !== place);
  decoding = false;
}

async function load(place) {
  const [name, key] = index.images[place];
  keep([key, ...neighbours(place).map(other => index.images[other][1])]);
  const decoded = await decodeImage(await cache.get(key));
  const photo = new Image();
  photo.src = decoded.image;
  await photo.decode();
  // Nothing waits from here on: what was asked for meanwhile, another image or the edges, counts.
  if (wantedPlace !== place) return;
  const image = face(decoded, !isEdge);
  Object.assign(shownNow, {place, decoded, image});
  byId('photo').alt = name;
  for (const id of ['photo', 'behind']) byId(id).src = image.image;
  present(image);
}

function present(image) {
  view.size = image.size;
  const [width, height] = image.size;
  stage.style.aspectRatio = `${width} / ${height}`;
  layers.style.width = `${width}px`;
  layers.style.height = `${height}px`;
  Object.assign(byId('drawing'), {width, height});
  markPresent(image.classes);
  const full = image.full.join(' x ');
  byId('scale').textContent = image.full[0] === width ? `Image and data at full size, ${full}.` :
    `Image and data are a copy of ${width} x ${height}; the image has ${full} pixels.`;
  byId('value').textContent = 'Point at the image to read what is there.';
  layers.hidden = false;
  updateView();
  redraw();
}

function showMessage(text) {
  Object.assign(shownNow, {decoded: null, image: null});
  layers.hidden = true;
  byId('message').textContent = text;
}

function redraw() {
  cancelAnimationFrame(frame);
  frame = requestAnimationFrame(() => {
    const {image} = shownNow;
    if (!image) return;
    const cased = settings.background !== 'white';
    try {
      const drawing = drawImage(image, k => !off.has(k), settings.threshold, brush, cased);
      byId('drawing').getContext('2d', {willReadFrequently: true}).putImageData(drawing, 0, 0);
    } catch (error) {
      showMessage(`This image cannot be drawn: ${error.message}`);
      return;
    }
    byId('message').textContent = '';
    stage.dataset.drawn = shownNow.place;
  });
}

// Lines are about two pixels of the screen wide, or one pixel of the copy where that is more.
viewChanged = () => {
  const wanted = Math.min(8, Math.max(1, Math.round(2 / (view.scale * devicePixelRatio))));
  if (wanted !== brush) {
    brush = wanted;
    redraw();
  }
};

classesChanged = () => { redraw(); writeAddress(); };

// --- what is said about it ---

function showPlace() {
  const [name] = index.images[wantedPlace];
  byId('name').textContent = name;
  const at = order.indexOf(wantedPlace), count = value => value.toLocaleString('en');
  byId('position').textContent = at < 0 ? 'not among the matches' :
    `${count(at + 1)} of ${count(order.length)}`;
  list.value = wantedPlace;
  writeAddress();
}

function showSettings() {
  const {threshold, opacity, background} = settings;
  byId('threshold').value = threshold ?? 50;
  byId('threshold-value').value = threshold === null ? 'as drawn' : (threshold / 100).toFixed(2);
  byId('threshold-box').classList.toggle('drawn', threshold === null);
  byId('as-drawn').setAttribute('aria-pressed', threshold === null);
  byId('opacity').value = opacity;
  byId('opacity-value').value = `${opacity} %`;
  byId('drawing').style.opacity = opacity / 100;
  byId('background').value = background;
  over.dataset.behind = background;
  document.body.classList.toggle('seg', !isEdge);
  byId('what').value = isEdge ? 'edges' : 'areas';
  redraw();
  writeAddress();
}

function explain() {
  byId('meaning').textContent = isEdge ?
    `As predict.py draws: ${index.drawn}. Moving the threshold shows instead, for every class, ` +
    'all pixels of that probability or more, as bands whose strength is the probability.' :
    'Each pixel has the colour of its class; there is no threshold.';
}

stage.addEventListener('pointermove', event => {
  const pixel = shownNow.image && pixelAt(event);
  if (!pixel) return;
  const {size, full} = shownNow.image;
  const place = pixel.map((value, axis) => Math.floor((value + 0.5) * full[axis] / size[axis]));
  const least = (index.least / 100).toFixed(2);
  const found = valuesAt(shownNow.image, ...pixel).slice(0, 6).map(([k, prob, drawn]) => {
    const name = index.classes[k];
    if (!isEdge) return name;
    return `${name} ${prob ? (prob / 100).toFixed(2) : `< ${least}`}${drawn ? ' (drawn)' : ''}`;
  });
  const nothing = isEdge ? `nothing from ${least} on` : 'no class';
  byId('value').textContent = `x ${place[0]}, y ${place[1]}: ${found.join(', ') || nothing}`;
});

// --- leafing, settings ---

function leaf(step) {
  const at = order.indexOf(wantedPlace);
  // From an image that the filter hides: to the next one that it leaves.
  const after = order.findIndex(place => place > wantedPlace);
  const from = at >= 0 ? at + step : step > 0 ? after : (after < 0 ? order.length : after) - 1;
  if (order[from] !== undefined) show(order[from]);
}

const ends = last => { if (order.length) show(last ? order[order.length - 1] : order[0]); };

function setThreshold(threshold) {
  if (!isEdge) return;
  settings.threshold = threshold === null ? null : Math.min(99, Math.max(index.least, threshold));
  showSettings();
}

// Opacity and background stay what they are, unless they are the usual ones.
function showEdges(edges) {
  const usual = [settings.opacity === usualOpacity(), settings.background === usualBackground()];
  isEdge = edges;
  if (usual[0]) settings.opacity = usualOpacity();
  if (usual[1]) settings.background = usualBackground();
  if (shownNow.decoded) {
    shownNow.image = face(shownNow.decoded, !isEdge);
    markPresent(shownNow.image.classes);
  }
  explain();
  showSettings();
}

function nextBackground() {
  settings.background = BACKGROUNDS[(BACKGROUNDS.indexOf(settings.background) + 1) % 3];
  showSettings();
}

const onClick = {
  previous: () => leaf(-1), next: () => leaf(1), smaller: () => zoomTo(view.scale / 1.5),
  larger: () => zoomTo(view.scale * 1.5), fit, actual: () => zoomTo(1),
  'show-help': () => byId('help').showModal(), all: () => switchAll(true),
  none: () => switchAll(false), 'as-drawn': () => setThreshold(null),
};
for (const [id, act] of Object.entries(onClick)) byId(id).addEventListener('click', act);
// A click on the slider where it stands changes no value, and still says what is wanted.
for (const type of ['input', 'click']) {
  byId('threshold').addEventListener(type, event => setThreshold(Number(event.target.value)));
}
byId('opacity').addEventListener('input', event => {
  settings.opacity = Number(event.target.value);
  showSettings();
});
byId('background').addEventListener('change', event => {
  settings.background = event.target.value;
  showSettings();
});
byId('what').addEventListener('change', event => showEdges(event.target.value === 'edges'));
list.addEventListener('change', () => show(Number(list.value)));
filter.addEventListener('input', () => { fillList(); if (index.images.length) showPlace(); });

const onKey = {
  ArrowRight: () => leaf(1), j: () => leaf(1), ArrowLeft: () => leaf(-1), k: () => leaf(-1),
  Home: () => ends(false), End: () => ends(true), '+': onClick.larger, '=': onClick.larger,
  '-': onClick.smaller, 0: fit, 1: onClick.actual, s: () => setSplit(view.split ? 0 : 50),
  a: onClick.all, n: onClick.none, b: nextBackground, '/': () => filter.focus(),
  '?': onClick['show-help'],
  ...hasEdges && {
    '[': () => setThreshold((settings.threshold ?? 50) - 5),
    ']': () => setThreshold((settings.threshold ?? 50) + 5), d: onClick['as-drawn'],
  },
  ...index.both && {e: () => showEdges(!isEdge)},
};
document.addEventListener('keydown', event => {
  if (event.ctrlKey || event.altKey || event.metaKey || byId('help').open) return;
  const target = event.target, arrows = /^(Arrow|Home|End)/.test(event.key);
  if (target === filter) return;
  // A slider moves and the list of what is behind changes by arrows, the list of images by letters.
  if (arrows && (target.type === 'range' || ['background', 'what'].includes(target.id))) return;
  if (target.tagName === 'SELECT' && (!arrows || target !== list)) return;
  const act = onKey[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!act || !index.images.length) return;
  event.preventDefault();
  act();
});

// --- the address: #image=NAME&show=edges&t=PER CENT&o=PER CENT&off=CLASSES ---

// Not at once: browsers refuse more than some hundred changes in half a minute.
function writeAddress() {
  clearTimeout(addressTimer);
  if (index.images.length) addressTimer = setTimeout(replaceAddress, 200);
}

function replaceAddress() {
  const parts = [`image=${encodeURIComponent(index.images[wantedPlace][0])}`];
  if (index.both && isEdge) parts.push('show=edges');
  if (settings.threshold !== null) parts.push(`t=${settings.threshold}`);
  if (settings.opacity !== usualOpacity()) parts.push(`o=${settings.opacity}`);
  if (off.size) parts.push(`off=${[...off].sort((a, b) => a - b).join(',')}`);
  const address = `#${parts.join('&')}`;
  if (location.hash !== address) history.replaceState(null, '', address);
}

function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1).replaceAll('+', '%2B'));
  const number = (key, low, high, otherwise) => {
    const value = given.get(key);
    return value !== null && /^\d+$/.test(value) && value >= low && value <= high ?
      Number(value) : otherwise;
  };
  if (index.both) showEdges(given.get('show') === 'edges');
  settings.threshold = hasEdges ? number('t', index.least, 99, null) : null;
  settings.opacity = number('o', 0, 100, usualOpacity());
  off.clear();
  for (const k of (given.get('off') ?? '').split(',')) {
    if (/^\d+$/.test(k) && k < index.classes.length) off.add(Number(k));
  }
  const place = index.images.findIndex(([name]) => name === given.get('image'));
  wantedPlace = Math.max(0, place);
  if (!order.includes(wantedPlace)) {
    filter.value = '';
    fillList();
  }
  showSwitches();
  showSettings();
  show(wantedPlace);
}

// --- start ---

byId('what-box').hidden = !index.both;
for (const part of document.querySelectorAll('.both')) part.hidden = !index.both;
byId('threshold').min = index.least;
explain();
fillList();
if (index.images.length) {
  addEventListener('hashchange', readAddress);
  readAddress();
} else {
  showMessage('No image could be predicted; what failed is in the list of images.');
}
