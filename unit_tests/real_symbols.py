"""Real futures symbols: a vendor's code of the exchange, the symbol, and its base and quote asset.

Expected values are the contract's real assets, not the connector's results. The quote is None if the symbol does not
contain it; both are None if the symbol's base is ambiguous or is not an asset.
"""

from __future__ import annotations

Case = tuple[str, str, str | None, str | None]

BINANCE: list[Case] = [
    ("binance", "BTCUSDT", "btc", "usdt"),
    ("BINANCE_FUTURES", "ETHUSDT", "eth", "usdt"),
    ("binc", "SOLUSDT", "sol", "usdt"),
    ("binance", "TUSDT", "t", "usdt"),  # Threshold: no quote TUSD
    ("binance", "1INCHUSDT", "1inch", "usdt"),
    ("binance", "C98USDT", "c98", "usdt"),
    ("binance", "API3USDT", "api3", "usdt"),
    ("binance", "BTCDOMUSDT", "btcdom", "usdt"),  # index
    ("binance", "DEFIUSDT", "defi", "usdt"),  # index
    ("binance", "FOOTBALLUSDT", "football", "usdt"),  # index
    ("binance", "BTCSTUSDT", "btcst", "usdt"),
    ("binance", "USDCUSDT", "usdc", "usdt"),
    ("binance", "PERPUSDT", "perp", "usdt"),  # Perpetual Protocol
    ("binance", "AIXBTUSDT", "aixbt", "usdt"),
    ("binance", "1000SHIBUSDT", "1000shib", "usdt"),
    ("binance", "1000PEPEUSDT", "1000pepe", "usdt"),
    ("binance", "1000000MOGUSDT", "1000000mog", "usdt"),
    ("binance", "1MBABYDOGEUSDT", "1mbabydoge", "usdt"),
    ("binance", "币安人生USDT", "币安人生", "usdt"),
    ("BINANCE_FUTURES", "我踏马来了USDT", "我踏马来了", "usdt"),
    ("binance", "龙虾USDT", "龙虾", "usdt"),
    ("binance", "哈基米USDT", "哈基米", "usdt"),
    ("binance", "BTCUSDT_210326", "btc", "usdt"),
    ("binance", "BTCUSDT_250627", "btc", "usdt"),
    ("binance", "ETHUSDT_261225", "eth", "usdt"),
    ("binance", "ICPUSDT_SETTLED", "icp", "usdt"),
    ("binance", "BTCUSDC", "btc", "usdc"),
    ("binance", "1000PEPEUSDC", "1000pepe", "usdc"),
    ("binance", "BTCUSD1", "btc", "usd1"),
    ("binance", "ETHBTC", "eth", "btc"),
    ("binance", "BTCBUSD", "btc", "busd"),
    ("binance", "BNBBUSD", "bnb", "busd"),
    ("binance", "AMBBUSD", "amb", "busd"),
    ("binance", "PHBBUSD", "phb", "busd"),
    ("binance", "GALBUSD", "gal", "busd"),
    ("binance", "DODOBUSD", "dodo", "busd"),
    ("binance", "1000SHIBBUSD", "1000shib", "busd"),
    ("binance", "1000LUNCBUSD", "1000lunc", "busd"),
    ("binance", "BTCBUSD_210129", "btc", "busd"),
    ("binance", "BTCBUSD_210226", "btc", "busd"),
    ("binance", "BTCUSD_PERP", "btc", "usd"),
    ("BINANCE_DELIVERY", "ETHUSD_PERP", "eth", "usd"),
    ("binance", "BNBUSD_PERP", "bnb", "usd"),
    ("binance", "ARBUSD_PERP", "arb", "usd"),
    ("binance", "DOTUSD_PERP", "dot", "usd"),
    ("binance", "1INCHUSD_PERP", "1inch", "usd"),
    ("binance", "BTCUSD_250627", "btc", "usd"),
    ("binance", "BNBUSD_210924", "bnb", "usd"),
    ("binance", "DOTUSD_211231", "dot", "usd"),
    ("binance", "BTCUSD", None, None),  # a pair of coin-margined contracts, no contract
    ("binance", "BTC", None, None),
    ("binance", "USDT", None, None),
]

