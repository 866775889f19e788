// The page itself: colours, copy buttons, the `/` key, where one is; then the parts that this page has.
const THEMES = ['auto', 'light', 'dark'];

function makeThemeButton() {
  const button = byId('theme');
  let theme = 'auto';
  try { theme = localStorage.getItem('fsprobe-theme') || 'auto'; } catch { /* a page from disk may have no storage */ }
  const set = (name) => {
    theme = THEMES.includes(name) ? name : 'auto';
    if (theme === 'auto') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    button.textContent = `Theme: ${theme}`;
    button.setAttribute('aria-label', `${button.textContent}, colours ${theme === 'auto' ? 'as the system' : 'of this page'}`);
  };
  button.addEventListener('click', () => {
    set(THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length]);
    try { localStorage.setItem('fsprobe-theme', theme); } catch { /* as above */ }
  });
  set(theme);
}

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = element('textarea', { 'aria-hidden': 'true' });
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand('copy');
    area.remove();
    return done;
  }
}

function makeCopyButtons() {
  for (const button of document.querySelectorAll('.copy')) {
    button.addEventListener('click', async () => {
      button.textContent = (await copyText(button.previousElementSibling.textContent)) ? 'Copied' : 'Select and copy';
      button.focus();
      setTimeout(() => { button.textContent = 'Copy'; }, 1600);
    });
  }
}

function makeKeys() {
  document.addEventListener('keydown', (event) => {
    const typing = event.target.matches('input, textarea, select');
    if (event.key !== '/' || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const box = byId('icicle-search') || document.querySelector('.panel.active input');
    if (!box) return;
    event.preventDefault();
    box.focus();
    box.select();
  });
}

function followSections() {
  const links = new Map([...document.querySelectorAll('.bar nav a')].map((link) => [link.hash.slice(1), link]));
  const watch = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      for (const [id, link] of links) link.classList.toggle('here', id === entry.target.id);
    }
  }, { rootMargin: '-15% 0px -75% 0px' });
  for (const id of links.keys()) if (byId(id)) watch.observe(byId(id));
}

// What can be scrolled by hand can be scrolled by keyboard; what fits is no stop for Tab.
function makeScrollable() {
  const watch = new ResizeObserver((entries) => {
    for (const place of new Set(entries.map(({ target }) => target.closest('.scroll')))) {
      if (place.scrollWidth > place.clientWidth) {
        const title = place.querySelector('caption')?.textContent || place.closest('section').querySelector('h2, h3').textContent;
        for (const [name, value] of [['tabindex', '0'], ['role', 'group'], ['aria-label', `${title}, scrolls sideways`]]) place.setAttribute(name, value);
      } else for (const name of ['tabindex', 'role', 'aria-label']) place.removeAttribute(name);
    }
  });
  for (const place of document.querySelectorAll('.scroll')) {
    watch.observe(place);
    watch.observe(place.firstElementChild);
  }
}

makeThemeButton();
makeCopyButtons();
makeKeys();
followSections();
if (DATA.tables) {
  makeIcicle();
  makeTimeline();
  makeTables();
  makeJob();
}
makeScrollable();
