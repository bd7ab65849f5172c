"""Ray Tune and Optuna at work for a campaign. Nothing outside this package imports either of them."""

import os

# `uv run` would make Ray zip this folder and build a second environment for its workers, which on one machine costs
# time and gains nothing. Ray reads it at import, so it stands before every import of ray. On a cluster, set it to 1.
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")

# A Ray that is started here listens on the loopback address alone, which Ray does by default on the systems in the name
# and has no other word for. A driver that joins a cluster is not affected. Set it to 1 for a Ray that others may join.
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