BYBIT: list[Case] = [
    ("bybit", "BTCUSDT", "btc", "usdt"),
    ("BYBIT", "ETHUSDT", "eth", "usdt"),
    ("bybit", "TUSDT", "t", "usdt"),
    ("bybit", "SUSDT", "s", "usdt"),
    ("bybit", "PERPUSDT", "perp", "usdt"),
    ("bybit", "LUNA2USDT", "luna2", "usdt"),
    ("bybit", "RSS3USDT", "rss3", "usdt"),
    ("bybit", "HPOS10IUSDT", "hpos10i", "usdt"),
    ("bybit", "RIFSOLUSDT", "rifsol", "usdt"),
    ("bybit", "NEIROETHUSDT", "neiroeth", "usdt"),
    ("bybit", "USDCUSDT", "usdc", "usdt"),
    ("bybit", "USDEUSDT", "usde", "usdt"),
    ("bybit", "EURUSDUSDT", "eurusd", "usdt"),  # the exchange rate is what is traded
    ("bybit", "SHIB1000USDT", "shib1000", "usdt"),
    ("bybit", "1000PEPEUSDT", "1000pepe", "usdt"),
    ("bybit", "1000000PEIPEIUSDT", "1000000peipei", "usdt"),
    ("bybit", "10000000AIDOGEUSDT", "10000000aidoge", "usdt"),
    ("bybit", "BTCPERP", "btc", "usdc"),
    ("bybit", "ETHPERP", "eth", "usdc"),
    ("bybit", "OPPERP", "op", "usdc"),
    ("bybit", "TRUMPPERP", "trump", "usdc"),
    ("bybit", "SHIB1000PERP", "shib1000", "usdc"),
    ("bybit", "1000PEPEPERP", "1000pepe", "usdc"),
    ("bybit", "BTCUSDT-27JUN25", "btc", "usdt"),
    ("bybit", "SOLUSDT-06JUN25", "sol", "usdt"),
    ("bybit", "ETHUSDT-26DEC25", "eth", "usdt"),
    ("bybit", "BTC-27JUN25", "btc", None),
    ("bybit", "ETH-01NOV24", "eth", None),
    ("bybit", "SOL-28MAR25", "sol", None),
    ("bybit", "BTCUSD", "btc", "usd"),
    ("bybit", "DOTUSD", "dot", "usd"),
    ("bybit", "EOSUSD", "eos", "usd"),
    ("bybit", "BITUSD", "bit", "usd"),
    ("bybit", "BTCUSDM25", "btc", "usd"),
    ("bybit", "ETHUSDZ24", "eth", "usd"),
    ("bybit", "BTCUSDU21", "btc", "usd"),
    ("bybit", "BTCUSD0925", "btc", "usd"),  # the alias of BTCUSDU25
    ("bybit", "PERP", None, None),
]

OKX: list[Case] = [
    ("okex", "BTC-USDT-SWAP", "btc", "usdt"),
    ("OKEX_SWAP", "ETH-USDT-SWAP", "eth", "usdt"),
    ("okx", "BTC-USD-SWAP", "btc", "usd"),
    ("okx", "BTC-USDC-SWAP", "btc", "usdc"),
    ("okx", "1INCH-USD-SWAP", "1inch", "usd"),
    ("okx", "PERP-USDT-SWAP", "perp", "usdt"),
    ("okx", "SWEAT-USDT-SWAP", "sweat", "usdt"),
    ("okx", "USDC-USDT-SWAP", "usdc", "usdt"),
    ("okx", "币安人生-USDT-SWAP", "币安人生", "usdt"),
    ("OKEX_FUTURES", "BTC-USD-250627", "btc", "usd"),
    ("okex", "LINK-USD-220520", "link", "usd"),
    ("okex", "BTC-USDT-250627", "btc", "usdt"),
    ("okx", "BTC-USD_UM-250627", "btc", "usd"),
    ("okx", "BTC-USD_UM-SWAP", "btc", "usd"),
    ("okx", "ETH-USD_UM_XPERP-310404", "eth", "usd"),
    ("okx", "BTC-USD-260507-81500-C", None, None),  # an option
]

