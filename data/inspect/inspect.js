// Tables sort by a click on a column's head, or Enter on it; the first click sorts downwards.
for (const head of document.querySelectorAll('[aria-sort]')) {
  const sort = () => {
    const up = head.getAttribute('aria-sort') === 'descending';
    for (const other of head.parentNode.cells) other.setAttribute('aria-sort', 'none');
    head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
    const body = head.closest('table').tBodies[0];
    const value = row => row.cells[head.cellIndex].dataset.v;
    // By the number, or by the alphabet; cells without a value come last either way.
    const order = (first, second) => {
      const x = value(first), y = value(second);
      if (x === undefined || y === undefined) return (x === undefined) - (y === undefined);
      const words = head.cellIndex === 0;
      return (up ? 1 : -1) * (words ? x.localeCompare(y) : Number(x) - Number(y));
    };
    body.append(...[...body.rows].sort(order));
  };
  head.addEventListener('click', sort);
  head.addEventListener('keydown', event => { if (event.key === 'Enter') sort(); });
}

// A class has a switch in the table and one above the contact sheet.
const setClass = (name, on) => {
  for (const box of document.querySelectorAll(`[data-class="${name}"]`)) box.checked = on;
  for (const layer of document.querySelectorAll(`[data-layer="${name}"]`)) {
    layer.classList.toggle('off', !on);
  }
};
for (const box of document.querySelectorAll('[data-class]')) {
  box.addEventListener('change', () => setClass(box.dataset.class, box.checked));
}
for (const button of document.querySelectorAll('[data-all]')) {
  button.addEventListener('click', () => {
    const names = new Set([...document.querySelectorAll('[data-class]')].map(b => b.dataset.class));
    for (const name of names) setClass(name, button.dataset.all === '1');
  });
}

for (const radio of document.querySelectorAll('[name=view]')) {
  radio.addEventListener('change', () => { document.body.dataset.view = radio.value; });
}
for (const stack of document.querySelectorAll('.grid .stack')) {
  stack.addEventListener('click', () => stack.parentNode.classList.toggle('large'));
}
