"""RECORD lines: the vendor's values and literals, on the command line and in process."""

from __future__ import annotations

import json
from decimal import Decimal
from itertools import product
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from source_liquidations.errors import UnexpectedAnswer
from source_liquidations.http.answers import Response
from source_liquidations.messages import records
from source_liquidations.numbers import NULL, Number
from source_liquidations.reading import pages
from source_liquidations.reading.endpoint import Partition, Span
from source_liquidations.reading.pages import Block, Output, Table, members, merged, render
from source_liquidations.reading.rows import Fault, Rows
from source_liquidations.streams import Stream
from source_liquidations.vendors.decoding import Fields, Page, RowDecoder, added_rows, column_name

SPAN = Span((Partition.of(market="a"),), 0, 1)


OWN = ("id", "price", "avg_price", "market", "time")


class Row(msgspec.Struct):
    id: str
    price: Number = NULL


class Body(msgspec.Struct, kw_only=True):
    data: list[Any] | msgspec.UnsetType | None = msgspec.UNSET


def body_of(row: Any) -> Any:
    return msgspec.defstruct("Body", [("data", list[row] | msgspec.UnsetType | None, msgspec.UNSET)])  # type: ignore[valid-type]


class Bodies:
    """`Bodies[row]` is the struct of a body with such rows."""

    def __class_getitem__(cls, row: Any) -> Any:
        return body_of(row)


class Events(Stream):
    def json_schema(self) -> dict[str, Any]:
        return {"properties": dict.fromkeys(OWN)}


def decoder() -> RowDecoder[Row]:
    return RowDecoder(Bodies, Row, Fields(Events("events", ())), added=("market", "time"))


def decoded(body: str | bytes) -> Page[Row]:
    return decoder().decode(Response(200, {}, body.encode() if isinstance(body, str) else body).on_one_line())


def one_block(rows: Rows, output: Output = Output("events")) -> Block:  # noqa: B008 - frozen
    (block,) = render(output, rows, SPAN, [])
    return block


# Numbers as a vendor may write them: more digits than a float has, exponents, zeros at the end, minus zero.
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
# One choice of a whole text, because drawing it letter by letter is slow, and each row has a dozen texts.
blanks = st.sampled_from(["".join(some) for length in range(4) for some in product(" \t\r\n", repeat=length)])


@st.composite
def rows(draw: st.DrawFn) -> str:
    """A JSON object with the documented fields and any others, blanks wherever JSON allows them."""
    names = st.text(st.characters(exclude_categories=["Cs"]), max_size=8).filter(str.strip)
    named = draw(st.lists(st.tuples(names, values), max_size=4, unique_by=lambda pair: column_name(pair[0])))
    fields = {name: value for name, value in named if column_name(name) not in OWN}
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


def columns_coincide(written: list[str]) -> bool:
    names = {name for row in written for name in json.loads(row)}
    return len(set(map(column_name, names))) < len(names)


def record_lines(block: Block) -> list[bytes]:
    assert block.data.endswith(b"\n")
    lines = block.data[:-1].split(b"\n")
    assert len(lines) == block.records
    return lines


@given(st.lists(rows(), min_size=1, max_size=5), blanks)
@settings(max_examples=150)
def test_any_row_arrives_as_it_was_written(written: list[str], blank: str) -> None:
    body = f'{blank}{{{blank}"data"{blank}:[{blank}{f"{blank},{blank}".join(written)}]}}'
    assume(not columns_coincide(written))
    page = decoded(body)
    assert [row.id for row in page.rows] == [json.loads(row)["id"] for row in written]
    assert not page.collides
    assert not page.bad
    block = one_block(Rows(page.raw, [0] * len(page.raw)))
    for line, row in zip(record_lines(block), written, strict=True):
        assert exact(line)["record"]["data"] == exact(row)
        assert exact(line)["record"]["stream"] == "events"
        assert exact(line)["type"] == "RECORD"


@given(
    st.lists(rows(), min_size=1, max_size=5), st.dictionaries(st.sampled_from(["market", "asset"]), texts, min_size=1)
)
@settings(max_examples=100)
def test_added_members_leave_the_rest_as_it_was(written: list[str], constant: dict[str, str]) -> None:
    each = [f"t{n}" for n in range(len(written))]
    assume(not columns_coincide(written))
    page = decoded(f'{{"data":[{",".join(written)}]}}')
    columns = (b'"time":"', [text.encode() for text in each], b'",')
    block = one_block(added_rows(page, [0] * len(written), constant=constant, each=columns))
    for line, row, mine in zip(record_lines(block), written, each, strict=True):
        data = exact(line)["record"]["data"]
        assert data == constant | {"time": mine} | exact(row)
        assert list(data)[: len(constant) + 1] == [*constant, "time"]


