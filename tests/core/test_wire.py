"""The wire format: what is written is read again, and what is no message is refused."""

import pytest

from deploy_nas.core.wire import as_bytes, field_bytes, fields, spans, varint, varint_bytes


def test_what_is_written_is_read_again():
    message = field_bytes(3, b"abc") + varint_bytes(2 << 3) + varint_bytes(300) + b"\x0d1234"
    assert list(fields(message)) == [(3, b"abc"), (2, 300), (1, b"1234")]
    assert b"".join(message[begin:end] for _, _, begin, end in spans(message)) == message
    for number in (0, 127, 128, 1 << 63):
        assert varint(varint_bytes(number), 0) == (number, len(varint_bytes(number)))


@pytest.mark.parametrize("data", [b"\x1a\x05ab", b"\x1b", b"\x02\x00", b"\xff" * 11, b"\x80"])
def test_what_is_no_message_is_refused(data):
    with pytest.raises((ValueError, IndexError)):
        list(fields(data))


def test_a_number_is_not_bytes():
    with pytest.raises(ValueError, match="a number"):
        as_bytes(3)
