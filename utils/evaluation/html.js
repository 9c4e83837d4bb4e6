for (const head of document.querySelectorAll('thead th')) {
  const sort = () => {
    const table = head.closest('table'), body = table.tBodies[0], column = head.cellIndex;
    const up = head.getAttribute('aria-sort') === 'descending';
    for (const other of head.parentNode.cells) other.setAttribute('aria-sort', 'none');
    head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
    const text = row => row.cells[column].textContent.trim(), order = (a, b) => {
      const x = text(a), y = text(b), p = parseFloat(x), q = parseFloat(y);
      if (isNaN(p) || isNaN(q)) return isNaN(p) && isNaN(q) ? (up ? 1 : -1) * x.localeCompare(y) : isNaN(p) ? 1 : -1;
      return up ? p - q : q - p;
    };
    body.append(...[...body.rows].sort(order));
  };
  head.addEventListener('click', sort);
  head.addEventListener('keydown', event => { if (event.key === 'Enter') sort(); });
}
const light = (part, on) => {
  const page = part.closest('section');
  for (const other of page.querySelectorAll('[data-key]')) other.classList.toggle('hot', on && other.dataset.key === part.dataset.key);
  for (const svg of page.querySelectorAll('svg')) svg.classList.toggle('focus', on);
};
for (const part of document.querySelectorAll('[data-key]')) {
  part.addEventListener('mouseenter', () => light(part, true));
  part.addEventListener('mouseleave', () => light(part, false));
}