def test_a_member_of_the_vendors_takes_the_place_of_ours_unless_it_is_null() -> None:
    ours = {"liquidation_id": "a-0", "time": "t"}
    assert json.loads(merged(b'{"time":"u","liquidation_id":null,"n":null}', ours)) == {**ours, "time": "u", "n": None}


@given(st.lists(rows(), min_size=1, max_size=3))
@settings(max_examples=100)
def test_both_outputs_have_the_same_messages(written: list[str]) -> None:
    page = decoded(f'{{"data":[{",".join(written)}]}}')
    block = one_block(added_rows(page, [0] * len(written), constant={"market": "m"}))
    messages = list(records(block))
    lines = [json.loads(line) for line in record_lines(block)]
    assert [message.type.value for message in messages] == ["RECORD"] * len(written)
    assert [message.record.stream for message in messages] == [line["record"]["stream"] for line in lines]
    assert [message.record.emitted_at for message in messages] == [line["record"]["emitted_at"] for line in lines]
    assert [message.record.data for message in messages] == [line["record"]["data"] for line in lines]


@pytest.mark.parametrize(
    "literal", ["1e400", "-1e400", "9" * 400, "123456789012345678901234567890", "1.7976931348623157e308"]
)
def test_both_outputs_accept_numbers_beyond_a_float(literal: str) -> None:
    """A number that the command line writes must not fail in process."""
    block = Block(
        "events",
        1,
        b'{"type":"RECORD","record":{"stream":"events","emitted_at":1,"data":{"a":%b}}}\n' % literal.encode(),
    )
    (message,) = records(block)
    assert message.record is not None
    assert message.record.data == json.loads(f'{{"a":{literal}}}')


def test_a_vendors_field_wins_over_ours_of_the_same_name() -> None:
    body = b'{"data":[{"id":"1","market":"theirs","price":1.50},{"id":"2"}]}'
    page = decoded(body)
    assert page.collides
    block = one_block(added_rows(page, [0, 0], constant={"market": "ours"}, each=(b'"time":', [b'"a"', b'"b"'], b",")))
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
        reading.decode(Response(200, {}, b'{"data":[{"id":"1","novel":true}]}'))
    warnings = [record.getMessage() for record in caplog.records if "novel" in record.getMessage()]
    assert len(warnings) == 1
    assert warnings[0].startswith("events: ")


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
    assert "not JSON" in (Response(200, {}, body).problem() or "")


def test_a_body_without_data_is_reported_in_the_vendors_words() -> None:
    body = b'{"message":"No such key."}'
    with pytest.raises(UnexpectedAnswer, match="no `data`: No such key"):
        decoder().decode(Response(200, {}, body))


def test_null_is_an_empty_list() -> None:
    assert decoded('{"data":null}').raw == []


@pytest.mark.parametrize("body", [b'{"data":{}}', b"{}", b'{"data":[1]}', b'{"data":[{"price":1}]}'])
def test_what_has_no_rows_of_the_right_shape_is_refused(body: bytes) -> None:
    with pytest.raises(UnexpectedAnswer):
        decoder().decode(Response(200, {}, body))


def test_a_line_break_within_a_text_is_never_turned_into_something_else() -> None:
    assert Response(200, {}, b'{"data":[{"id":"a\nb"}]}').problem()


def test_an_empty_page_gives_no_block() -> None:
    assert list(render(Output("events"), Rows([], []), SPAN, [])) == []


def test_a_large_page_comes_in_blocks_that_together_are_what_one_block_would_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [b'{"id":"%d"}' % n for n in range(25)]
    page = Rows(rows, list(range(25)), added=(b'"market":"m","n":', [b"%d" % n for n in range(25)], b","))
    for output in (Output("events"), Output("unified", mapper=as_they_are)):
        monkeypatch.setattr(pages, "_MAX_RECORDS", 100)
        whole = one_block(page, output)
        monkeypatch.setattr(pages, "_MAX_RECORDS", 10)
        blocks = list(render(output, page, SPAN, []))
        assert [(block.stream, block.records) for block in blocks] == [(output.stream, n) for n in (10, 10, 5)]
        together = b"".join(block.data for block in blocks)
        assert [json.loads(line)["record"]["data"] for line in together.splitlines()] == [
            json.loads(line)["record"]["data"] for line in whole.data.splitlines()
        ]


def as_they_are(rows: Rows, span: Span) -> Table:
    return Table(len(rows), (rows.raw,))


