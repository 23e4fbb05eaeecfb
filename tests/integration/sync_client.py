"""The vendor's synchronous calls by name, with bodies as its pages show them, and a reader of its streams."""

import base64
import json
from dataclasses import dataclass
from typing import Any

import httpx

from tests.integration.vendor_client import VendorClient

NATIVE = "/services/aigc/multimodal-generation/generation"
SSE = {"X-DashScope-SSE": "enable"}


@dataclass(frozen=True)
class Event:
    """One server-sent event: its fields, its comments, its data as JSON (`[DONE]` stays text)."""

    fields: dict[str, str]
    comments: list[str]
    data: Any


def data_uri(content: bytes, mime: str = "audio/wav") -> str:
    return f"data:{mime};base64,{base64.b64encode(content).decode()}"


def read_events(text: str) -> list[Event]:
    """The whole events of a stream; a piece of one at its end is dropped."""
    return [_read_event(block) for block in text.split("\n\n")[:-1]]


def _read_event(block: str) -> Event:
    fields: dict[str, str] = {}
    comments: list[str] = []
    for line in block.split("\n"):
        name, _, value = line.partition(":")
        if name:
            fields[name] = value.removeprefix(" ")
        else:
            comments.append(value)
    data = fields["data"]
    return Event(fields, comments, data if data == "[DONE]" else json.loads(data))


def qwen_body(audio: object, *, context: str | None = None, **parameters: object) -> dict[str, Any]:
    messages: list[dict[str, Any]] = [{"role": "user", "content": [{"audio": audio}]}]
    if context is not None:
        messages.insert(0, {"role": "system", "content": [{"text": context}]})
    return {"model": "qwen3-asr-flash", "input": {"messages": messages}, "parameters": parameters}


def short_body(audio: object, **parameters: object) -> dict[str, Any]:
    content = [{"type": "input_audio", "input_audio": {"data": audio}}]
    return {
        "model": "fun-asr-flash",
        "input": {"messages": [{"role": "user", "content": content}]},
        "parameters": {"format": "wav", **parameters},
    }


def chat_body(audio: object, prompt: str | None = None, **fields: object) -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"type": "input_audio", "input_audio": {"data": audio}}]
    if prompt is not None:
        content.append({"type": "text", "text": prompt})
    return {"model": "qwen3-asr-flash", "messages": [{"role": "user", "content": content}], **fields}


def omni_body(audio: object, prompt: str | None = None, **fields: object) -> dict[str, Any]:
    return chat_body(audio, prompt, **{"model": "qwen3.5-omni-flash", "stream": True, **fields})


async def native(client: VendorClient, body: object, **headers: str) -> httpx.Response:
    return await client.call("POST", NATIVE, json=body, headers=headers)


async def chat(client: VendorClient, body: object, **headers: str) -> httpx.Response:
    url = f"{client.simulator.chat_base_url}/chat/completions"
    given = {"Authorization": f"Bearer {client.key}", **headers}
    return await client.http.post(url, json=body, headers=given)