DERIBIT: list[Case] = [
    ("deribit", "BTC-PERPETUAL", "btc", None),
    ("DERIBIT", "ETH-PERPETUAL", "eth", None),
    ("deribit", "SOL-PERPETUAL", "sol", None),
    ("deribit", "BTC-27JUN25", "btc", None),
    ("deribit", "BTC-7MAR25", "btc", None),
    ("deribit", "SOL-3JUN22", "sol", None),
    ("deribit", "ETH-31DEC21", "eth", None),
    ("deribit", "ETH_USDC-PERPETUAL", "eth", "usdc"),
    ("deribit", "BTC_USDC-PERPETUAL", "btc", "usdc"),
    ("deribit", "MATIC_USDC-PERPETUAL", "matic", "usdc"),
    ("deribit", "PAXG_USDC-PERPETUAL", "paxg", "usdc"),
    ("deribit", "BTC_USDC-27JUN25", "btc", "usdc"),
    ("deribit", "ETH_USDC-30APR25", "eth", "usdc"),
    ("deribit", "BTC_USDT-PERPETUAL", "btc", "usdt"),
    ("deribit", "BTCDVOL_USDC-25JUN25", "btcdvol", "usdc"),  # volatility index, no bitcoin
    ("deribit", "BTC-FS-27JUN25_PERP", None, None),  # a spread of two futures
    ("deribit", "BTC-10DEC22-17500-C", None, None),  # an option
]

BITMEX: list[Case] = [
    ("bitmex", "XBTUSD", "btc", "usd"),
    ("BITMEX", "XBTUSDT", "btc", "usdt"),
    ("bmex", "XBTEUR", "btc", "eur"),
    ("btmx", "ETHUSD", "eth", "usd"),
    ("bitmex", "BNBUSD", "bnb", "usd"),
    ("bitmex", "ARBUSD", "arb", "usd"),
    ("bitmex", "DOTUSD", "dot", "usd"),
    ("bitmex", "SHIBUSDT", "shib", "usdt"),
    ("bitmex", "ALTMEXUSD", "altmex", "usd"),  # index
    ("bitmex", "DEFIMEXTUSDT", "defimext", "usdt"),  # index
    ("bitmex", "ETHXBT", "eth", "btc"),
    ("bitmex", "XBTETH", "btc", "eth"),
    ("bitmex", "DAOETH", "dao", "eth"),
    ("bitmex", "XBT_USDT", "btc", "usdt"),
    ("bitmex", "APE_USDT", "ape", "usdt"),
    ("bitmex", "ETHUSD_ETH", "eth", "usd"),  # settled in ETH
    ("bitmex", "ETHUSDM22_ETH", "eth", "usd"),
    ("bitmex", "ETHUSDM25", "eth", "usd"),
    ("bitmex", "XBTEURU21", "btc", "eur"),
    ("bitmex", "XBTUSDTZ25", "btc", "usdt"),
    ("bitmex", "ETHUSDTM22", "eth", "usdt"),
    ("bitmex", "SOLUSDTM25", "sol", "usdt"),
    ("bitmex", "YFIUSDTH21", "yfi", "usdt"),
    ("bitmex", "XBTM25", "btc", None),
    ("bitmex", "XBTH26", "btc", None),
    ("bitmex", "ETHM25", "eth", None),
    ("bitmex", "XRPU21", "xrp", None),
    ("bitmex", "XBJH17", "btc", None),  # bitcoin in yen
    ("bitmex", "XBT7D_U105", None, None),  # an option
    ("bitmex", "XBTZ14_F15", None, None),  # a spread of two futures
    ("bitmex", "XBT24H", None, None),
    ("bitmex", "P_FTXZ26", None, None),  # a prediction
]

