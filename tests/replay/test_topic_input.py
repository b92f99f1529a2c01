"""How a topic is named as a source."""

import pytest

from replay.topic_input import Place, TopicRange, parse_topics


def test_an_address_is_read_as_it_is_written():
    """Brokers, topics, times with any zone, offsets; a plus sign is one."""
    source = parse_topics("kafka://a:1,b:2/pay,refunds?from=2026-01-31T09:00:00+09:00&to=77")
    first, end = Place(time_us=1_769_817_600_000_000), Place(offset=77)
    assert source.bootstrap == "a:1,b:2"
    assert source.ranges == (TopicRange("pay", first, end), TopicRange("refunds", first, end))
    assert parse_topics("kafka:///pay").bootstrap == ""


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("kafka://a:1", "names no topic"),
        ("kafka://a:1/", "names no topic"),
        ("kafka://a:1/x/y", "names no topic"),
        ("kafka://a:1/x?since=3", "'since=3' is not understood"),
        ("kafka://a:1/x?from=3&from=4", "'from=4' is not understood"),
        ("kafka://a:1/x?from=soon", "from=soon is neither an offset nor a time"),
        ("kafka://a:1/x?from=-1", "from=-1 is neither"),
        ("kafka://a:1/x?from=5&to=5", "from is not before to"),
        ("kafka://a:1/x?from=2026-01-02&to=2026-01-01", "from is not before to"),
    ],
)
def test_a_wrong_address_says_what_is_wrong(url, said):
    """The part that is not understood is named."""
    with pytest.raises(ValueError, match=said):
        parse_topics(url)
