"""A server on loopback that speaks OpenAI's API, as far as clients need it: it answers what the test told it to."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

USAGE = {
    "prompt_tokens": 20,
    "completion_tokens": 6,
    "total_tokens": 26,
    "prompt_tokens_details": {"cached_tokens": 16},
    "completion_tokens_details": {"reasoning_tokens": 2},
}
WORDS = ("one ", "two ", "three ", "four")


@dataclass
class OpenAIServer:
    """`failures` are HTTP codes that it answers with first; `requests` what it was asked, as (path, body); `cut` ends
    streams after so many chunks, without usage."""

    url: str = ""
    failures: list[int] = field(default_factory=list)
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    cut: int | None = None
    model: str = "gpt-x-2026-05-01"
    served: int = 0

    def answer(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The answer to a request that is no stream."""
        if path.endswith("/embeddings"):
            vector = [{"object": "embedding", "index": 0, "embedding": [0.5]}]
            usage = {"prompt_tokens": 8, "total_tokens": 8}
            return {"object": "list", "data": vector, "model": self.model, "usage": usage}
        if path.endswith("/responses"):
            return self._response("queued" if body.get("background") else "completed")
        message = {"role": "assistant", "content": "".join(WORDS)}
        return {
            "id": f"chatcmpl-{self.served}",
            "object": "chat.completion",
            "created": 1763845200,
            "model": self.model,
            "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}],
            "usage": USAGE,
        }

    def chunks(self, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The chunks of a stream; usage only for those who asked."""
        base = {"id": "c1", "object": "chat.completion.chunk", "created": 1763845200, "model": self.model}
        for count, word in enumerate(WORDS):
            if count == self.cut:
                return
            yield {**base, "choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}]}
        yield {**base, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        if (body.get("stream_options") or {}).get("include_usage"):
            yield {**base, "choices": [], "usage": USAGE}

    def events(self) -> Iterator[dict[str, Any]]:
        """The events of a response that is streamed."""
        for count, word in enumerate(WORDS):
            yield {
                "type": "response.output_text.delta",
                "delta": word,
                "item_id": "m",
                "output_index": 0,
                "content_index": 0,
                "sequence_number": count,
                "logprobs": [],
            }
        yield {"type": "response.completed", "sequence_number": len(WORDS), "response": self._response("completed")}

    def _response(self, status: str) -> dict[str, Any]:
        text = {"type": "output_text", "text": "".join(WORDS), "annotations": []}
        message = {"id": "m", "type": "message", "role": "assistant", "status": "completed", "content": [text]}
        usage = {
            "input_tokens": 20,
            "input_tokens_details": {"cached_tokens": 16},
            "output_tokens": 6,
            "output_tokens_details": {"reasoning_tokens": 2},
            "total_tokens": 26,
        }
        done = status == "completed"
        return {
            "id": "resp_1",
            "object": "response",
            "created_at": 1763845200,
            "model": self.model,
            "status": status,
            "output": [message] if done else [],
            "usage": usage if done else None,
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
        }


@contextmanager
def openai_server() -> Iterator[OpenAIServer]:
    """Runs the server while the block does; `url` is its base URL."""
    state = OpenAIServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            state.requests.append((self.path, body))
            if state.failures:
                self._send_json({"error": {"message": "not now", "type": "server_error"}}, state.failures.pop(0))
                return
            state.served += 1
            if not body.get("stream"):
                self._send_json(state.answer(self.path, body), 200)
            elif self.path.endswith("/responses"):
                self._send_stream(state.events())
            else:
                self._send_stream(state.chunks(body))

        def _send_json(self, answer: dict[str, Any], code: int) -> None:
            payload = json.dumps(answer).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def _send_stream(self, chunks: Iterator[dict[str, Any]]) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            try:
                for chunk in chunks:
                    name = f"event: {chunk['type']}\n" if "type" in chunk else ""
                    self.wfile.write(f"{name}data: {json.dumps(chunk)}\n\n".encode())
                    self.wfile.flush()
                self.wfile.write(b"data: [DONE]\n\n")
            except (BrokenPipeError, ConnectionResetError):
                pass  # the client went away, as some tests want
            self.close_connection = True

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
