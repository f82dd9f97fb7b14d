# What each connection reads. docs/operations.md explains the figures.
# Coin Metrics allows a key 6,000 requests in 20 seconds and 10 at once: all entries with that key share both.

locals {
  # Streams without a cursor. Coverage is appended, or the next sync would delete the gaps that this one found.
  lists = {
    coin_metrics_liquidation_markets = "full_refresh_overwrite"
    liquidation_coverage             = "full_refresh_append"
  }

  connections = {
    coin_metrics_okex = {
      streams      = ["coin_metrics_market_liquidations"]
      cron         = "0 5 * * * ?"
      memory_limit = "512Mi"
      source = {
        start_date  = "2019-01-01"
        num_workers = 2
        coin_metrics = {
          api_key             = var.coin_metrics_api_key
          markets             = ["okex-*-future"]
          requests_per_minute = 3500
        }
      }
    }

    coin_metrics_huobi = {
      streams      = ["coin_metrics_market_liquidations"]
      cron         = "0 20 * * * ?"
      memory_limit = "512Mi"
      source = {
        start_date  = "2019-01-01"
        num_workers = 2
        coin_metrics = {
          api_key             = var.coin_metrics_api_key
          markets             = ["huobi-*-future"]
          requests_per_minute = 3500
        }
      }
    }

    coin_metrics_binance = {
      streams      = ["coin_metrics_market_liquidations"]
      cron         = "0 35 * * * ?"
      memory_limit = "512Mi"
      source = {
        start_date  = "2019-01-01"
        num_workers = 2
        coin_metrics = {
          api_key             = var.coin_metrics_api_key
          markets             = ["binance-*-future"]
          requests_per_minute = 3500
        }
      }
    }

    # The smaller five: 248 markets together.
    coin_metrics_others = {
      streams      = ["coin_metrics_market_liquidations"]
      cron         = "0 50 * * * ?"
      memory_limit = "512Mi"
      source = {
        start_date  = "2019-01-01"
        num_workers = 2
        coin_metrics = {
          api_key = var.coin_metrics_api_key
          markets = [
            "bitfinex-*-future",
            "bitmex-*-future",
            "bybit-*-future",
            "deribit-*-future",
            "kraken-*-future",
          ]
          requests_per_minute = 3500
        }
      }
    }

    # FTX closed in November 2022: run it once, by hand.
    coin_metrics_ftx = {
      streams      = ["coin_metrics_market_liquidations"]
      cron         = ""
      memory_limit = "512Mi"
      source = {
        start_date  = "2019-01-01"
        end_date    = "2022-11-13"
        num_workers = 1
        coin_metrics = {
          api_key             = var.coin_metrics_api_key
          markets             = ["ftx-*-future"]
          requests_per_minute = 3500
        }
      }
    }

    # Once a day, all pages of the list of markets: contract sizes, and what is known to be missing.
    lists = {
      streams      = ["coin_metrics_liquidation_markets", "liquidation_coverage"]
      cron         = "0 0 6 * * ?"
      memory_limit = "512Mi"
      source = {
        start_date  = "2019-01-01"
        num_workers = 1
        coin_metrics = {
          api_key             = var.coin_metrics_api_key
          markets             = ["binance-BTCUSDT-future"]
          requests_per_minute = 60
        }
      }
    }

    kaiko = {
      streams      = ["kaiko_liquidation_events", "kaiko_token_liquidation_volumes", "liquidation_coverage"]
      cron         = "0 10 * * * ?"
      memory_limit = "512Mi"
      source = {
        start_date  = "2025-01-08"
        num_workers = 8
        kaiko = {
          api_key     = var.kaiko_api_key
          instruments = ["bbit/perpetual-future/*-usdt", "okex/perpetual-future/*-usdt"]
          assets      = ["btc", "eth"]
        }
      }
    }

    # Daily, with a short lookback: you pay again for rows that are read again.
    kwery = {
      streams      = ["kwery_liquidations", "liquidation_coverage"]
      cron         = "0 30 0 * * ?"
      memory_limit = "512Mi"
      source = {
        start_date      = "2026-01-01"
        lookback_window = "PT5M"
        num_workers     = 4
        kwery = {
          api_key              = var.kwery_api_key
          symbols              = ["BTC", "ETH", "SOL", "XRP"]
          max_credits_per_sync = 2000000
        }
      }
    }

    # A plan of 90 days: with a fixed date, a market that is listed later would start before the plan's history.
    kiyotaka = {
      streams      = ["kiyotaka_liquidation_agg", "liquidation_coverage"]
      cron         = "0 15 * * * ?"
      memory_limit = "512Mi"
      source = {
        start_date  = "P90D"
        num_workers = 2
        kiyotaka = {
          api_key             = var.kiyotaka_api_key
          symbols             = ["BINANCE_FUTURES/*USDT", "BYBIT/*USDT"]
          denomination        = "usd"
          requests_per_minute = 100
        }
      }
    }
  }
}
