"""The wire language between host and runner app: messages, framing, a session without I/O, and a client over streams.

`harness.runner.app` is the other end: the app that a virtual iPhone runs. The two share no code, only the golden
files under `ios_runner_app/Tests/Fixtures/`.
"""
