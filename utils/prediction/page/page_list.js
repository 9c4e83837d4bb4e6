// The lists: classes, each with its switch, and images, filtered by name.

const off = new Set();  // classes that are not drawn
const legend = byId('legend'), list = byId('list'), filter = byId('filter');
let classesChanged = () => {};  // set by page.js
let order = [];  // the images that the filter leaves, by their numbers

const rows = index.classes.map((name, k) => {
  const row = document.createElement('li'), label = document.createElement('label');
  const box = document.createElement('input'), swatch = document.createElement('i');
  const only = document.createElement('button'), text = document.createElement('span');
  Object.assign(box, {type: 'checkbox', checked: true});
  box.addEventListener('change', () => switchClass(k, box.checked));
  swatch.style.background = `rgb(${index.colors[k]})`;
  text.textContent = name;
  Object.assign(only, {type: 'button', textContent: 'only'});
  only.setAttribute('aria-label', `only ${name}`);
  only.addEventListener('click', () => onlyClass(k));
  label.append(box, swatch, text);
  label.addEventListener('dblclick', () => onlyClass(k));
  row.append(label, only);
  legend.append(row);
  return {row, box};
});

function switchClass(k, on) {
  if (on) off.delete(k); else off.add(k);
  showSwitches();
}

function onlyClass(k) {
  index.classes.forEach((_, other) => off.add(other));
  switchClass(k, true);
}

function switchAll(on) {
  index.classes.forEach((_, k) => { if (on) off.delete(k); else off.add(k); });
  showSwitches();
}

function showSwitches() {
  rows.forEach(({box}, k) => { box.checked = !off.has(k); });
  classesChanged();
}

// Classes that do not occur in the image are faded.
function markPresent(classes) {
  rows.forEach(({row}, k) => {
    row.classList.toggle('absent', !classes.includes(k));
    row.title = classes.includes(k) ? '' : 'not in this image';
  });
}

const folded = text => text.normalize('NFC').toLowerCase();

function fillList() {
  const wanted = folded(filter.value.trim());
  order = index.images.flatMap(([name], place) => folded(name).includes(wanted) ? [place] : []);
  list.replaceChildren(...order.map(place => new Option(index.images[place][0], place)));
  const all = index.images.length.toLocaleString('en');
  const left = order.length.toLocaleString('en');
  byId('matches').textContent = wanted ? `${left} of ${all} match` : '';
}
