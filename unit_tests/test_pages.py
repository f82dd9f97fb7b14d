"""RECORD lines: what the vendor wrote, value for value and literal for literal, through both doors."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from source_liquidations.errors import UnexpectedAnswer
from source_liquidations.http.answers import Answered
from source_liquidations.messages import records
from source_liquidations.reading import pages
from source_liquidations.reading.endpoint import Partition, Rows, Span
from source_liquidations.reading.pages import Block, Output, members, merged, render
from source_liquidations.vendors.decoding import RowDecoder, added_rows

SPAN = Span((Partition.of(market="a"),), 0, 1)


class Row(msgspec.Struct):
    id: str
    price: float | str | None = None


class Body(msgspec.Struct, kw_only=True):
    data: list[Any] | msgspec.UnsetType = msgspec.UNSET


def body_of(row: Any) -> Any:
    return msgspec.defstruct("Body", [("data", list[row] | msgspec.UnsetType, msgspec.UNSET)])  # type: ignore[valid-type]


class Bodies:
    """`Bodies[row]` is the struct of a body with such rows."""

    def __class_getitem__(cls, row: Any) -> Any:
        return body_of(row)


def decoder() -> RowDecoder[Row]:
    return RowDecoder("events", Bodies, Row, added=("market", "time"))


# Numbers as a vendor may write them: more digits than a float has, exponents, zeros at the end, minus nought.
literals = st.from_regex(r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,2})?", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
values = st.recursive(
    st.one_of(literals, texts.map(json.dumps), st.sampled_from(["null", "true", "false"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]"),
        st.dictionaries(texts, inner, max_size=3).map(
            lambda items: "{" + ",".join(f"{json.dumps(k)}:{v}" for k, v in items.items()) + "}"
        ),
    ),
    max_leaves=6,
)
blanks = st.text(st.sampled_from(" \t\r\n"), max_size=3)


@st.composite
def rows(draw: st.DrawFn) -> str:
    """A JSON object with the documented fields and any others, blanks wherever JSON allows them."""
    names = st.text(st.characters(exclude_categories=["Cs"]), max_size=8).filter(
        lambda name: name not in ("id", "price", "market", "time")
    )
    fields = draw(st.dictionaries(names, values, max_size=4))
    fields |= {"id": json.dumps(draw(texts))}
    fields |= {"price": draw(literals)} if draw(st.booleans()) else {}
    pairs = [
        f"{draw(blanks)}{json.dumps(name, ensure_ascii=draw(st.booleans()))}{draw(blanks)}:{draw(blanks)}{value}"
        for name, value in draw(st.permutations(list(fields.items())))
    ]
    return "{" + ",".join(pairs) + draw(blanks) + "}"


def exact(text: str | bytes) -> Any:
    """JSON with every number as the literal it is, so that 1.0 and 1.00 differ."""
    return json.loads(
        text, parse_float=lambda literal: ("number", literal), parse_int=lambda literal: ("number", literal)
    )


def record_lines(block: Block) -> list[bytes]:
    assert block.data.endswith(b"\n")
    lines = block.data[:-1].split(b"\n")
    assert len(lines) == block.records
    return lines


@given(st.lists(rows(), min_size=1, max_size=5), blanks)
@settings(max_examples=300)
def test_any_row_arrives_as_it_was_written(written: list[str], blank: str) -> None:
    body = f'{blank}{{{blank}"data"{blank}:[{blank}{f"{blank},{blank}".join(written)}]}}'
    typed, raw, collides = decoder().decode(Answered(200, {}, body.encode()))
    assert [row.id for row in typed.data] == [json.loads(row)["id"] for row in written]
    assert not collides
    (block,) = render([Output("events")], Rows(raw, [0] * len(raw)), SPAN)
    for line, row in zip(record_lines(block), written, strict=True):
        assert exact(line)["record"]["data"] == exact(row)
        assert exact(line)["record"]["stream"] == "events"
        assert exact(line)["type"] == "RECORD"


@given(
    st.lists(rows(), min_size=1, max_size=5), st.dictionaries(st.sampled_from(["market", "asset"]), texts, min_size=1)
)
@settings(max_examples=200)
def test_added_members_leave_the_rest_as_it_was(written: list[str], constant: dict[str, str]) -> None:
    each = [{"time": f"t{n}"} for n in range(len(written))]
    _, raw, _ = decoder().decode(Answered(200, {}, f'{{"data":[{",".join(written)}]}}'.encode()))
    page = added_rows(raw, [0] * len(raw), constant=constant, each=each)
    (block,) = render([Output("events")], page, SPAN)
    for line, row, mine in zip(record_lines(block), written, each, strict=True):
        data = exact(line)["record"]["data"]
        assert data == constant | mine | exact(row)
        assert list(data)[: len(constant) + 1] == [*constant, "time"]


def test_a_member_of_the_vendors_takes_the_place_of_ours_unless_it_is_null() -> None:
    ours = {"liquidation_id": "a-0", "time": "t"}
    assert json.loads(merged(b'{"time":"u","liquidation_id":null,"n":null}', ours)) == {**ours, "time": "u", "n": None}


@given(st.lists(rows(), min_size=1, max_size=3))
@settings(max_examples=200)
def test_both_doors_give_the_same_messages(written: list[str]) -> None:
    _, raw, _ = decoder().decode(Answered(200, {}, f'{{"data":[{",".join(written)}]}}'.encode()))
    (block,) = render([Output("events")], added_rows(raw, [0] * len(raw), constant={"market": "m"}), SPAN)
    messages = list(records(block))
    lines = [json.loads(line) for line in record_lines(block)]
    assert [message.type.value for message in messages] == ["RECORD"] * len(written)
    assert [message.record.stream for message in messages] == [line["record"]["stream"] for line in lines]
    assert [message.record.emitted_at for message in messages] == [line["record"]["emitted_at"] for line in lines]
    assert [message.record.data for message in messages] == [line["record"]["data"] for line in lines]


@pytest.mark.parametrize(
    "literal", ["1e400", "-1e400", "9" * 400, "123456789012345678901234567890", "1.7976931348623157e308"]
)
def test_both_doors_take_numbers_that_no_float_holds(literal: str) -> None:
    """What is written for the command line must not fail in process."""
    block = Block(
        "events",
        1,
        b'{"type":"RECORD","record":{"stream":"events","emitted_at":1,"data":{"a":%b}}}\n' % literal.encode(),
    )
    (message,) = records(block)
    assert message.record is not None
    assert message.record.data == json.loads(f'{{"a":{literal}}}')


def test_a_field_of_the_vendors_wins_over_ours_of_the_same_name() -> None:
    body = b'{"data":[{"id":"1","market":"theirs","price":1.50},{"id":"2"}]}'
    _, raw, collides = decoder().decode(Answered(200, {}, body))
    assert collides
    page = added_rows(raw, [0, 0], constant={"market": "ours"}, each=[{"time": "a"}, {"time": "b"}], collides=True)
    (block,) = render([Output("events")], page, SPAN)
    assert [exact(line)["record"]["data"] for line in record_lines(block)] == [
        {"time": "a", "id": "1", "market": "theirs", "price": ("number", "1.50")},
        {"market": "ours", "time": "b", "id": "2"},
    ]


@given(rows(), st.dictionaries(st.sampled_from(["id", "price", "time", "x"]), texts))
def test_merging_keeps_literals_and_their_fields(row: str, ours: dict[str, str]) -> None:
    assert exact(merged(row.encode(), ours)) == ours | exact(row)


@given(st.dictionaries(texts, st.one_of(texts, st.integers(-(2**53), 2**53), st.none()), max_size=4))
def test_members_are_json_ready_to_splice(added: dict[str, Any]) -> None:
    assert json.loads(b'{%b"last":1}' % members(added)) == added | {"last": 1}


def test_an_undocumented_field_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    reading = decoder()
    for _ in range(3):
        reading.decode(Answered(200, {}, b'{"data":[{"id":"1","novel":true}]}'))
    told = [record.getMessage() for record in caplog.records if "novel" in record.getMessage()]
    assert len(told) == 1
    assert told[0].startswith("events: ")


@pytest.mark.parametrize(
    "body",
    [
        b'{"data":[{"id":"\xc3"}]}',
        b'{"data":[{"id":"1","novel":"a\x00b"}]}',
        b'{"data":[{"id":"1","novel":NaN}]}',
        b'{"data":[{"id":"1","novel":Infinity}]}',
        b'{"data":[{"id":"1"',
    ],
)
def test_what_is_no_json_never_becomes_a_record(body: bytes) -> None:
    assert "not JSON" in (Answered(200, {}, body).problem() or "")


def test_a_body_without_data_is_told_in_the_vendors_words() -> None:
    body = b'{"message":"No such key."}'
    with pytest.raises(UnexpectedAnswer, match="no `data`: No such key"):
        decoder().decode(Answered(200, {}, body))


@pytest.mark.parametrize("body", [b'{"data":null}', b'{"data":{}}', b"{}", b'{"data":[1]}', b'{"data":[{"price":1}]}'])
def test_what_has_no_rows_of_the_right_shape_is_refused(body: bytes) -> None:
    with pytest.raises(UnexpectedAnswer):
        decoder().decode(Answered(200, {}, body))


def test_a_line_break_within_a_text_is_never_turned_into_something_else() -> None:
    assert Answered(200, {}, b'{"data":[{"id":"a\nb"}]}').problem()


def test_an_empty_page_gives_no_block() -> None:
    assert list(render([Output("events")], Rows([], []), SPAN)) == []


def test_a_large_page_comes_in_blocks_that_together_are_what_one_block_would_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [b'{"id":"%d"}' % n for n in range(25)]
    page = Rows(rows, list(range(25)), constant=b'"market":"m",', added=[b'"n":%d,' % n for n in range(25)])
    outputs = [Output("events"), Output("unified", mapper=lambda rows, span: list(map(bytes, rows.raw)))]
    whole = {block.stream: block.data for block in render(outputs, page, SPAN)}
    monkeypatch.setattr(pages, "_MOST_RECORDS", 10)
    found = list(render(outputs, page, SPAN))
    assert [(block.stream, block.records) for block in found] == [(s, n) for s in whole for n in (10, 10, 5)]
    for stream, data in whole.items():
        together = b"".join(block.data for block in found if block.stream == stream)
        assert [json.loads(line)["record"]["data"] for line in together.splitlines()] == [
            json.loads(line)["record"]["data"] for line in data.splitlines()
        ]


def test_a_page_feeds_several_streams() -> None:
    page = Rows([b'{"id":"1"}', b'{"id":"2"}'], [0, 0])
    unified = Output("unified", mapper=lambda rows, span: [b'{"n":%d}' % len(rows)], vendor="acme")
    own, other = render([Output("events"), unified], page, SPAN)
    assert (own.stream, own.records, other.stream, other.records) == ("events", 2, "unified", 1)
    assert json.loads(other.data)["record"]["data"] == {"n": 2}


def test_a_unified_stream_tells_vendors_apart_in_its_state() -> None:
    partition = Partition.of(market="a")
    assert Output("own").state_partition(partition) is partition
    assert Output("unified", vendor="acme").state_partition(partition).values == (("vendor", "acme"), ("market", "a"))


def test_numbers_with_many_digits_stay_exact() -> None:
    literal = "0.12345678901234567890123456789"
    _, raw, _ = decoder().decode(Answered(200, {}, f'{{"data":[{{"id":"1","price":{literal}}}]}}'.encode()))
    (block,) = render([Output("events")], Rows(raw, [0]), SPAN)
    assert json.loads(block.data, parse_float=Decimal)["record"]["data"]["price"] == Decimal(literal)
