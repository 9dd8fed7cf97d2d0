"""Who hears of which changed keys."""

from collections.abc import Collection

from cluster.watchers import Watchers


def test_each_hears_of_its_own_keys() -> None:
    """One without prefixes hears of all keys, one with them only of its own; without keys everybody is called."""
    watchers, heard = Watchers(), list[tuple[str, list[str]]]()

    def listen(name: str, *below: str) -> None:
        def tell(keys: Collection[str]) -> None:
            heard.append((name, list(keys)))

        stops.append(watchers.add(tell, below))

    stops: list[object] = []
    listen("all")
    listen("sys", "sys/", "core/a")
    listen("core", "core/a")
    watchers.tell(["logical/x"])
    assert heard == [("all", ["logical/x"])]
    heard.clear()
    watchers.tell(["logical/x", "core/a", "sys/b"])
    assert heard == [("all", ["logical/x", "core/a", "sys/b"]), ("sys", ["core/a", "sys/b"]), ("core", ["core/a"])]
    heard.clear()
    watchers.tell(())
    assert heard == [("all", []), ("sys", []), ("core", [])]


def test_a_watcher_may_stop_within_its_call() -> None:
    """Who stops hears nothing more; the others are told all the same."""
    watchers, heard = Watchers(), list[str]()

    def once(keys: Collection[str]) -> None:
        heard.append("once")
        stop()

    stop = watchers.add(once)
    watchers.add(lambda keys: heard.append("always"))
    watchers.tell(["a"])
    watchers.tell(["a"])
    assert heard == ["once", "always", "always"]
    assert len(watchers) == 1
