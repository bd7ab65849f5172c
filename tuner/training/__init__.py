"""The training core: one loop that knows neither methods, nor nets, nor who reads its rows."""