BITFINEX: list[Case] = [
    ("bitfinex", "tBTCF0:USTF0", "btc", "usdt"),
    ("BITFINEX_DERIVATIVES", "tETHF0:USTF0", "eth", "usdt"),
    ("bitfinex", "tAVAXF0:USTF0", "avax", "usdt"),
    ("bitfinex", "tETHF0:BTCF0", "eth", "btc"),
    ("bitfinex", "tXAUTF0:BTCF0", "xaut", "btc"),
    ("bitfinex", "tBTCDOMF0:USTF0", "btcdom", "usdt"),
    ("bitfinex", "tGERMANY30IXF0:USTF0", "germany30ix", "usdt"),
    ("bitfinex", "tTESTBTCF0:TESTUSDTF0", "testbtc", "testusdt"),
    ("bitfinex", "BTCF0:USTF0", "btc", "usdt"),
    ("bfnx", "btcf0-ustf0", "btc", "usdt"),
    ("bitfinex", "tBTCUSD", "btc", "usd"),
    ("bitfinex", "tETHUST", "eth", "usdt"),
    ("bitfinex", "tETHBTC", "eth", "btc"),
    ("bitfinex", "tBTCEUR", "btc", "eur"),
    ("bitfinex", "tBTCJPY", "btc", "jpy"),
    ("bitfinex", "tTRXUSD", "trx", "usd"),  # its T is Tron's
    ("bitfinex", "TRXUSD", "trx", "usd"),
    ("bitfinex", "tUSTUSD", "usdt", "usd"),
    ("bitfinex", "tXMRETH", "xmr", "eth"),
    ("bitfinex", "tDOGE:USD", "doge", "usd"),
    ("bitfinex", "tDOGE:UST", "doge", "usdt"),
    ("bitfinex", "tAVAX:BTC", "avax", "btc"),
    ("bitfinex", "tSUSHI:USD", "sushi", "usd"),
    ("bitfinex", "tBTC:CNHT", "btc", "cnht"),
    ("bitfinex", "tTESTBTC:TESTUSD", "testbtc", "testusd"),
    ("bitfinex", "tLEOEOS", None, None),  # quoted in EOS, which no list shows
    ("bitfinex", "fUSD", None, None),  # funding
]

BITGET: list[Case] = [
    ("bitget", "BTCUSDT", "btc", "usdt"),
    ("BITGET", "1000BONKUSDT", "1000bonk", "usdt"),
    ("bitget", "龙虾USDT", "龙虾", "usdt"),
    ("bitget", "BTCPERP", "btc", "usdc"),
    ("bitget", "BTCUSD", "btc", "usd"),
    ("bitget", "BTCUSDU26", "btc", "usd"),
    ("bitget", "BTCUSDT_UMCBL", "btc", "usdt"),
    ("bitget", "ARUSDT_UMCBL", "ar", "usdt"),
    ("bitget", "BTCUSD_DMCBL", "btc", "usd"),
    ("bitget", "XRPUSD_DMCBL", "xrp", "usd"),
    ("bitget", "BTCUSD_DMCBL_221230", "btc", "usd"),
    ("bitget", "BTCPERP_CMCBL", "btc", "usdc"),
    ("bitget", "SBTCSUSDT_SUMCBL", None, None),  # simulated
]

GATE: list[Case] = [
    ("gate", "BTC_USDT", "btc", "usdt"),
    ("GATE_IO_FUTURES", "ETH_USDT", "eth", "usdt"),
    ("gate.io", "BTC_USD", "btc", "usd"),
    ("gateio", "XAU_USDT", "xau", "usdt"),
    ("gate", "PI_USDT", "pi", "usdt"),
    ("gate", "FF_USDT", "ff", "usdt"),
    ("gate", "XUSD_USDT", "xusd", "usdt"),
    ("gate", "PERP_USDT", "perp", "usdt"),
    ("gate", "1000PEPE_USDT", "1000pepe", "usdt"),
    ("gate", "币安人生_USDT", "币安人生", "usdt"),
    ("gate", "龙虾_USDT", "龙虾", "usdt"),
    ("gate", "BTC_USDT_20250627", "btc", "usdt"),
    ("gate", "ETH_USDT_20210625", "eth", "usdt"),
    ("gate", "BTC_USD_20250627", "btc", "usd"),
]

