// A job's charts: calls of all ranks over its time, and each rank as a bar. Both are moved through by arrow keys.
const rate = (value) => `${count(value)}/s`;
const RANK_TEXT = { seconds, count, rate };
const CHART = { left: 64, right: 4, top: 14, bottom: 28 };

function makeJob() {
  if (!DATA.job) return;
  makeRate(DATA.job.timeline);
  makeEach(DATA.job.ranks);
}

// A chart that is a slider: `draw` makes what stands still, `show` says what is under the cursor.
function makeSlider(host, label, height, chart) {
  const svg = drawing('svg', { role: 'slider', tabindex: 0, 'aria-label': label, 'aria-valuemin': 0 });
  const cursor = drawing('rect', { class: 'cursor strong' });
  let at = 0;
  let slot = 1;
  host.append(svg);

  function draw() {
    const width = host.clientWidth;
    const inner = width - CHART.left - CHART.right;
    const tall = height - CHART.top - CHART.bottom;
    const n = chart.n();
    slot = inner / n;
    svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
    svg.setAttribute('height', height);
    svg.setAttribute('aria-valuemax', n - 1);
    svg.textContent = '';
    const most = chart.most() || 1;
    for (const value of niceTicks(most, 4)) {
      const y = CHART.top + tall * (1 - value / most);
      svg.append(drawing('line', { class: value ? 'grid' : 'axis-line', x1: CHART.left, x2: width - CHART.right, y1: y, y2: y }),
        drawing('text', { x: CHART.left - 9, y: y + 4, 'text-anchor': 'end' }, value ? chart.text(value) : '0'));
    }
    chart.draw(svg, { width, inner, tall, slot, height, y: (value) => CHART.top + tall * (1 - value / most) });
    cursor.setAttribute('y', CHART.top);
    cursor.setAttribute('height', tall);
    svg.append(cursor);
    show(Math.min(at, n - 1));
  }

  function show(to) {
    at = Math.max(0, Math.min(chart.n() - 1, to));
    cursor.setAttribute('x', CHART.left + at * slot);
    cursor.setAttribute('width', Math.max(slot, 2));
    const [title, more] = chart.say(at);
    svg.setAttribute('aria-valuenow', at);
    svg.setAttribute('aria-valuetext', more ? `${title}, ${more}` : title);
    const line = byId(`${host.id}-detail`);
    line.textContent = '';
    line.append(element('b', {}, title), element('br'), element('span', {}, more));
  }

  svg.addEventListener('mousemove', (event) => show(Math.floor((event.clientX - svg.getBoundingClientRect().left - CHART.left) / slot)));
  svg.addEventListener('keydown', (event) => {
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, PageUp: at - 10, PageDown: at + 10, Home: 0, End: chart.n() - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    show(to);
  });
  onResize(host, draw);
  return { draw, move: (to) => { at = to; draw(); } };
}

function makeRate(data) {
  const host = byId('job-rate');
  if (!data) {
    byId('job-rate-lead').textContent = 'Not observed: the logs have no times.';
    return;
  }
  const perSecond = data.all.map((n) => n / data.slot_s);
  const shortly = (value) => String(Number(value.toFixed(1)));
  const slider = makeSlider(host, 'Time in the job. Arrow keys move.', 200, {
    n: () => perSecond.length,
    most: () => Math.max(...perSecond),
    text: count,
    draw(svg, { inner, slot, height, tall, y, width }) {
      const gap = slot > 4 ? Math.min(slot * 0.15, 2) : 0;
      perSecond.forEach((value, i) => {
        if (!value) return;
        svg.append(drawing('rect', { class: 'area', x: CHART.left + i * slot + gap / 2, width: Math.max(slot - gap, 0.5), y: y(value), height: CHART.top + tall - y(value) }));
      });
      const duration = perSecond.length * data.slot_s;
      for (const value of niceTicks(duration, Math.max(4, Math.floor(width / 130)))) {
        svg.append(drawing('text', { x: CHART.left + (inner * value) / duration, y: height - 6, 'text-anchor': value ? 'middle' : 'start' }, value ? `${Number(value.toPrecision(4))} s` : '0'));
      }
    },
    say(i) {
      const nodes = data.nodes.map((name, at) => [name, data.by_node[at] ? data.by_node[at][i] : 0]).filter(([, n]) => n).sort((a, b) => b[1] - a[1]);
      const named = nodes.slice(0, 5).map(([name, n]) => `${name} ${rate(n / data.slot_s)}`);
      if (nodes.length > 5) named.push(`${count(nodes.length - 5)} more nodes`);
      return [`${shortly(i * data.slot_s)} s to ${shortly((i + 1) * data.slot_s)} s: ${perSecond[i] ? `${rate(perSecond[i])}` : 'no calls'}`, named.join(' · ')];
    },
  });
  slider.move(perSecond.indexOf(Math.max(...perSecond)));
}

