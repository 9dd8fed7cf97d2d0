"""docs/api.md and the route tables say the same."""

from docs.make_api import PAGE, page


def test_the_page_is_what_the_tables_make() -> None:
    """Every route is on the page and every line of the page is a route: `make docs` was run after the last change."""
    assert PAGE.read_text() == page()