HUOBI: list[Case] = [
    ("huobi", "BTC-USDT", "btc", "usdt"),
    ("HUOBI_DM_LINEAR_SWAP", "SHIB-USDT", "shib", "usdt"),
    ("HUOBI_DM_SWAP", "BTC-USD", "btc", "usd"),
    ("htx", "BTC-USDT-251226", "btc", "usdt"),
    ("htx", "BTC-USDT-CW", "btc", "usdt"),
    ("huobi", "ETH-USDT-NQ", "eth", "usdt"),
    ("HUOBI_DM", "BTC_CW", "btc", None),
    ("HUOBI_DM", "BTC_CQ", "btc", None),
    ("huobi", "LINK_NW", "link", None),
    ("huobi", "BTC250627", "btc", None),
    ("huobi", "LINK210924", "link", None),
    ("huobi", "EOS210625_CQ", "eos", None),
    ("huobi", "BTC", None, None),
]

HYPERLIQUID: list[Case] = [  # a symbol is the coin's name
    ("hyperliquid", "BTC", "btc", None),
    ("HYPERLIQUID_FUTURES", "ETH", "eth", None),
    ("hyperliquid", "kPEPE", "kpepe", None),
    ("hyperliquid", "kSHIB", "kshib", None),
    ("hyperliquid", "USTC", "ustc", None),
    ("hyperliquid", "xyz:TSLA", "tsla", None),
    ("hyperliquid", "xyz:EUR", "eur", None),
    ("hyperliquid", "@107", None, None),  # the number of a spot pair
    ("hyperliquid", "PURR/USDC", "purr", "usdc"),
]

KRAKEN: list[Case] = [
    ("kraken", "PI_XBTUSD", "btc", "usd"),
    ("krkn", "pi_xbtusd", "btc", "usd"),
    ("kraken", "PF_XBTUSD", "btc", "usd"),
    ("kraken", "PF_SOLUSD", "sol", "usd"),
    ("kraken", "PF_XDGUSD", "doge", "usd"),
    ("kraken", "PF_TUSD", "t", "usd"),  # Threshold
    ("kraken", "PF_USDTUSD", "usdt", "usd"),
    ("kraken", "PF_AIXBTUSD", "aixbt", "usd"),
    ("kraken", "PF_TSLAXUSD", "tslax", "usd"),
    ("kraken", "PF_1INCHUSD", "1inch", "usd"),
    ("kraken", "PF_XBTEUR", "btc", "eur"),
    ("kraken", "PV_XRPXBT", "xrp", "btc"),
    ("kraken", "FI_XBTUSD_250627", "btc", "usd"),
    ("kraken", "fi_bchusd_210924", "bch", "usd"),
    ("kraken", "FF_XBTUSD_250627", "btc", "usd"),
    ("kraken", "FF_SOLUSD_250627", "sol", "usd"),
    ("kraken", "IN_XBTUSD", None, None),  # an index
    ("kraken", "rr_xbtusd", None, None),  # a reference rate
]

FTX: list[Case] = [
    ("ftx", "BTC-PERP", "btc", None),
    ("ftx", "1INCH-PERP", "1inch", None),
    ("ftx", "PERP-PERP", "perp", None),
    ("ftx", "UST-PERP", "ust", None),  # Terra's
    ("ftx", "USDT-PERP", "usdt", None),
    ("ftx", "CUSDT-PERP", "cusdt", None),  # Compound's USDT, no C in USDT
    ("ftx", "SHIT-PERP", "shit", None),  # index
    ("ftx", "BTC-0325", "btc", None),
    ("ftx", "ETH-1230", "eth", None),
    ("ftx", "BTC-20210625", "btc", None),
    ("ftx", "BTC/USD", "btc", "usd"),
    ("ftx", "BTC-MOVE-20211225", None, None),  # how far bitcoin moves, no bitcoin
    ("ftx", "BTC-MOVE-0325", None, None),
    ("ftx", "BTC-MOVE-WK-0107", None, None),
    ("ftx", "BTC-MOVE-2022Q1", None, None),
    ("ftx", "BTC-HASH-2021Q1", None, None),
    ("ftx", "TRUMP2024", None, None),
]

