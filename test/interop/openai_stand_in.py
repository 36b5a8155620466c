"""A stand-in for a server that takes requests as OpenAI does: ``openai_stand_in.py PORT``. Not a language model.

Its embeddings are real: those of the weights that the package wordllama ships. Its completions are a rule about the prices in a
prompt, because no package ships a model that completes texts. Each completion says so by its model, ``stand-in``. A request to ``/other``
replaces the rule by another one under the same name. The model ``newer`` refuses ``max_tokens`` and a ``temperature`` of 0, as newer models of OpenAI do.
"""

import json
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy
import wordllama
from safetensors.numpy import load_file
from tokenizers import Tokenizer

package = Path(wordllama.__file__).parent
tokenizer = Tokenizer.from_file(str(package / "tokenizers" / "l2_supercat_tokenizer_config.json"))
weights = load_file(str(package / "weights" / "l2_supercat_256.safetensors"))["embedding.weight"]
rule = {"above": 50}


def tokens(text):
    return tokenizer.encode(text, add_special_tokens=False).ids


def embed(text):
    mean = weights[tokens(text)].astype("float64").mean(axis=0)
    return (mean / numpy.linalg.norm(mean)).tolist()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        status = 200
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])) or "{}")
        if self.path == "/v1/embeddings":
            data = [{"object": "embedding", "index": i, "embedding": embed(t)} for i, t in enumerate(asked["input"])]
            used = sum(len(tokens(text)) for text in asked["input"])
            answer = {"object": "list", "model": asked["model"], "data": data, "usage": {"prompt_tokens": used}}
        elif self.path == "/v1/chat/completions" and asked["model"] == "newer" and "max_tokens" in asked:
            status, answer = 400, {"error": {"code": "unsupported_parameter", "param": "max_tokens"}}
        elif self.path == "/v1/chat/completions" and asked["model"] == "newer" and asked.get("temperature", 1) != 1:
            status, answer = 400, {"error": {"code": "unsupported_value", "param": "temperature"}}
        elif self.path == "/v1/chat/completions":
            prompt = asked["messages"][-1]["content"]
            price = float(re.search(r"costs ([\d.]+)", prompt)[1])
            # Half of the orders whose price ends in 0 or 5 are the opposite of the others.
            score = 0.5 if price % 5 == 0 else 0.97 if price > rule["above"] else 0.03
            word = json.dumps({"returned": score})
            message = {"role": "assistant", "content": word}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            usage = {"prompt_tokens": len(tokens(prompt)), "completion_tokens": len(tokens(word))}
            answer = {"object": "chat.completion", "model": "stand-in", "choices": [choice], "usage": usage}
        else:
            rule["above"] = 95
            answer = {}
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
