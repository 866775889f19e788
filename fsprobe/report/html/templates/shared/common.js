// What every part of the page uses: the data, numbers as text, elements. No text from the data is ever parsed as markup.
const DATA = JSON.parse(document.getElementById('data').textContent);
const NOT_OBSERVED = 'not observed';

const byId = (id) => document.getElementById(id);

function count(n) {
  return n === null || n === undefined ? NOT_OBSERVED : Math.round(n).toLocaleString('en-US');
}

function seconds(value) {
  if (value === null || value === undefined) return NOT_OBSERVED;
  const three = (x) => Number(x.toPrecision(3));
  if (value >= 100) return `${count(value)} s`;
  const rounded = three(value); // before a unit is chosen: 999.6 ms are 1 s
  if (rounded >= 1) return `${rounded} s`;
  if (rounded >= 0.001) return `${three(rounded * 1e3)} ms`;
  return `${three(rounded * 1e6)} us`;
}

function share(part, total) {
  if (!total) return '-';
  const percent = (100 * part) / total;
  return percent > 0 && percent < 1 ? '<1%' : `${Math.round(percent)}%`;
}

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === 'class') made.className = value;
    else if (value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

// A long name may go on in the next line after a slash or a dot, and only a part that is too long by itself in its middle.
function breakable(text) {
  return text.split(/(?<=[/.])(?=[^/.])/).flatMap((part, i) => (i ? [element('wbr'), part] : [part]));
}

function drawing(name, attributes = {}, ...children) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// A group of buttons of which one is chosen: arrow keys move the choice, Tab leaves the group.
function makeSwitch(group, options, chosen, onChoose) {
  const buttons = options.map(({ value, label, disabled, title }) => {
    const button = element('button', { type: 'button', role: 'radio', title }, label);
    button.dataset.value = value;
    button.disabled = Boolean(disabled);
    button.addEventListener('click', () => choose(value, true));
    return button;
  });
  function choose(value, tell) {
    for (const button of buttons) {
      const on = button.dataset.value === value;
      button.setAttribute('aria-checked', String(on));
      button.tabIndex = on ? 0 : -1;
    }
    if (tell) onChoose(value);
  }
  group.addEventListener('keydown', (event) => moveAmong(event, buttons.filter((button) => !button.disabled), (button) => button.click()));
  group.append(...buttons);
  choose(chosen, false);
}

function moveAmong(event, buttons, then) {
  const at = buttons.indexOf(document.activeElement);
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  let to = step === undefined ? -1 : (at + step + buttons.length) % buttons.length;
  if (event.key === 'Home') to = 0;
  if (event.key === 'End') to = buttons.length - 1;
  if (at < 0 || to < 0) return;
  event.preventDefault();
  buttons[to].focus();
  then(buttons[to]);
}

function onResize(target, draw) {
  let width = 0;
  new ResizeObserver(() => {
    if (target.clientWidth !== width) {
      width = target.clientWidth;
      draw();
    }
  }).observe(target);
}
