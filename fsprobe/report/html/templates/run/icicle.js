// The icicle: modules as nested bars.
const ROW = 26;
const MEASURES = [
  { value: 'calls', label: 'Calls', unit: 'calls', text: count },
  { value: 'requests', label: 'Requests', unit: 'requests', text: count },
  { value: 'time', label: 'Time', unit: '', text: seconds },
  { value: 'not_found', label: 'Not found', unit: 'failed lookups', text: count },
];

const FONT = '12.5px system-ui, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", "Liberation Sans", Arial, sans-serif';
const PADDING = 14;

let ruler = null;
const lengths = new Map();

function textWidth(text) {
  if (!lengths.has(text)) {
    ruler = ruler || document.createElement('canvas').getContext('2d');
    ruler.font = FONT;
    lengths.set(text, ruler.measureText(text).width);
  }
  return lengths.get(text);
}

// A bar says the whole name, or the name without the packages that it shares with the bar above, or its last part; a name that does
// not fit is not cut off but left to the tooltip.
function labelOf(node, pixels) {
  if (pixels < 24) return '';
  const parts = node.name.split('.');
  const above = node.parent ? node.parent.name.split('.') : [];
  let same = 0;
  while (same < parts.length - 1 && parts[same] === above[same]) same += 1;
  const names = [node.name];
  if (same) names.push(`.${parts.slice(same).join('.')}`);
  if (parts.length > 1) names.push(`.${parts[parts.length - 1]}`);
  return names.find((name) => textWidth(name) <= pixels - PADDING) || '';
}

