// From the data of an image to colours. Bands mix the colours of several classes, as in
// data/visualize.py. Of lines, the colours alternate in dashes, and a casing sets them off.

const CASING = 0.4;  // of a line's width, on either side
const WHITENESS = 0.7;  // of a casing
const SHORTEST_DASH = 4;  // pixels

const toHsv = ([r, g, b]) => {
  const top = Math.max(r, g, b), range = top - Math.min(r, g, b);
  let hue = 0;
  if (range) {
    if (top === r) hue = ((g - b) / range + 6) % 6;
    else if (top === g) hue = (b - r) / range + 2;
    else hue = (r - g) / range + 4;
  }
  return [hue, top ? range / top : 0, top];
};

const toRgb = (hue, saturation, value) => [5, 3, 1].map(n => {
  const k = (n + hue) % 6;
  return value * (1 - saturation * Math.max(0, Math.min(k, 4 - k, 1)));
});

const hsvOf = index.colors.map(toHsv);

// The weights of the classes at each pixel, and the colour that they mix to.
class Mixer {
  constructor(pixels) {
    const sums = () => new Float32Array(pixels);
    this.total = sums();
    this.strongest = new Uint8Array(pixels);
    // Of the colour's red, green, blue, and the classes' own saturation and value.
    this.parts = [sums(), sums(), sums(), sums(), sums()];
  }

  add(pixel, weight, rgb, hsv) {
    const [r, g, b, s, v] = this.parts;
    this.total[pixel] += weight;
    r[pixel] += weight * rgb[0];
    g[pixel] += weight * rgb[1];
    b[pixel] += weight * rgb[2];
    s[pixel] += weight * hsv[1];
    v[pixel] += weight * hsv[2];
    if (weight > this.strongest[pixel]) this.strongest[pixel] = weight;
  }

  // Hue of the mean colour; saturation and value are the means of the classes' own.
  paint(rgba) {
    const {total, strongest, parts: [r, g, b, s, v]} = this;
    for (let i = 0; i < total.length; i++) {
      const sum = total[i];
      if (!sum) continue;
      const [hue] = toHsv([r[i] / sum, g[i] / sum, b[i] / sum]);
      const color = toRgb(hue, s[i] / sum, v[i] / sum);
      for (let channel = 0; channel < 3; channel++) rgba[4 * i + channel] = color[channel];
      rgba[4 * i + 3] = Math.round(strongest[i] * 2.55);
    }
  }
}

// ImageData of an image.
// shown: whether a class is. threshold: per cent, or null for what predict.py draws.
// brush: the width of lines in pixels. cased: lines have a white casing.
function drawImage(image, shown, threshold, brush, cased) {
  const [width, height] = image.size;
  const canvas = new ImageData(width, height);
  if (image.labels) {
    drawLabels(image.labels, shown, canvas.data);
    return canvas;
  }
  if (threshold === null && index.lines) {
    drawLines(image, shown, brush, cased, canvas.data);
    return canvas;
  }
  const mixer = new Mixer(width * height);
  image.classes.forEach((k, place) => {
    if (!shown(k)) return;
    const add = (pixel, weight) => mixer.add(pixel, weight, index.colors[k], hsvOf[k]);
    const prob = image.prob[place], lines = image.lines[place];
    if (threshold !== null) {
      for (let i = 0; i < prob.length; i++) if (prob[i] >= threshold) add(i, prob[i]);
    } else {
      for (const i of lines) add(i, Math.max(prob[i], 1));
    }
  });
  mixer.paint(canvas.data);
  return canvas;
}

function drawLabels(labels, shown, rgba) {
  const on = index.colors.map((_, k) => shown(k));
  for (let i = 0; i < labels.length; i++) {
    const k = labels[i];
    if (!on[k]) continue;
    rgba.set(index.colors[k], 4 * i);
    rgba[4 * i + 3] = 255;
  }
}

function drawLines(image, shown, brush, cased, rgba) {
  const [width, height] = image.size;
  const classesAt = new Map();  // pixel -> the classes that have a line there
  image.classes.forEach((k, place) => {
    if (!shown(k)) return;
    for (const i of widened(image.lines[place], width, height, brush)) {
      if (classesAt.has(i)) classesAt.get(i).push(k); else classesAt.set(i, [k]);
    }
  });
  if (cased) {
    const reach = Math.max(1, Math.round(CASING * brush));
    for (const i of widened(classesAt.keys(), width, height, 2 * reach + 1)) {
      rgba.fill(255, 4 * i, 4 * i + 3);
      rgba[4 * i + 3] = Math.round(255 * WHITENESS);
    }
  }
  const dash = Math.max(SHORTEST_DASH, 3 * brush);
  for (const [i, classes] of classesAt) {
    const turn = Math.floor(Math.floor(i / width) / dash) + Math.floor(i % width / dash);
    rgba.set(index.colors[classes[turn % classes.length]], 4 * i);
    rgba[4 * i + 3] = 255;
  }
}

// Pixels, each made a square of `brush` by `brush`.
function widened(pixels, width, height, brush) {
  if (brush < 2) return pixels;
  const found = new Set(), before = brush >> 1;
  for (const i of pixels) {
    const left = Math.max(0, i % width - before), right = Math.min(width, left + brush);
    const top = Math.max(0, Math.floor(i / width) - before);
    const bottom = Math.min(height, top + brush);
    for (let y = top; y < bottom; y++) for (let x = left; x < right; x++) found.add(y * width + x);
  }
  return found;
}

// At a pixel: [[class, per cent or null, whether predict.py draws it]], the strongest first.
function valuesAt(image, x, y) {
  const pixel = y * image.size[0] + x;
  if (image.labels) {
    const k = image.labels[pixel];
    return k < index.classes.length ? [[k, null, true]] : [];
  }
  return image.classes
    .map((k, place) => [k, image.prob[place][pixel], image.lines[place].includes(pixel)])
    .filter(([, prob, drawn]) => prob || drawn)
    .sort((first, second) => second[1] - first[1]);
}
