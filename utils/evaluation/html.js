// Tables sort by a click on a column's header, or Enter on it; the first click sorts downwards.
for (const head of document.querySelectorAll('thead th')) {
  const sort = () => {
    const body = head.closest('table').tBodies[0];
    const column = head.cellIndex;
    const up = head.getAttribute('aria-sort') === 'descending';
    for (const other of head.parentNode.cells) other.setAttribute('aria-sort', 'none');
    head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
    const text = row => row.cells[column].textContent.trim();
    // Numbers by value, words by the alphabet; a cell without a number ("-") comes last.
    const order = (first, second) => {
      const x = text(first), y = text(second);
      const p = parseFloat(x), q = parseFloat(y);
      if (isNaN(p) && isNaN(q)) return (up ? 1 : -1) * x.localeCompare(y);
      if (isNaN(p) || isNaN(q)) return isNaN(p) ? 1 : -1;
      return up ? p - q : q - p;
    };
    body.append(...[...body.rows].sort(order));
  };
  head.addEventListener('click', sort);
  head.addEventListener('keydown', event => { if (event.key === 'Enter') sort(); });
}

// A class's curves and its table row light up together.
const highlight = (part, on) => {
  const box = part.closest('section');
  for (const other of box.querySelectorAll('[data-key]')) {
    other.classList.toggle('hot', on && other.dataset.key === part.dataset.key);
  }
  for (const svg of box.querySelectorAll('svg')) svg.classList.toggle('focus', on);
};
for (const part of document.querySelectorAll('[data-key]')) {
  part.addEventListener('mouseenter', () => highlight(part, true));
  part.addEventListener('mouseleave', () => highlight(part, false));
}