function makeIcicle() {
  const data = DATA.icicle;
  const chart = byId('icicle');
  if (!data || !chart) return;
  const trees = { importer: importerTree(data), name: nameTree(data) };
  const state = { arrange: 'importer', measure: 'calls', focus: trees.importer.root, current: null, query: '' };
  const cells = new Map();
  let room = 0;
  const colourOf = (node) => `--p${node.parent ? data.colours[topName(node)] || 0 : 0}`;
  const tip = makeTip(chart);
  const measure = () => MEASURES.find((entry) => entry.value === state.measure);

  makeSwitch(byId('icicle-arrange'), [
    { value: 'importer', label: 'Cumulative, by importer', title: 'A module with everything it imported' },
    { value: 'name', label: 'Self, by package', title: 'Only what each module did itself, packed by dotted name' },
  ], 'importer', (value) => { state.arrange = value; restart(); });
  makeSwitch(byId('icicle-measure'), MEASURES.map((entry) => ({
    ...entry, disabled: !data[entry.value], title: data[entry.value] ? null : `${entry.label}: ${NOT_OBSERVED} per module`,
  })), 'calls', (value) => { state.measure = value; restart(); });

  function restart() {
    place(trees[state.arrange], state.measure);
    state.focus = trees[state.arrange].root;
    state.current = null;
    for (const cell of cells.values()) cell.remove();
    cells.clear();
    draw();
    search(state.query);
    writeLink(state);
  }

  function isDrawn(node) {
    const span = state.focus.x1 - state.focus.x0 || 1;
    return ((node.x1 - node.x0) / span) * room >= 1.5;
  }

  function draw() {
    room = chart.clientWidth; // read once: asking again after each bar would lay out the page each time
    const { focus } = state;
    const span = focus.x1 - focus.x0 || 1;
    const drawn = new Set();
    let deepest = focus.depth;
    const ahead = [focus];
    while (ahead.length) {
      const node = ahead.pop();
      if (node !== focus && !isDrawn(node)) continue;
      drawn.add(node.id);
      deepest = Math.max(deepest, node.depth);
      put(node, (node.x0 - focus.x0) / span, (node.x1 - node.x0) / span);
      ahead.push(...node.children);
    }
    for (const [id, cell] of cells) {
      if (!drawn.has(id)) {
        cell.remove();
        cells.delete(id);
      }
    }
    chart.style.height = `${(deepest - focus.depth + 1) * ROW}px`;
    drawCrumbs();
    mark(state.current && drawn.has(state.current.id) ? state.current : focus);
    dim();
  }

  function put(node, left, width) {
    let cell = cells.get(node.id);
    if (!cell) {
      cell = element('div', { role: 'treeitem', id: `cell-${node.id}`, class: 'cell' });
      cell.addEventListener('click', () => { mark(node); zoom(node === state.focus && node.parent ? node.parent : node); });
      cell.addEventListener('mousemove', (event) => tip.show(event, node.name, facts(node)));
      chart.append(cell);
      cells.set(node.id, cell);
    }
    const pixels = width * room;
    const label = labelOf(node, pixels);
    const number = measure().text(node.sum[state.measure]);
    cell.textContent = label;
    cell.dataset.number = label && textWidth(label) + textWidth(number) + PADDING + 12 <= pixels ? number : '';
    cell.className = `cell${label ? '' : ' slim'}`;
    cell.setAttribute('aria-level', node.depth - state.focus.depth + 1);
    cell.setAttribute('aria-label', `${node.name}, ${amount(node)}`);
    cell.style.background = `var(${colourOf(node)})`;
    cell.style.top = `${(node.depth - state.focus.depth) * ROW}px`;
    cell.style.left = `${left * 100}%`;
    cell.style.width = `${width * 100}%`;
  }

  function amount(node) {
    const { text, unit } = measure();
    const total = trees[state.arrange].root.sum[state.measure];
    return `${text(node.sum[state.measure])}${unit ? ` ${unit}` : ''}, ${share(node.sum[state.measure], total)} of all`;
  }

  function facts(node) {
    const found = [amount(node)];
    if (node.isModule) {
      found.push(`self ${measure().text(node.own[state.measure] ?? null)} (${count(node.own.opens)} open, ${count(node.own.stats)} stat, ${count(node.own.not_found)} not found)`);
      if (node.recorded !== null && node.recorded !== undefined) found.push(`${count(node.recorded)} calls recorded, cumulative`);
      if (node.imports > 1) found.push(`imported ${count(node.imports)} times`);
    }
    if (state.arrange === 'importer' && node.parent) found.push(node.parent.parent ? `imported by ${node.parent.name}` : 'imported by the program');
    return found;
  }

  function describe(node) {
    byId('icicle-detail').replaceChildren(element('b', {}, node.name), element('br'), element('span', {}, facts(node).join(' · ')));
  }

  function mark(node) {
    if (state.current) cells.get(state.current.id)?.classList.remove('current');
    state.current = node;
    const cell = cells.get(node.id);
    if (cell && document.activeElement === chart) cell.classList.add('current');
    chart.setAttribute('aria-activedescendant', `cell-${node.id}`);
    describe(node);
  }

  function zoom(node) {
    state.focus = node;
    tip.hide();
    draw();
    writeLink(state);
  }

  // The state that a link names: what it does not know of this page is left as it is.
  function restore() {
    const link = readLink();
    if (!link) return;
    for (const [name, value] of [['arrange', link.arrange], ['measure', link.measure]]) {
      const button = [...byId(`icicle-${name}`).children].find((one) => one.dataset.value === value);
      if (button && !button.disabled && state[name] !== value) button.click();
    }
    const node = trees[state.arrange].order.find((one) => one.name === link.name);
    if (node) zoom(node);
  }

  function drawCrumbs() {
    const crumbs = byId('icicle-crumbs');
    crumbs.textContent = '';
    const chain = [];
    for (let node = state.focus; node; node = node.parent) chain.unshift(node);
    const shown = chain.length > 6 ? [chain[0], null, ...chain.slice(-4)] : chain;
    for (const node of shown) {
      if (crumbs.childNodes.length) crumbs.append(element('span', { 'aria-hidden': 'true' }, '›'));
      if (!node) crumbs.append('…');
      else if (node === state.focus) crumbs.append(element('b', { 'aria-current': 'true' }, node.name));
      else {
        const button = element('button', { type: 'button' }, node.name);
        button.addEventListener('click', () => { zoom(node); chart.focus(); });
        crumbs.append(button);
      }
    }
  }

  // Highlight what matches; the sum counts each module itself once, so nested matches are not counted twice.
  function search(query) {
    state.query = query.trim().toLowerCase();
    const found = byId('icicle-found');
    if (!state.query) found.textContent = '';
    else {
      const hits = trees[state.arrange].order.filter(matches);
      const sum = hits.reduce((total, node) => total + (node.own[state.measure] || 0), 0);
      found.textContent = hits.length ? `${count(hits.length)} found, self ${measure().text(sum)} ${measure().unit}` : 'none found';
    }
    dim();
  }

  function matches(node) {
    return node.isModule && node.name.toLowerCase().includes(state.query);
  }

  function dim() {
    for (const [id, cell] of cells) {
      const hit = Boolean(state.query) && matches(trees[state.arrange].order[id]);
      cell.classList.toggle('hit', hit);
      cell.classList.toggle('dim', Boolean(state.query) && !hit);
    }
  }

  function step(key) {
    const node = state.current || state.focus;
    const row = node.parent && node !== state.focus ? node.parent.children.filter(isDrawn) : [node];
    const at = row.indexOf(node);
    if (key === 'ArrowRight') return row[at + 1] || node;
    if (key === 'ArrowLeft') return row[at - 1] || node;
    if (key === 'ArrowDown') return node.children.find(isDrawn) || node;
    if (key === 'ArrowUp') return node === state.focus ? node : node.parent;
    return null;
  }

  chart.addEventListener('keydown', (event) => {
    const next = step(event.key);
    if (next) mark(next);
    else if (event.key === 'Enter' || event.key === ' ') zoom(state.current);
    else if (event.key === 'Escape' || event.key === 'Backspace') {
      const left = state.focus;
      zoom(state.focus.parent || state.focus);
      mark(left);
    } else if (event.key === 'Home') zoom(trees[state.arrange].root);
    else return;
    event.preventDefault();
  });
  chart.addEventListener('focus', () => mark(state.current || state.focus));
  chart.addEventListener('blur', () => { if (state.current) cells.get(state.current.id)?.classList.remove('current'); });

  const box = byId('icicle-search');
  box.addEventListener('input', () => search(box.value));
  box.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && state.query) {
      const hits = trees[state.arrange].order.filter(matches).sort((a, b) => b.sum[state.measure] - a.sum[state.measure]);
      if (!hits.length) return;
      zoom(hits[(hits.indexOf(state.focus) + 1) % hits.length]);
      mark(state.focus);
    } else if (event.key === 'Escape') {
      box.value = '';
      search('');
      chart.focus();
    }
  });

  drawLegend(trees.importer, data.colours);
  makeExport(() => ({
    title: `${byId('title').textContent} · ${state.focus.name}, ${measure().label.toLowerCase()}`,
    name: state.focus.name,
    width: chart.clientWidth,
    height: chart.clientHeight,
    bars: [...cells.values()].map((cell) => ({
      x: cell.offsetLeft, y: cell.offsetTop, width: cell.offsetWidth, label: cell.textContent, number: cell.dataset.number,
      title: cell.getAttribute('aria-label'), colour: getComputedStyle(cell).backgroundColor,
    })),
  }));
  byId('icicle-table').addEventListener('toggle', function fill() {
    if (!this.querySelector('table')) this.append(treeTable(trees.importer));
  });
  place(trees.importer, 'calls');
  draw();
  restore();
  window.addEventListener('hashchange', restore);
  onResize(chart, draw);
}

