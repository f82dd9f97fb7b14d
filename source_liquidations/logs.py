"""The platform's log, by the name that the CDK gives it."""

import logging

logger = logging.getLogger("airbyte")
