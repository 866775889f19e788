// Sortable, filterable tables. Rows are drawn 50 at first, as thousands of rows help nobody; the row for the rest stays last.
const FIRST = 50;
const CELL_TEXT = { count, seconds, ms: (value) => (value === null ? NOT_OBSERVED : seconds(value / 1e3)) };

function makeTables() {
  const tabs = [...document.querySelectorAll('[role=tab]')];
  const choose = (tab) => {
    for (const other of tabs) {
      const on = other === tab;
      other.setAttribute('aria-selected', String(on));
      other.tabIndex = on ? 0 : -1;
      byId(other.getAttribute('aria-controls')).classList.toggle('active', on);
    }
  };
  for (const tab of tabs) tab.addEventListener('click', () => choose(tab));
  document.querySelector('[role=tablist]').addEventListener('keydown', (event) => moveAmong(event, tabs, choose));
  for (const table of DATA.tables) if (table.observed) makeTable(table, byId(`panel-${table.id}`));
}

function makeTable(table, panel) {
  const { columns } = table;
  const main = columns.findIndex((column) => column.key === table.sort);
  const state = { by: main, down: true, filter: '', shown: FIRST };
  const body = element('tbody');
  const box = element('input', { type: 'search', placeholder: `Filter ${table.title.toLowerCase()}`, 'aria-label': `Filter ${table.title.toLowerCase()}`, autocomplete: 'off', spellcheck: 'false' });
  const said = element('span', { class: 'small', role: 'status' });
  const more = element('button', { type: 'button', class: 'more' });
  const heads = columns.map((column, i) => {
    const button = element('button', { type: 'button' }, column.label);
    button.addEventListener('click', () => {
      state.down = state.by === i ? !state.down : isNumber(column);
      state.by = i;
      draw();
    });
    return element('th', { scope: 'col', class: isNumber(column) ? 'num' : '' }, button);
  });
  const most = Math.max(1, ...table.rows.map((row) => row[main] || 0));

  function draw() {
    const { kind } = columns[state.by];
    const rows = table.rows.filter((row) => !state.filter || row.some((value) => typeof value === 'string' && value.toLowerCase().includes(state.filter)));
    rows.sort((a, b) => compare(a[state.by], b[state.by], state.down, kind));
    heads.forEach((head, i) => {
      if (i === state.by) head.setAttribute('aria-sort', state.down ? 'descending' : 'ascending');
      else head.removeAttribute('aria-sort');
    });
    body.textContent = '';
    body.append(...rows.slice(0, state.shown).map((row) => makeRow(row, '')));
    if (table.rest && !state.filter) body.append(makeRow(table.rest, 'rest'));
    const left = rows.length - Math.min(rows.length, state.shown);
    more.hidden = !left;
    more.textContent = `Show ${count(Math.min(left, 500))} more of ${count(left)}`;
    said.textContent = state.filter ? summary(rows) : '';
  }

  function summary(rows) {
    const sum = table.sort.endsWith('_cum') ? '' : `, together ${count(rows.reduce((total, row) => total + (row[main] || 0), 0))} calls`;
    return `${count(rows.length)} of ${count(table.rows.length)} rows${sum}`;
  }

  function makeRow(row, kind) {
    return element('tr', { class: kind }, ...row.map((value, i) => makeCell(value, columns[i], i === main && kind !== 'rest', most)));
  }

  box.addEventListener('input', () => {
    state.filter = box.value.trim().toLowerCase();
    state.shown = FIRST;
    draw();
  });
  more.addEventListener('click', () => {
    state.shown += 500;
    draw();
  });
  panel.append(
    element('div', { class: 'filter' }, box, said),
    element('div', { class: 'scroll' }, element('table', {}, element('caption', { class: 'hidden' }, table.title), element('thead', {}, element('tr', {}, ...heads)), body)),
    more,
    element('p', { class: 'small' }, table.note),
  );
  draw();
}

function isNumber(column) {
  return column.kind !== 'name' && column.kind !== 'text';
}

// What was not observed is last either way.
function compare(a, b, down, kind) {
  if (a === null || b === null) return (a === null) - (b === null);
  const order = kind === 'name' || kind === 'text' ? (String(a) < String(b) ? -1 : Number(String(a) > String(b))) : a - b;
  return down ? -order : order;
}

function makeCell(value, column, isMain, most) {
  const format = CELL_TEXT[column.kind];
  if (column.kind === 'name' || column.kind === 'text') return element('td', { class: column.kind }, ...breakable(value === null ? NOT_OBSERVED : String(value)));
  if (value === null) return element('td', { class: 'num' }, element('span', { class: 'absent' }, NOT_OBSERVED));
  const cell = element('td', { class: isMain ? 'num main' : 'num' }, value === '' ? '' : format(value));
  if (isMain && value) {
    const bar = element('i', { 'aria-hidden': 'true' });
    bar.style.width = `calc(${Math.max((100 * value) / most, 1)}% - 14px)`;
    cell.append(bar);
  }
  return cell;
}
