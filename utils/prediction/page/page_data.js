'use strict';
// The data of images: in this page, or in files that are loaded when they are needed.

const byId = id => document.getElementById(id);
const index = JSON.parse(byId('index').textContent);
const cache = new Map();  // key -> promise of an image's data; the shown image and its neighbours
const waiting = new Map();  // key -> what to do with the data that a file brings

// The files call this.
function pageImage(key, net, data) {
  waiting.get(key)?.(data);
}

function fetchData(key) {
  if (index.folder === null) return Promise.resolve(JSON.parse(byId(`i${key}`).textContent));
  return new Promise((resolve, reject) => {
    const script = document.createElement('script');
    const path = `${index.folder}/${key}.js`;
    const end = () => { waiting.delete(key); script.remove(); };
    const fail = () => {
      end();
      reject(new Error(`${path} cannot be loaded: the folder has to lie beside this page`));
    };
    waiting.set(key, data => { end(); resolve(data); });
    script.addEventListener('error', fail);
    script.addEventListener('load', () => { if (waiting.has(key)) fail(); });
    script.src = path;
    document.head.append(script);
  });
}

// Keep the data of these images, load what is missing, drop all others.
function keep(keys) {
  for (const key of cache.keys()) if (!keys.includes(key)) cache.delete(key);
  for (const key of keys) {
    if (cache.has(key)) continue;
    const data = fetchData(key);
    data.catch(() => cache.delete(key));  // tried again when it is asked for again
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