KAIKO: list[Case] = [  # its own codes: pairs with a hyphen, dated contracts often without any
    ("binc", "btc-usdt", "btc", "usdt"),
    ("binc", "btc-usdc", "btc", "usdc"),
    ("binc", "1000shib-usdt", "1000shib", "usdt"),
    ("binc", "btcusdt", "btc", "usdt"),
    ("binc", "btcusdt_perp", "btc", "usdt"),
    ("binc", "btcusdt_250627", "btc", "usdt"),
    ("binc", "btcusd250627", "btc", "usd"),
    ("bbit", "btc-usdt", "btc", "usdt"),
    ("bbit", "btcusdm25", "btc", "usd"),
    ("bbit", "btcusdt27jun25", "btc", "usdt"),
    ("bbit", "btc-27jun25", "btc", None),
    ("okex", "eth-usdt", "eth", "usdt"),
    ("okex", "ethusd220624", "eth", "usd"),
    ("okex", "btcusdt220624", "btc", "usdt"),
    ("drbt", "btc-usd", "btc", "usd"),
    ("drbt", "btc-perpetual", "btc", None),
    ("drbt", "btc-27jun25", "btc", None),
    ("drbt", "btc27may22", "btc", None),
    ("drbt", "eth_usdc-perpetual", "eth", "usdc"),
    ("drbt", "btc10apr204750c", None, None),  # an option
    ("bmex", "xbt-usd", "btc", "usd"),
    ("huob", "btc-usdt", "btc", "usdt"),
    ("huob", "btc250627", "btc", None),
    ("krkn", "btc-usd-261225", "btc", "usd"),
    ("ftxx", "btc-usd", "btc", "usd"),
    ("binc", "btc-week", None, None),
    ("okex", "btc-index", None, None),
    ("bbit", "btc-move", None, None),
]

OTHERS: list[Case] = [  # exchanges of whose symbols nothing particular is known
    ("gtio", "btc-usdt", "btc", "usdt"),
    ("dydx", "BTC-USD", "btc", "usd"),
    ("coinbase_international", "BTC-PERP", "btc", None),
    ("coinbase_international", "WBTC-PERP", "wbtc", None),
    ("phemex", "BTCUSDT", "btc", "usdt"),
    ("phemex", "BTCUSD", "btc", "usd"),
    ("phemex", "BNBUSD", "bnb", "usd"),  # not BN in BUSD
    ("phemex", "DOTUSD", "dot", "usd"),  # not DO in TUSD
    ("aster", "BTCUSDT", "btc", "usdt"),
    ("phemex", "CBUSD", None, None),  # CB in USD, or C in BUSD
    ("woo x", "PERP_BTC_USDT", None, None),
    ("bitflyer", "FX_BTC_JPY", None, None),
    ("kucoin", "XBTUSDTM", None, None),
    ("lighter", "1", None, None),
    ("any", "BTC", None, None),
    ("any", "USDT", None, None),
    ("any", "FDUSD", None, None),
    ("any", "-", None, None),
    ("any", "-USDT", None, None),
    ("any", "", None, None),
]

REAL_SYMBOLS = [
    *BINANCE,
    *BYBIT,
    *OKX,
    *DERIBIT,
    *BITMEX,
    *BITFINEX,
    *BITGET,
    *GATE,
    *HUOBI,
    *HYPERLIQUID,
    *KRAKEN,
    *FTX,
    *KAIKO,
    *OTHERS,
]
