"""One spelling of exchanges and assets; the assets of symbols, for real ones and for any base in every form."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from source_liquidations.symbols import ASSETS, EXCHANGES, asset, assets_of, exchange
from unit_tests.real_symbols import REAL_SYMBOLS


@pytest.mark.parametrize(("code", "symbol", "base", "quote"), REAL_SYMBOLS)
def test_real_symbols(code: str, symbol: str, base: str | None, quote: str | None) -> None:
    assert assets_of(symbol, code) == (base, quote)


def test_real_symbols_are_listed_once() -> None:
    assert len({(code, symbol) for code, symbol, *_ in REAL_SYMBOLS}) == len(REAL_SYMBOLS) >= 200


# Any base. `{}` is its place in a symbol; the quote is None if the symbol does not contain it.


class Form(NamedTuple):
    code: str
    symbol: str
    quote: str | None


FORMS = [
    Form(code, symbol, quote)
    for code, forms in {
        "binance": {
            "{}USDT": "usdt",
            "{}USDT_250627": "usdt",
            "{}USDT_SETTLED": "usdt",
            "{}USDC": "usdc",
            "{}BUSD": "busd",
            "{}BUSD_210129": "busd",
            "{}USD1": "usd1",
            "{}BTC": "btc",
            "{}USD_PERP": "usd",
            "{}USD_250627": "usd",
        },
        "binc": {"{}-USDT": "usdt", "{}-BUSD": "busd", "{}USDT250627": "usdt", "{}USD250627": "usd"},
        "bybit": {
            "{}USDT": "usdt",
            "{}PERP": "usdc",
            "{}USD": "usd",
            "{}USDM25": "usd",
            "{}USDT-27JUN25": "usdt",
            "{}-27JUN25": None,
        },
        "okx": {
            "{}-USDT-SWAP": "usdt",
            "{}-USD-250627": "usd",
            "{}-USD_UM-250627": "usd",
            "{}-USD_UM_XPERP-310404": "usd",
        },
        "okex": {"{}USD220624": "usd"},
        "deribit": {"{}-PERPETUAL": None, "{}-7MAR25": None, "{}_USDC-PERPETUAL": "usdc", "{}_USDT-27JUN25": "usdt"},
        "bitmex": {
            "{}USD": "usd",
            "{}USDT": "usdt",
            "{}XBT": "btc",
            "{}USDM25": "usd",
            "{}USDTM25": "usdt",
            "{}M25": None,
            "{}_USDT": "usdt",
            "{}USD_ETH": "usd",
            "{}USDM22_ETH": "usd",
        },
        "bitfinex": {
            "t{}F0:USTF0": "usdt",
            "t{}F0:BTCF0": "btc",
            "t{}USD": "usd",
            "t{}UST": "usdt",
            "t{}:USD": "usd",
            "{}F0:USTF0": "usdt",
        },
        "bitget": {
            "{}USDT": "usdt",
            "{}PERP": "usdc",
            "{}USDT_UMCBL": "usdt",
            "{}USD_DMCBL_221230": "usd",
            "{}PERP_CMCBL": "usdc",
        },
        "gate": {"{}_USDT": "usdt", "{}_USD": "usd", "{}_USDT_20250627": "usdt"},
        "huobi": {
            "{}-USDT": "usdt",
            "{}-USDT-CW": "usdt",
            "{}-USD": "usd",
            "{}-USDT-251226": "usdt",
            "{}_CQ": None,
            "{}250627": None,
            "{}250627_CQ": None,
        },
        "hyperliquid": {"{}": None, "xyz:{}": None},
        "kraken": {
            "PF_{}USD": "usd",
            "PI_{}USD": "usd",
            "PV_{}XBT": "btc",
            "FI_{}USD_250627": "usd",
            "pf_{}usd": "usd",
        },
        "ftx": {"{}-PERP": None, "{}-0325": None, "{}-20210625": None},
        "unheard_of": {"{}USDT": "usdt", "{}USD": "usd", "{}-PERP": None, "{}_USDC": "usdc"},
    }.items()
    for symbol, quote in forms.items()
]

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ币安人生龙虾"
BASES = st.one_of(
    st.from_regex(rf"[0-9]{{0,7}}[{LETTERS}]{{1,8}}[0-9]{{0,2}}", fullmatch=True),
    st.sampled_from(["BTC", "XBT", "T", "B", "USD", "USDT", "USDC", "BUSD", "TUSD", "PERP", "PI", "UST", "ETH", "F0"]),
)
UNTOLD_PAIRS = ("USDT", "USDC", "BUSD", "USD", "EUR", "XBT", "ETH", "PERP", "UST")
KNOWN_IN_BUSD = {"BTCB", "ETHB", "BNBB", "ARBB", "DOTB", "BN", "AR"}


@given(st.sampled_from(FORMS), BASES)
def test_of_any_base_there_is_the_base_or_nothing(form: Form, base: str) -> None:
    if form.quote is None and form.code != "ftx":
        assume(not base.endswith(UNTOLD_PAIRS))  # XUSDT-27JUN25 is X in USDT
    assume(base not in KNOWN_IN_BUSD)  # BTCB in USD and BTC in BUSD are one symbol; the known asset is meant
    symbol = form.symbol.format(base)
    found, quote = assets_of(symbol, form.code)
    expected = {"UST": "usdt"}.get(base, asset(base)) if form.code == "bitfinex" else asset(base)
    assert (found, quote) in ((expected, form.quote), (None, None)), symbol
    if form.code != "hyperliquid":
        assert found != symbol.lower()


@pytest.mark.parametrize("form", [form for form in FORMS if "BUSD_" not in form.symbol], ids=str)
@pytest.mark.parametrize("base", ["BTC", "DOGE", "1000PEPE", "PEPE1000", "币安人生", "PERP"])
def test_a_common_base_is_found_in_every_form(form: Form, base: str) -> None:
    assert assets_of(form.symbol.format(base), form.code) == (asset(base), form.quote) or (
        base == "PERP" and form.code == "hyperliquid"
    )


@pytest.mark.parametrize("symbol", ["BTCUSDTPERP", "BTCUSDCPERP", "BTCUSDTUSD"])
def test_a_pair_before_a_quote_is_no_base(symbol: str) -> None:
    assert assets_of(symbol, "bybit") == (None, None)


@pytest.mark.parametrize("symbol", ["XBUSD_PERP", "XBUSD_250627", "XBUSD250627"])
def test_an_ambiguous_symbol_has_no_assets(symbol: str) -> None:
    """XB in USD, or X in BUSD: Binance has both quotes."""
    assert assets_of(symbol, "binance") == (None, None)


@given(st.text(max_size=16), st.sampled_from([*EXCHANGES, "unheard_of"]))
def test_no_text_is_an_error_and_assets_are_words(symbol: str, code: str) -> None:
    assert all(name is None or name.isalnum() for name in assets_of(symbol, code))


# Names.


def test_a_vendors_own_code_of_the_exchange_will_do() -> None:
    assert assets_of("BTCBUSD", "binc") == assets_of("BTCBUSD", "binance") == ("btc", "busd")


def test_every_exchange_has_one_spelling() -> None:
    codes = [code for codes in EXCHANGES.values() for code in codes]
    assert len(codes) == len(set(codes)), "a code of two exchanges"
    for name, held in EXCHANGES.items():
        assert name in held
        for code in held:
            assert exchange(code) == exchange(code.upper()) == name


@given(st.text(max_size=12))
def test_a_code_that_is_not_mapped_stays_as_it_is(code: str) -> None:
    known = {code for codes in EXCHANGES.values() for code in codes}
    assert exchange(code) == code or code.lower() in known


@pytest.mark.parametrize(
    ("written", "spelled"),
    [
        ("BTC", "btc"),
        ("XBT", "btc"),
        ("xdg", "doge"),
        ("USTF0", "usdt"),
        ("ETHF0", "eth"),
        ("UST", "ust"),
        ("F0", "f0"),
        ("1000SHIB", "1000shib"),
        ("kPEPE", "kpepe"),
        ("币安人生", "币安人生"),
    ],
)
def test_assets_are_in_lower_case_with_aliases_resolved(written: str, spelled: str) -> None:
    assert asset(written) == spelled
    assert asset(spelled) == spelled, "a spelling is its own"
    assert set(ASSETS) & set(ASSETS.values()) == set()
