// The icicle: modules as nested bars. A node is {id, name, parent, children, own: {...}, sum: {...}, depth, x0, x1}.
const ROW = 26;
const LABEL = 44;
const WITH_NUMBER = 190;
const MEASURES = [
  { value: 'calls', label: 'Calls', unit: 'calls', text: count },
  { value: 'requests', label: 'Server requests', unit: 'requests', text: count },
  { value: 'time', label: 'Time', unit: '', text: seconds },
  { value: 'not_found', label: 'Not found', unit: 'failed lookups', text: count },
];

function makeNode(name, parent) {
  return { name, parent, children: [], own: {}, sum: {}, depth: parent ? parent.depth + 1 : 0, recorded: null, imports: null, isModule: false };
}

function importerTree(data) {
  const root = makeNode('total', null);
  const nodes = [];
  data.names.forEach((name, i) => {
    const node = makeNode(name, data.parents[i] < 0 ? root : nodes[data.parents[i]]);
    readOwn(node, data, i);
    node.parent.children.push(node);
    nodes.push(node);
  });
  return finish(root, data);
}

// Modules under the packages that their dotted names say; what a package's own module does is in the package's bar.
function nameTree(data) {
  const root = makeNode('total', null);
  const known = new Map();
  const at = (name) => {
    if (known.has(name)) return known.get(name);
    const dot = name.startsWith('(') ? -1 : name.lastIndexOf('.');
    const node = makeNode(name, dot > 0 ? at(name.slice(0, dot)) : root);
    node.parent.children.push(node);
    known.set(name, node);
    return node;
  };
  data.names.forEach((name, i) => {
    const node = name.endsWith('smaller imports)') ? makeNode(name, root) : at(name);
    if (!known.has(name)) root.children.push(node);
    readOwn(node, data, i);
  });
  return finish(root, data);
}

function readOwn(node, data, i) {
  node.isModule = true;
  node.recorded = data.recorded[i];
  node.imports = data.imports[i];
  for (const name of ['calls', 'not_found', 'opens', 'stats', 'time', 'requests']) {
    if (data[name]) node.own[name] = (node.own[name] || 0) + (data[name][i] || 0);
  }
}

// Sums from the leaves up. Without recursion: trees are as deep as import chains are long.
function finish(root, data) {
  const order = [root];
  for (let i = 0; i < order.length; i++) order.push(...order[i].children);
  for (const node of order) for (const name of ['calls', 'not_found', 'opens', 'stats', 'time', 'requests']) node.sum[name] = data[name] ? node.own[name] || 0 : null;
  for (const node of order.slice(1).reverse()) {
    for (const name of Object.keys(node.sum)) if (node.sum[name] !== null) node.parent.sum[name] += node.sum[name];
  }
  order.forEach((node, i) => { node.id = i; });
  return { root, order };
}

function place(tree, measure) {
  tree.root.x0 = 0;
  tree.root.x1 = 1;
  const total = tree.root.sum[measure] || 1;
  for (const node of tree.order) {
    node.children.sort((a, b) => b.sum[measure] - a.sum[measure] || (a.name < b.name ? -1 : 1));
    let x = node.x0;
    for (const child of node.children) {
      child.x0 = x;
      x += child.sum[measure] / total;
      child.x1 = x;
    }
  }
}

function topName(node) {
  return node.name.startsWith('(') ? node.name : node.name.split('.', 1)[0];
}

// What a narrow bar says: the name without the packages that it shares with the bar above.
function shortName(node) {
  const parts = node.name.split('.');
  const above = node.parent ? node.parent.name.split('.') : [];
  let same = 0;
  while (same < parts.length - 1 && parts[same] === above[same]) same += 1;
  return same ? `.${parts.slice(same).join('.')}` : node.name;
}

