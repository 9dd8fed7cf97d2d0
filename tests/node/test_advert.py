"""What standbys say about themselves."""

from node.advert import ECHOES_MAX, Echoes


def test_the_latest_echo_counts_and_removed_peers_are_forgotten() -> None:
    """ha-status shows members only, each as it spoke last, however many there are."""
    echoes = Echoes()
    for number in range(ECHOES_MAX + 5):
        echoes.note(f"n{number}", ["host", "api", "cluster", "1"], 1)
    assert len(echoes.values()) == ECHOES_MAX
    echoes.note("n0", ["host", "api", "cluster", "2"], 2)
    echoes.note("n1", ["host", "api", 7, "2"], 2)
    echoes.keep_only({"n0", "n1"})
    assert [(echo.version, echo.at_ms) for echo in echoes.values()] == [("2", 2), ("1", 1)]
