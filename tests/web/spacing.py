"""Text spacing (WCAG 2.2, 1.4.12): somebody reads with wide lines, letters and words, and loses nothing of a page."""

from playwright.async_api import Page

CROWDED = """() => {
  const wide = new CSSStyleSheet();
  wide.replaceSync(`
    * { line-height: 1.5 !important; letter-spacing: 0.12em !important; word-spacing: 0.16em !important; }
    p { margin-bottom: 2em !important; }`);
  const closed = [...document.querySelectorAll('details:not([open])')];
  document.adoptedStyleSheets.push(wide);
  closed.forEach((one) => { one.open = true; });
  const found = [], texts = [];
  const named = (one) => `${one.tagName.toLowerCase()} ${one.textContent.trim().slice(0, 40)}`;
  const hidden = (one) => one.closest('.ds-sr-only, .ds-skip-link, [hidden]') !== null;
  if (document.documentElement.scrollWidth > innerWidth) found.push('the page runs off');
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node !== null; node = walker.nextNode()) {
    const around = node.parentElement;
    if (node.data.trim() === '' || hidden(around) || !around.checkVisibility()) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const box of range.getClientRects()) if (box.width > 1) texts.push([around, box]);
  }
  for (const [around, box] of texts) {
    if (box.right > innerWidth + 1 || box.left < -1) found.push(`runs off: ${named(around)}`);
    for (let one = around; one !== document.body; one = one.parentElement) {
      const style = getComputedStyle(one), frame = one.getBoundingClientRect();
      if (style.display === 'inline' || style.display === 'contents') continue;
      const cut = style.overflow !== 'visible' || one === around || style.display === 'inline-flex';
      const out = box.bottom > frame.bottom + 3 || box.top < frame.top - 3 || box.right > frame.right + 3;
      if (cut && out) found.push(`cut off: ${named(around)}`);
    }
  }
  texts.forEach(([one, a], at) => texts.slice(at + 1).forEach(([other, b]) => {
    const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    if (across > 3 && down > 3) found.push(`over one another: ${named(one)} | ${named(other)}`);
  }));
  closed.forEach((one) => { one.open = false; });
  document.adoptedStyleSheets.pop();
  return [...new Set(found)];
}"""
"""What is cut off, off the screen or over one another once text is set as 1.4.12 says; then the page is as it was."""


async def crowded(page: Page) -> list[str]:
    """What is lost of the page; nothing, where it is as it should be."""
    found: list[str] = await page.evaluate(CROWDED)
    return found