// Ranks in their order or by value. Where there are more than pixels, neighbours share a bar: the largest of them is drawn.
function makeEach(data) {
  const host = byId('job-each');
  const state = { measure: data.measures[0], sorted: false, groups: [] };
  if (!state.measure) return;
  const rankOf = new Map(data.names.map((name, i) => [name, i]));
  const text = (value) => (value === null ? NOT_OBSERVED : RANK_TEXT[state.measure.kind](value));
  let middle = null;
  let far = new Set();
  let nodeNumbers = [];

  function arrange() {
    const { values } = state.measure;
    far = new Set(state.measure.far.map((name) => rankOf.get(name)));
    const order = values.map((_, i) => i);
    if (state.sorted) order.sort((a, b) => (values[a] ?? -1) - (values[b] ?? -1));
    const width = Math.max(1, Math.ceil(order.length / Math.max(60, host.clientWidth - CHART.left - CHART.right)));
    state.groups = [];
    for (let i = 0; i < order.length; i += width) state.groups.push(order.slice(i, i + width));
    const seen = values.filter((value) => value !== null).sort((a, b) => a - b);
    const half = seen.length >> 1;
    middle = seen.length % 2 ? seen[half] : (seen[half - 1] + seen[half]) / 2;
    let number = -1;
    nodeNumbers = data.nodes.map((name, i) => { if (!i || name !== data.nodes[i - 1]) number += 1; return number; });
  }

  const largest = (group) => group.reduce((a, b) => ((state.measure.values[b] ?? -1) > (state.measure.values[a] ?? -1) ? b : a));
  const slider = makeSlider(host, 'Ranks. Arrow keys move.', 220, {
    n: () => state.groups.length,
    most: () => Math.max(...state.measure.values.map((value) => value || 0)),
    text: (value) => text(value),
    draw(svg, { slot, tall, y, height, width }) {
      const gap = slot > 3 ? Math.min(slot * 0.2, 3) : 0;
      state.groups.forEach((group, i) => {
        const shown = group.find((rank) => data.ended[rank]) ?? group.find((rank) => far.has(rank)) ?? largest(group);
        const top = state.measure.values[largest(group)];
        if (top === null) return;
        const kind = data.ended[shown] ? 'bad' : far.has(shown) ? 'far' : !state.sorted && nodeNumbers[shown] % 2 ? 'odd' : '';
        const high = Math.max(CHART.top + tall - y(top), 1);
        svg.append(drawing('rect', { class: `rank ${kind}`, x: CHART.left + i * slot + gap / 2, width: Math.max(slot - gap, 0.6), y: CHART.top + tall - high, height: high }));
      });
      const room = Math.max(1, Math.ceil(46 / slot));
      if (!state.sorted) {
        for (let i = 0; i < state.groups.length; i += room) {
          const [rank] = state.groups[i];
          svg.append(drawing('text', { x: CHART.left + (i + 0.5) * slot, y: height - 6, 'text-anchor': 'middle' }, data.names[rank].replace(/^rank /, '').slice(0, 8)));
        }
      } else {
        svg.append(drawing('text', { x: CHART.left, y: height - 6 }, 'least'), drawing('text', { x: width - CHART.right, y: height - 6, 'text-anchor': 'end' }, 'most'));
      }
      if (middle !== null) {
        svg.append(drawing('line', { class: 'middle', x1: CHART.left, x2: width - CHART.right, y1: y(middle), y2: y(middle) }),
          drawing('text', { class: 'middle-label', x: width - CHART.right - 4, y: Math.max(y(middle) - 6, 11), 'text-anchor': 'end' }, `median ${text(middle)}`));
      }
    },
    say(i) {
      const group = state.groups[i];
      const rank = largest(group);
      const value = state.measure.values[rank];
      const parts = [`median ${text(middle)}`];
      if (value !== null && middle) parts.unshift(`${Math.round((100 * value) / middle)}% of the median`);
      if (far.has(rank)) parts.push('outlier');
      if (data.ended[rank]) parts.push(data.ended[rank]);
      if (group.length > 1) parts.push(`the largest of ${count(group.length)} neighbours, ${data.names[group[0]]} to ${data.names[group[group.length - 1]]}`);
      return [`${data.names[rank]} on ${data.nodes[rank]}: ${text(value)}`, parts.join(' · ')];
    },
  });

  function restart() {
    arrange();
    const { values } = state.measure;
    const top = values.indexOf(Math.max(...values.map((value) => value ?? -1)));
    slider.move(Math.max(0, state.groups.findIndex((group) => group.includes(top))));
    const legend = [];
    const key = (kind, words) => legend.push(element('span', {}, element('i', { class: `swatch rank-${kind}` }), words));
    if (!state.sorted && nodeNumbers[nodeNumbers.length - 1]) key('node', 'ranks; the shade changes with the node');
    else key('plain', 'ranks');
    if (far.size) key('far', 'outlier');
    if (data.ended.some((word) => word)) key('bad', 'killed, failed or not complete');
    byId('job-each-legend').replaceChildren(...legend);
  }

  makeSwitch(byId('job-measure'), data.measures.map((entry) => ({ value: entry.key, label: entry.label })), state.measure.key, (value) => {
    state.measure = data.measures.find((entry) => entry.key === value);
    restart();
  });
  makeSwitch(byId('job-order'), [{ value: 'rank', label: 'By rank' }, { value: 'value', label: 'Least to most' }], 'rank', (value) => {
    state.sorted = value === 'value';
    restart();
  });
  restart();
  // other widths may need other groups
  onResize(host, restart);
}
