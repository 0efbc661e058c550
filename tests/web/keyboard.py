"""Somebody who does not see: the keyboard, and what the browser tells a screen reader about what has the focus."""

from dataclasses import dataclass, field

from playwright.async_api import CDPSession, Page

MOST = 120
"""Presses of Tab before one gives up."""


@dataclass
class Reader:
    """Hears role and name of what has the focus, and knows nothing else of the page."""

    page: Page
    tree: CDPSession
    heard: list[tuple[str, str]] = field(default_factory=list)

    @classmethod
    async def at(cls, page: Page) -> "Reader":
        """Before this window."""
        tree = await page.context.new_cdp_session(page)
        await tree.send("Accessibility.enable")
        return cls(page, tree)

    async def focused(self) -> tuple[str, str]:
        """Role and name of what has the focus now."""
        found = await self.tree.send("Runtime.evaluate", {"expression": "document.activeElement"})
        node = {"objectId": found["result"]["objectId"], "fetchRelatives": False}
        told = (await self.tree.send("Accessibility.getPartialAXTree", node))["nodes"][0]
        return str(told["role"]["value"]), str(told.get("name", {}).get("value", ""))

    async def go(self, role: str, name: str) -> None:
        """Tab to it. Fails with everything that was heard where it does not come."""
        self.heard = []
        for _ in range(MOST):
            await self.page.keyboard.press("Tab")
            self.heard.append(await self.focused())
            if self.heard[-1][0] == role and self.heard[-1][1].startswith(name):
                return
        raise AssertionError(f"no {role} {name!r} among {self.heard}")

    async def follow(self, role: str, name: str) -> None:
        """Tab to it and press Enter; the next page is there when this returns."""
        await self.go(role, name)
        async with self.page.expect_navigation():
            await self.page.keyboard.press("Enter")

    async def type(self, name: str, text: str) -> None:
        """Fill in a field."""
        await self.go("textbox", name)
        await self.page.keyboard.press("Control+A")
        await self.page.keyboard.type(text)

    async def choose(self, name: str) -> None:
        """Choose one of several: Tab to the group, then arrows."""
        await self.go("radio", "")
        for _ in range(MOST):
            role, heard = await self.focused()
            if role == "radio" and heard.startswith(name):
                await self.page.keyboard.press("Space")
                return
            await self.page.keyboard.press("ArrowDown")
        raise AssertionError(f"no choice {name!r}")

    async def headings(self) -> list[str]:
        """The page's headings, as a screen reader lists them."""
        nodes = (await self.tree.send("Accessibility.getFullAXTree"))["nodes"]
        return [
            str(one.get("name", {}).get("value", ""))
            for one in nodes
            if one.get("role", {}).get("value") == "heading" and not one.get("ignored")
        ]
