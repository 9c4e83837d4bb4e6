'use strict';
// The data of images: in this page, or in files that are loaded when they are needed.

const byId = id => document.getElementById(id);
const index = JSON.parse(byId('index').textContent);
const cache = new Map();  // key -> promise of an image's data; the shown image and its neighbours
const waiting = new Map();  // key -> {data: promise, take: function} of files on their way

// The files call this.
function pageImage(key, net, data) {
  waiting.get(key)?.take(data);
}

// Of a file that is on its way already, the same promise: a second script would answer the first.
function fetchData(key) {
  if (index.folder === null) return readEmbedded(key);
  return waiting.get(key)?.data ?? loadFile(key);
}

// Damaged data are a rejection, also of a neighbour that nobody has asked to see.
async function readEmbedded(key) {
  return JSON.parse(byId(`i${key}`).textContent);
}

function loadFile(key) {
  const script = document.createElement('script');
  const path = `${index.folder}/${key}.js`;
  const entry = {};
  entry.data = new Promise((resolve, reject) => {
    const end = (settle, value) => { waiting.delete(key); script.remove(); settle(value); };
    const fail = why => end(reject, new Error(`${path} ${why}`));
    entry.take = data => end(resolve, data);
    script.addEventListener('error', () => {
      fail('cannot be loaded: the folder has to lie beside this page');
    });
    script.addEventListener('load', () => {
      if (waiting.get(key) === entry) fail('holds no data of this image');
    });
  });
  waiting.set(key, entry);
  script.src = path;
  document.head.append(script);
  return entry.data;
}

// Keep the data of these images, load what is missing, drop all others.
function keep(keys) {
  for (const key of cache.keys()) if (!keys.includes(key)) cache.delete(key);
  for (const key of keys) {
    if (cache.has(key)) continue;
    const data = fetchData(key);
    // Tried again when it is asked for again.
    data.catch(() => { if (cache.get(key) === data) cache.delete(key); });
    cache.set(key, data);
  }
}

const scratch = document.createElement('canvas').getContext('2d', {willReadFrequently: true});

// A grey PNG in base64 -> Uint8Array of its pixels, untouched by colour management.
async function decodePlane(base64, [width, height]) {
  const bytes = Uint8Array.from(atob(base64), letter => letter.charCodeAt(0));
  const bitmap = await createImageBitmap(new Blob([bytes], {type: 'image/png'}),
    {colorSpaceConversion: 'none', premultiplyAlpha: 'none'});
  // From here to the end nothing waits, so all planes share one canvas.
  if (scratch.canvas.width !== width || scratch.canvas.height !== height) {
    Object.assign(scratch.canvas, {width, height});
  }
  scratch.drawImage(bitmap, 0, 0);
  bitmap.close();
  const rgba = scratch.getImageData(0, 0, width, height).data;
  const plane = new Uint8Array(width * height);
  for (let i = 0; i < plane.length; i++) plane[i] = rgba[4 * i];
  return plane;
}

// What is drawn of an image: {size, full, image, classes, labels}, or for edges {..., prob, lines},
// with the per cents of each class, and the pixels (their numbers) that predict.py draws. Of both:
// {..., classes, prob, lines, labels, areas}, with the classes of the labels; see `face`.
async function decodeImage(data) {
  const decode = text => decodePlane(text, data.size);
  const labels = data.labels && await decode(data.labels);
  if (!data.prob) return {...data, labels};
  const prob = await Promise.all(data.prob.map(decode));
  const drawn = await Promise.all(data.drawn.map(decode));
  const lines = drawn.map(plane => {
    const found = [];
    for (let i = 0; i < plane.length; i++) if (plane[i]) found.push(i);
    return Uint32Array.from(found);
  });
  return {...data, labels, prob, lines};
}

// Of an image with both, the areas or the edges alone.
function face(image, areas) {
  if (!image.labels || !image.prob) return image;
  return areas ? {...image, classes: image.areas} : {...image, labels: undefined};
}