function makeIcicle() {
  const data = DATA.icicle;
  const chart = byId('icicle');
  if (!data || !chart) return;
  const trees = { importer: importerTree(data), name: nameTree(data) };
  const state = { arrange: 'importer', measure: 'calls', focus: trees.importer.root, current: null, query: '' };
  const cells = new Map();
  let room = 0;
  const colours = pickColours(trees.importer);
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
      cell.addEventListener('mouseenter', () => describe(node));
      cell.addEventListener('mouseleave', () => describe(state.current));
      chart.append(cell);
      cells.set(node.id, cell);
    }
    const pixels = width * room;
    cell.className = `cell${pixels < LABEL ? ' slim' : ''}${pixels > WITH_NUMBER ? ' number' : ''}`;
    cell.textContent = pixels < LABEL ? '' : node === state.focus || pixels > WITH_NUMBER ? node.name : shortName(node);
    cell.dataset.number = pixels > WITH_NUMBER ? measure().text(node.sum[state.measure]) : '';
    cell.setAttribute('aria-level', node.depth - state.focus.depth + 1);
    cell.setAttribute('aria-label', `${node.name}, ${amount(node)}`);
    cell.style.background = node.parent ? `var(--${colours.get(topName(node)) || 'c0'})` : 'var(--c0)';
    cell.style.top = `${(node.depth - state.focus.depth) * ROW}px`;
    cell.style.left = `${left * 100}%`;
    cell.style.width = `${width * 100}%`;
  }

  function amount(node) {
    const { text, unit } = measure();
    const total = trees[state.arrange].root.sum[state.measure];
    return `${text(node.sum[state.measure])}${unit ? ` ${unit}` : ''}, ${share(node.sum[state.measure], total)} of all`;
  }

  function describe(node) {
    const line = byId('icicle-detail');
    line.textContent = '';
    if (!node) return;
    const importer = state.arrange === 'importer' && node.parent ? (node.parent.parent ? `imported by ${node.parent.name}` : 'imported by the program') : '';
    const facts = [amount(node)];
    if (node.isModule) {
      facts.push(`self ${measure().text(node.own[state.measure] ?? null)} (${count(node.own.opens)} open, ${count(node.own.stats)} stat, ${count(node.own.not_found)} not found)`);
      if (node.recorded !== null && node.recorded !== undefined) facts.push(`${count(node.recorded)} calls recorded, cumulative`);
      if (node.imports > 1) facts.push(`imported ${count(node.imports)} times`);
    }
    if (importer) facts.push(importer);
    line.append(element('b', {}, node.name), element('br'), element('span', {}, facts.join(' · ')));
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
    draw();
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

  drawLegend(colours);
  byId('icicle-table').addEventListener('toggle', function fill() {
    if (!this.querySelector('table')) this.append(treeTable(trees.importer));
  });
  place(trees.importer, 'calls');
  draw();
  onResize(chart, draw);
}

// The seven top-level names that make most calls themselves have a colour each, the rest share one.
function pickColours(tree) {
  const sums = new Map();
  for (const node of tree.order.slice(1)) sums.set(topName(node), (sums.get(topName(node)) || 0) + (node.own.calls || 0));
  const names = [...sums.keys()].filter((name) => !name.startsWith('(')).sort((a, b) => sums.get(b) - sums.get(a));
  return new Map(names.slice(0, 7).map((name, i) => [name, `c${i + 1}`]));
}

function drawLegend(colours) {
  const legend = byId('icicle-legend');
  for (const [name, colour] of [...colours, ['others', 'c0']]) {
    const swatch = element('span', { class: 'swatch', 'aria-hidden': 'true' });
    swatch.style.background = `var(--${colour})`;
    legend.append(element('span', {}, swatch, name));
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
    const name = element('th', { scope: 'row', class: 'name' }, node.name);
    name.style.paddingLeft = `${(node.depth - 1) * 14}px`;
    return element('tr', {}, element('td', { class: 'num' }, count(node.depth)), name,
      element('td', { class: 'num' }, count(node.sum.calls)), element('td', { class: 'num' }, count(node.own.calls)), element('td', { class: 'num' }, count(node.own.not_found)));
  });
  const head = element('tr', {}, ...['level', 'module', 'calls, cumulative', 'self', 'not found'].map((label) => element('th', { scope: 'col', class: label === 'module' ? '' : 'num' }, label)));
  const scroll = element('div', { class: 'scroll', tabindex: '0', 'aria-label': 'Import tree as a table' }, element('table', {}, element('thead', {}, head), element('tbody', {}, ...rows)));
  if (ahead.length) scroll.append(element('p', { class: 'small' }, `The first ${count(shown.length)} modules; the rest is in the table of modules.`));
  return scroll;
}
