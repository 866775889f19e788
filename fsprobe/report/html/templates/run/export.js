// What leaves the icicle: a tooltip at the cursor, a link to what is seen, and pictures of it.
function makeTip(chart) {
  const tip = element('div', { class: 'tip', 'aria-hidden': 'true' });
  tip.hidden = true;
  document.body.append(tip);
  const hide = () => { tip.hidden = true; };
  const show = (event, title, lines) => {
    tip.replaceChildren(element('b', {}, title), ...lines.map((line) => element('span', {}, line)));
    tip.hidden = false;
    const { offsetWidth, offsetHeight } = tip;
    const below = event.clientY + 20 + offsetHeight < window.innerHeight;
    tip.style.left = `${Math.max(8, Math.min(event.clientX + 14, document.documentElement.clientWidth - offsetWidth - 8))}px`;
    tip.style.top = `${below ? event.clientY + 20 : Math.max(8, event.clientY - offsetHeight - 12)}px`;
  };
  chart.addEventListener('mouseleave', hide);
  window.addEventListener('scroll', hide, { passive: true });
  return { show, hide };
}

// #imports/MEASURE/ARRANGEMENT/MODULE: the address of the page as it is seen.
function writeLink(state) {
  const parts = [state.measure, state.arrange, state.focus.name].map(encodeURIComponent);
  const plain = parts.join('/') === 'calls/importer/total';
  if (plain && !location.hash.startsWith('#imports/')) return;
  try { history.replaceState(null, '', `#imports/${parts.join('/')}`); } catch { /* a page in a frame may not */ }
}

function readLink() {
  if (!location.hash.startsWith('#imports/')) return null;
  try {
    const [measure, arrange, ...name] = location.hash.slice('#imports/'.length).split('/').map(decodeURIComponent);
    byId('imports').scrollIntoView({ behavior: 'instant' });
    return { measure, arrange, name: name.join('/') };
  } catch { /* not written by us */
    return null;
  }
}

function makeExport(seen) {
  byId('icicle-link').addEventListener('click', async (event) => {
    const button = event.currentTarget;
    const said = button.textContent;
    button.textContent = (await copyText(location.href)) ? 'Copied' : 'Copy the address above';
    setTimeout(() => { button.textContent = said; }, 1600);
  });
  byId('icicle-svg').addEventListener('click', () => {
    const picture = svgOf(seen());
    picture.setAttribute('xmlns', 'http://www.w3.org/2000/svg');
    save(new Blob([new XMLSerializer().serializeToString(picture)], { type: 'image/svg+xml' }), `${fileName(seen().name)}.svg`);
  });
  byId('icicle-png').addEventListener('click', () => {
    const view = seen();
    canvasOf(view).toBlob((blob) => save(blob, `${fileName(view.name)}.png`));
  });
}

const HEAD = 30;
const fileName = (name) => `fsprobe-imports-${name.replace(/[^\w.-]+/g, '_').slice(0, 60)}`;
const paint = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function save(blob, name) {
  const link = element('a', { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function svgOf({ title, width, height, bars }) {
  const size = { width, height: height + HEAD, viewBox: `0 0 ${width} ${height + HEAD}` };
  const svg = drawing('svg', { ...size, 'font-family': 'system-ui, "Noto Sans", Arial, sans-serif', 'font-size': 12.5 },
    drawing('rect', { width, height: height + HEAD, fill: paint('--paper') }), drawing('text', { x: 7, y: 19, fill: paint('--ink') }, title));
  for (const bar of bars) {
    svg.append(drawing('g', { transform: `translate(${bar.x} ${bar.y + HEAD})` }, drawing('title', {}, bar.title),
      drawing('rect', { width: Math.max(bar.width - 1, 0.5), height: ROW - 2, fill: bar.colour }),
      drawing('text', { x: 7, y: 17, fill: paint('--on-p') }, [bar.label, bar.number].filter(Boolean).join('  '))));
  }
  return svg;
}

function canvasOf({ title, width, height, bars }) {
  const scale = 2;
  const canvas = element('canvas', { width: width * scale, height: (height + HEAD) * scale });
  const brush = canvas.getContext('2d');
  const put = (text, x, y, colour) => { brush.fillStyle = colour; brush.fillText(text, x, y); };
  brush.scale(scale, scale);
  brush.font = FONT;
  brush.fillStyle = paint('--paper');
  brush.fillRect(0, 0, width, height + HEAD);
  put(title, 7, 19, paint('--ink'));
  for (const bar of bars) {
    brush.fillStyle = bar.colour;
    brush.fillRect(bar.x, bar.y + HEAD, Math.max(bar.width - 1, 0.5), ROW - 2);
    put([bar.label, bar.number].filter(Boolean).join('  '), bar.x + 7, bar.y + HEAD + 17, paint('--on-p'));
  }
  return canvas;
}
