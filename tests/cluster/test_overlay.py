"""The overlay gives its keys in order, although it keeps them as they come."""

from hypothesis import given
from hypothesis import strategies as st
from sortedcontainers import SortedDict

from cluster.overlay import Overlay
from cluster.store import Stored

_KEYS = st.text(alphabet="ab/", min_size=1, max_size=4)


@given(st.lists(st.tuples(_KEYS, st.booleans(), _KEYS)))
def test_order_at_any_moment(steps: list[tuple[str, bool, str]]) -> None:
    """Asked between writes, from any position on, it answers as a dictionary that is always sorted does."""
    overlay, model = Overlay(), SortedDict()
    for index, (key, is_put, position) in enumerate(steps):
        stored = Stored(key.encode(), index) if is_put else None
        overlay.set(key, stored)
        model[key] = stored
        assert overlay.first_at(position) == next(model.irange(minimum=position), None)
        assert list(overlay.items_from(position)) == [(name, model[name]) for name in model.irange(minimum=position)]
    assert list(overlay.sorted_items()) == list(model.items())