def test_a_mapper_names_its_faulty_rows() -> None:
    fault = Fault(7, UnexpectedAnswer("`price` is no number."))
    faults: list[Fault] = []
    output = Output("unified", mapper=lambda rows, span: Table(1, (b'{"n":1}',), [fault]))
    (block,) = render(output, Rows([b'{"id":"1"}', b'{"id":"2"}'], [0, 7]), SPAN, faults)
    assert (block.stream, block.records) == ("unified", 1)
    assert json.loads(block.data)["record"]["data"] == {"n": 1}
    assert faults == [fault]


@given(st.integers(0, 5), st.lists(st.booleans(), min_size=1, max_size=4), st.integers(1, 3))
def test_a_table_writes_rows_from_its_columns(count: int, constant: list[bool], most: int) -> None:
    columns = [
        b'"c":1,' if is_constant else [b'"v%d":%d,' % (n, row) for row in range(count)]
        for n, is_constant in enumerate(constant)
    ]
    rows = [
        b"{" + b"".join(column if isinstance(column, bytes) else column[row] for column in columns) + b"}\n"
        for row in range(count)
    ]
    table = Table(count, columns)
    assert table.lines(b"{", b"}\n") == b"".join(rows)
    parts = list(table.parts(most))
    assert [part.count for part in parts] == [min(most, count - first) for first in range(0, count, most)]
    assert b"".join(part.lines(b"{", b"}\n") for part in parts) == b"".join(rows)


@pytest.mark.parametrize(
    ("written", "literal", "arrives"),
    [
        ('"1.50"', "1.50", '"1.50"'),
        ('"+1.50"', "1.50", '"+1.50"'),
        ('""', "null", "null"),
        ("null", "null", "null"),
        ("7e3", "7e3", "7e3"),
    ],
)
def test_text_that_is_a_number_counts_as_one_and_is_unchanged(written: str, literal: str, arrives: str) -> None:
    page = decoded(f'{{"data":[{{"id":"1","price":{written},"x":"1.0"}}]}}')
    assert bytes(page.raw[0]) == f'{{"id":"1","price":{arrives},"x":"1.0"}}'.encode()
    assert bytes(page.rows[0].price) == literal.encode()


@pytest.mark.parametrize("written", ['"NaN"', '"Infinity"', "1e400", '"1e400"', '"abc"', "true", "{}", '"1,5"', '" 1"'])
def test_what_is_no_number_is_reported_with_field_and_row(written: str) -> None:
    page = decoded(f'{{"data":[{{"id":"1","price":1}},{{"id":"2","price":{written}}}]}}')
    assert list(page.bad) == [1]
    assert "`price` of row 1" in page.bad[1].message


def test_an_undocumented_field_whose_name_a_table_cannot_hold_is_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reading = decoder()
    for _ in range(2):
        fields = {"Price": 1, "TIME": 2, "": 3, " ": 4, "new": 5, "New": 6, "数量": 7, "avg-price": 9}
        body = json.dumps({"data": [{"id": "1", "avg_price": 60000, **fields}]})
        page = reading.decode(Response(200, {}, body.encode()))
        row = json.loads(bytes(page.raw[0]))
        assert set(row) == {"id", "New", "avg_price", "数量"}
    lines = [record.getMessage() for record in caplog.records if "dropped undocumented fields" in record.getMessage()]
    assert len(lines) == 1
    for name in ("'Price'", "'TIME'", "''", "' '", "'avg-price'"):
        assert name in lines[0]


def test_a_unified_stream_tells_vendors_apart_in_its_state() -> None:
    partition = Partition.of(market="a")
    assert Output("own").state_partition(partition) is partition
    assert Output("unified", vendor="acme").state_partition(partition).values == (("vendor", "acme"), ("market", "a"))


def test_numbers_with_many_digits_stay_exact() -> None:
    literal = "0.12345678901234567890123456789"
    page = decoded(f'{{"data":[{{"id":"1","price":{literal}}}]}}')
    block = one_block(Rows(page.raw, [0]))
    assert json.loads(block.data, parse_float=Decimal)["record"]["data"]["price"] == Decimal(literal)


def test_unselected_rows_are_not_written() -> None:
    raw = [b'{"n":%d}' % number for number in range(4)]
    rows = Rows(raw, [1, 2, 3, 4], matched_by=[[], [0], [], None])
    (block,) = render(Output("s"), rows.between(1, 4), SPAN, [])
    assert [json.loads(line)["record"]["data"] for line in block.data.splitlines()] == [{"n": 1}]
    assert len(rows) == 4, "they still tell how far the page goes"
    assert list(render(Output("s"), Rows(raw, [1, 2, 3, 4], matched_by=[[]] * 4), SPAN, [])) == []
