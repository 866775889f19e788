const LANE = 17;

// The timeline: stacked bars of equal length of time; a bin without calls stays empty, so pauses are seen as pauses.
function makeTimeline() {
  const host = byId('timeline-chart');
  const data = DATA.timeline;
  if (!data) {
    byId('timeline-lead').textContent = 'Not observed: the recording has no times.';
    return;
  }
  if (data.n_bins < 2) {
    byId('timeline-lead').textContent = `The run lasted less than ${data.bin_s} s: there is no course of time to draw.`;
    return;
  }
  const byBin = new Map(data.bins.map(([bin, ...counts]) => [bin, counts]));
  const sums = data.bins.map(([, ...counts]) => counts.reduce((a, b) => a + b, 0));
  const most = Math.max(1, ...sums);
  const width = () => host.clientWidth;
  const lanes = data.modules.length ? 4 : 0;
  const margin = { left: 56, right: 4, top: 10 + lanes * LANE, bottom: 28 };
  const height = 220 + lanes * LANE;
  const begun = new Map();
  for (const [bin, name] of data.modules) begun.set(bin, [...(begun.get(bin) || []), name]);
  let at = data.bins[sums.indexOf(Math.max(...sums))][0];
  byId('timeline-lead').textContent = `Metadata calls in each ${data.bin_s} s of the run, by phase.${lanes ? ' Modules are named where their first call was made, those with most calls first.' : ''}`;

  const svg = drawing('svg', { role: 'slider', tabindex: 0, 'aria-label': 'Time in the run. Arrow keys move.', 'aria-valuemin': 0, 'aria-valuemax': data.n_bins - 1 });
  const cursor = drawing('rect', { class: 'cursor' });
  host.append(svg);
  let slot = 1;

  function draw() {
    const inner = width() - margin.left - margin.right;
    const tall = height - margin.top - margin.bottom;
    slot = inner / data.n_bins;
    svg.setAttribute('viewBox', `0 0 ${width()} ${height}`);
    svg.setAttribute('height', height);
    svg.textContent = '';
    for (const value of niceTicks(most, 4)) {
      const y = margin.top + tall * (1 - value / most);
      svg.append(drawing('line', { class: value ? 'grid' : 'axis-line', x1: margin.left, x2: width() - margin.right, y1: y, y2: y }),
        drawing('text', { x: margin.left - 9, y: y + 4, 'text-anchor': 'end' }, count(value)));
    }
    const duration = data.n_bins * data.bin_s;
    for (const value of niceTicks(duration, Math.max(2, Math.floor(width() / 130)))) {
      svg.append(drawing('text', { x: margin.left + (inner * value) / duration, y: height - 6, 'text-anchor': value ? 'middle' : 'start' }, value ? `${Number(value.toPrecision(4))} s` : '0'));
    }
    const gap = Math.min(slot > 4 ? Math.min(slot * 0.18, 3) : 0, slot / 2);
    for (const [bin, counts] of byBin) {
      let y = margin.top + tall;
      counts.forEach((n, i) => {
        if (!n) return;
        const part = (tall * n) / most;
        y -= part;
        svg.append(drawing('rect', { class: data.phases[i], x: margin.left + bin * slot + gap / 2, y, width: Math.max(slot - gap, 0.5), height: part }));
      });
    }
    if (lanes) drawNames(svg, data.modules, { lanes, left: margin.left, right: width() - margin.right, slot, bottom: margin.top + tall });
    cursor.setAttribute('y', margin.top);
    cursor.setAttribute('height', tall);
    svg.append(cursor);
    show(at);
  }

  function show(bin) {
    at = Math.max(0, Math.min(data.n_bins - 1, bin));
    cursor.setAttribute('x', margin.left + at * slot);
    cursor.setAttribute('width', Math.max(slot, 2));
    const counts = byBin.get(at) || [];
    const total = counts.reduce((a, b) => a + b, 0);
    const parts = data.phases.map((name, i) => [name, counts[i] || 0]).filter(([, n]) => n).map(([name, n]) => `${name} ${count(n)}`);
    const from = Number((at * data.bin_s).toFixed(1));
    const to = Number(((at + 1) * data.bin_s).toFixed(1));
    const text = `${from} s to ${to} s: ${total ? `${count(total)} calls` : 'no calls'}`;
    svg.setAttribute('aria-valuenow', at);
    svg.setAttribute('aria-valuetext', [text, ...parts].join(', '));
    const line = byId('timeline-detail');
    line.textContent = '';
    line.append(element('b', {}, text), element('br'), element('span', {}, parts.join(' · ')));
    const names = begun.get(at) || [];
    if (names.length) line.append(element('br'), element('span', {}, `begun here: ${names.slice(0, 6).join(', ')}${names.length > 6 ? ` and ${count(names.length - 6)} more` : ''}`));
  }

  svg.addEventListener('mousemove', (event) => show(Math.floor((event.clientX - svg.getBoundingClientRect().left - margin.left) / slot)));
  svg.addEventListener('keydown', (event) => {
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, PageUp: at - 10, PageDown: at + 10, Home: 0, End: data.n_bins - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    show(to);
  });
  onResize(host, draw);
  draw();
}

// The name of a module over the moment of its first call, in the first lane that has room for all of it; names of smaller ones are left out.
function drawNames(svg, modules, { lanes, left, right, slot, bottom }) {
  const taken = Array.from({ length: lanes }, () => []);
  for (const [bin, name] of modules) {
    const x = left + bin * slot;
    const wide = textWidth(name) + 10;
    const from = Math.max(left, Math.min(x, right - wide));
    const lane = taken.findIndex((spans) => spans.every(([a, b]) => from + wide <= a || from >= b));
    if (lane < 0 || wide > right - left) continue;
    taken[lane].push([from, from + wide]);
    const y = 12 + lane * LANE;
    svg.append(drawing('line', { class: 'begin', x1: x, x2: x, y1: y + 4, y2: bottom }), drawing('text', { class: 'name', x: from + 3, y }, name));
  }
}

function niceTicks(most, n) {
  const rough = most / n;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough);
  const ticks = [];
  for (let value = 0; value <= most * 1.0001; value += step) ticks.push(Number(value.toPrecision(12)));
  return ticks;
}
