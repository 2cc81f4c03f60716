"""A server in this process with true log-probs of a tiny random model, which answers what a test asks."""

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


class Served:
    """The tiny model as a server answers; `fault` says what it does wrong, `busy` how often it refuses."""

    def __init__(self, directory, *, text=False, bos=False, fault="", busy=0):
        self.tokenizer = AutoTokenizer.from_pretrained(directory)
        self.model = AutoModelForCausalLM.from_pretrained(directory).eval()
        self.bos = [self.tokenizer.bos_token_id] if bos else []
        self.text, self.fault, self.busy, self.asked = text, fault, busy, 0
        self.lock = threading.Lock()
        self.changed = lambda answer: answer  # what a test makes of an answer; bytes are sent as they are
        self.lists = None  # in place of the list of models
        self.key = None  # what it asks for in every request
        self.says = {"id": "tiny", "object": "model", "owned_by": "test", "created": time.time()}

    @torch.no_grad()
    def complete(self, body):
        given = body["prompt"]
        if self.text and not isinstance(given, str):
            return 422, {"detail": "prompt must be a string"}
        if self.text:
            ids = self.tokenizer(given, add_special_tokens=False)["input_ids"]
            bos = self.bos
        else:
            ids = self.tokenizer(given)["input_ids"] if isinstance(given, str) else given
            bos = []
        logits = self.model(torch.tensor([[*bos, *ids]])).logits[0].float().log_softmax(-1)
        made = int(logits[-1].argmax())
        whole = [*ids, made]
        at = len(bos) - 1
        logps = [None if i + at < 0 else float(logits[i + at, t]) for i, t in enumerate(whole)]
        names = [self.tokenizer.decode([i]) for i in whole] if self.text else [f"token_id:{i}" for i in whole]
        if self.fault == "shifted":
            logps[1:-1] = [*logps[2:-1], logps[1]]
        if self.fault == "other tokens":
            names[1] = "token_id:7" if whole[1] != 7 else "token_id:8"
        choice = {"text": "", "logprobs": {"tokens": names, "token_logprobs": logps}}
        usage = {"prompt_tokens": len(bos) + len(ids), "completion_tokens": 1}
        choice |= {"logprobs": None} if self.fault == "no logprobs" else {}
        return 200, self.changed({"choices": [choice], "usage": usage})


class LikeLlamaCpp(Served):
    """As llama-cpp-python 0.3.36 answers: 500 to ids; it shows no BOS, nor the first log-prob of the rest.

    Without a BOS in front, log-probs are those of the token before, and no generated token is shown.
    """

    @torch.no_grad()
    def complete(self, body):
        given, bos = body["prompt"], self.tokenizer.bos_token_id
        if not isinstance(given, str):
            return 500, {"error": {"message": "4 validation errors: Input should be a valid string"}}
        ids = self.tokenizer(given, add_special_tokens=False)["input_ids"]
        rows = self.model(torch.tensor([ids])).logits[0].float().log_softmax(-1)
        whole = [*ids[ids[0] == bos :], int(rows[-1].argmax())]
        shown = [(t, float(row[t])) for t, row in zip(whole, rows, strict=False) if t != bos]
        names = [self.tokenizer.decode([t]) for t, _ in shown]
        logps = [None, *(logp for _, logp in shown[1:])]
        choice = {"text": "", "logprobs": {"tokens": names, "token_logprobs": logps}}
        return 200, {"choices": [choice], "usage": {"prompt_tokens": len(ids), "completion_tokens": 1}}


@contextmanager
def running(served):
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def reply(self, status, value, kind="application/json"):
            data = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self):
            if self.headers.get("Authorization") != (f"Bearer {served.key}" if served.key else None):
                self.reply(401, {"error": {"message": "invalid API key"}})
            elif served.lists is not None:
                self.reply(200, served.lists)
            elif served.fault == "page":
                self.reply(200, b"<html>hello</html>", "text/html")
            elif self.path == "/v1/models":
                self.reply(200, {"data": [served.says, *getattr(served, "more", ())]})
            else:
                self.reply(404, {"error": {"message": "no such place"}})

        def do_POST(self):
            with served.lock:
                served.asked += 1
                busy, served.busy = served.busy > 0, served.busy - 1
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.headers.get("Authorization") != (f"Bearer {served.key}" if served.key else None):
                self.reply(401, {"error": {"message": "invalid API key"}})
            elif busy or served.fault == "broken":
                self.reply(500, {"error": {"message": "out of luck"}})
            elif served.fault == "slow":
                time.sleep(0.5)
            else:
                with served.lock:
                    answer = served.complete(body)
                self.reply(*answer)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