// The packages that make most calls themselves; two that do not touch may share a colour.
function drawLegend(tree, slots) {
  const sums = new Map([['standard library', 0], ['other', 0]]);
  const shown = { 0: 'other', 1: 'standard library' };
  for (const node of tree.order.slice(1)) {
    const name = shown[slots[topName(node)]] || topName(node);
    sums.set(name, (sums.get(name) || 0) + (node.own.calls || 0));
  }
  const names = [...sums.keys()].filter((name) => sums.get(name) > tree.root.sum.calls / 200).sort((a, b) => sums.get(b) - sums.get(a)).slice(0, 12);
  for (const name of names) {
    const swatch = element('span', { class: 'swatch', 'aria-hidden': 'true' });
    swatch.style.background = `var(--p${{ other: 0, 'standard library': 1 }[name] ?? slots[name]})`;
    byId('icicle-legend').append(element('span', {}, swatch, name));
  }
}

function treeTable(tree) {
  const shown = [];
  const ahead = [...tree.root.children].reverse();
  while (ahead.length && shown.length < 2000) {
    const node = ahead.pop();
    shown.push(node);
    ahead.push(...[...node.children].reverse());
  }
  const rows = shown.map((node) => {
    const name = element('th', { scope: 'row', class: 'name' }, ...breakable(node.name));
    name.style.paddingLeft = `${(node.depth - 1) * 14}px`;
    return element('tr', {}, element('td', { class: 'num' }, count(node.depth)), name,
      element('td', { class: 'num' }, count(node.sum.calls)), element('td', { class: 'num' }, count(node.own.calls)), element('td', { class: 'num' }, count(node.own.not_found)));
  });
  const head = element('tr', {}, ...['level', 'module', 'calls, cumulative', 'self', 'not found'].map((label) => element('th', { scope: 'col', class: label === 'module' ? '' : 'num' }, label)));
  const scroll = element('div', { class: 'scroll', tabindex: '0', 'aria-label': 'Import tree as a table' }, element('table', {}, element('thead', {}, head), element('tbody', {}, ...rows)));
  if (ahead.length) scroll.append(element('p', { class: 'small' }, `The first ${count(shown.length)} modules; the rest is in the table of modules.`));
  return scroll;
}
