"""``maskdepth serve``: predictions over HTTP and WebSocket, bounded in memory, time and disk.

`run` starts it. A request goes through `guard` (host, origin, token, log), `app` (the routes),
`uploads` (its body), `queue` (what waits for the network) and `answers` (its coding).
"""
