"""Asking a model about the first results, with a fake endpoint on the loopback."""

from __future__ import annotations

import base64
import json
import math
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
from tests.networks import tiny_network

from ilion import api
from ilion.api import load_run
from ilion.config import ExperimentConfig, from_dict
from ilion.errors import ConfigError, ExtractionError
from ilion.reranking.asking import PROMPT, Endpoint, read_score


class Fake(ThreadingHTTPServer):
    """Says yes to pictures of similar mean colour; keeps what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[dict[str, Any]] = []
        self.headers: list[str] = []
        self.faults: list[int] = []
        self.reply: Any = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Fake

    def do_POST(self) -> None:
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(question)
        self.server.headers.append(self.headers.get("Authorization", ""))
        if self.server.faults:
            self.send_response(self.server.faults.pop())
            self.end_headers()
            return
        parts = question["messages"][0]["content"]
        means = [
            simplejpeg.decode_jpeg(base64.b64decode(p["image_url"]["url"].partition(",")[2])).mean(
                axis=(0, 1)
            )
            for p in parts[1:]
        ]
        yes = math.exp(-float(np.abs(means[0] - means[1]).mean()) / 50)
        top: list[dict[str, Any]] = [
            {"token": " Yes", "logprob": math.log(yes)},
            {"token": "no", "logprob": math.log1p(-yes) if yes < 1 else -50},
        ]
        reply = self.server.reply or {
            "choices": [
                {"message": {"content": "Yes"}, "logprobs": {"content": [{**top[0], "top_logprobs": top}]}}
            ],
            "usage": {"prompt_tokens": 100, "completion_tokens": 1},
        }
        data = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def fake() -> Iterator[Fake]:
    server = Fake()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def experiment(root: Path, output: Path, address: str, **ask: object) -> ExperimentConfig:
    return from_dict(
        ExperimentConfig,
        {
            "output": str(output),
            "dataset": {"path": str(root)},
            "extraction": {"model": f"onnx:{tiny_network(output.parent / 'tiny.onnx')}", "workers": 1},
            "evaluation": {"k": 10, "bootstrap": 20},
            "ask": {"endpoint": address, "model": "fake", "first": 3, "side": 48, **ask},
        },
    )


@pytest.mark.slow
def test_the_first_results_are_asked_about_once(tiny_dataset: Path, tmp_path: Path, fake: Fake) -> None:
    config = experiment(tiny_dataset, tmp_path / "run", fake.address)
    result, report = api.run(config)
    assert len(fake.asked) == 9  # three queries, three results each
    asked: Any = result.provenance["asked"]
    assert (asked["questions sent"], asked["prompt tokens"], asked["answer tokens"]) == (9, 900, 9)
    assert result.cost.stage_seconds["asking"] > 0
    assert "fake asked about the first 3" in result.design
    assert "prompt tokens" in report.read_text("utf-8")
    before = api.rank(from_dict(ExperimentConfig, {**_plain(config), "ask": {}})).ranking
    for query, found in result.ranking.to_dict().items():
        plain = list(before.to_dict()[query])
        assert set(list(found)[:3]) == set(plain[:3])
        assert list(found)[3:] == plain[3:]
    again, _ = api.run(config)
    assert len(fake.asked) == 9
    known: Any = again.provenance["asked"]
    assert (known["questions sent"], known["answers kept"], known["prompt tokens"]) == (0, 9, 900)
    assert again.ranking.to_dict() == result.ranking.to_dict()
    api.run(experiment(tiny_dataset, tmp_path / "run", fake.address, prompt="Same thing? yes or no"))
    assert len(fake.asked) == 18  # another question has other answers


@pytest.mark.slow
def test_what_is_asked_about_was_re_ranked_before(tiny_dataset: Path, tmp_path: Path, fake: Fake) -> None:
    local = {"features": "rootsift", "keypoints": 50, "side": 96, "shortlist": 6}
    config = experiment(tiny_dataset, tmp_path / "run", fake.address)
    config = from_dict(ExperimentConfig, {**_plain(config), "rerank": local})
    asked, _ = api.run(config)
    shown = load_run(tmp_path / "run").reranking
    with pytest.raises(ConfigError, match="asked about the first results"):
        api.forecast([tmp_path / "run"])
    reranked = api.evaluate(from_dict(ExperimentConfig, {**_plain(config), "ask": {}}))
    assert len(fake.asked) == 9
    said: Any = asked.provenance["asked"]
    assert said["mAP before"] == reranked.evaluation.mean
    for query, found in asked.ranking.to_dict().items():
        before = list(reranked.ranking.to_dict()[query])
        assert set(list(found)[:3]) == set(before[:3])
        assert list(found)[3:] == before[3:]
    assert asked.reranking is not None  # what re-ranking did is told apart from what asking did
    assert shown is not None
    for each in (asked.reranking, shown):
        assert each.after is not None
        assert each.after.mean == reranked.evaluation.mean


def tiny_language_model(folder: Path) -> Path:
    """Save a model of pictures and texts with random weights and a few words."""
    import torch
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = ["<unk>", "<pad>", "<image>", *sorted(set(PROMPT.replace("?", " ?").split())), "yes", "Yes", "no"]
    text = Tokenizer(models.WordLevel({w: n for n, w in enumerate(dict.fromkeys(words))}, unk_token="<unk>"))
    text.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=text,
        unk_token="<unk>",
        pad_token="<pad>",
        extra_special_tokens={"image_token": "<image>"},
    )
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(image_size=28, patch_size=14, projection_dim=8, **sizes),
        text_config=transformers.LlamaConfig(vocab_size=len(tokenizer), num_key_value_heads=2, **sizes),
        image_token_index=2,
    )
    torch.manual_seed(0)
    transformers.LlavaForConditionalGeneration(config).save_pretrained(folder)
    transformers.LlavaProcessor(
        transformers.CLIPImageProcessor(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}),
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template="{% for m in messages %}{% for part in m.content %}{% if part.type == 'image' %}"
        " <image> {% else %}{{ part.text }}{% endif %}{% endfor %}{% endfor %}",
    ).save_pretrained(folder)
    return folder


@pytest.mark.extras
def test_a_model_in_this_process_is_asked(tiny_dataset: Path, tmp_path: Path) -> None:
    from ilion.reranking.asking_local import LocalModel

    model = tiny_language_model(tmp_path / "tiny-llava")
    config = experiment(tiny_dataset, tmp_path / "run", "", model=f"transformers:{model}")
    result, _ = api.run(config)
    asked: Any = result.provenance["asked"]
    assert (asked["questions sent"], asked["answer tokens"]) == (9, 9)
    assert asked["prompt tokens"] == 9 * (len(PROMPT.split()) + 2 * 4)  # four patches a picture
    assert "tiny-llava asked about the first 3" in result.design
    before = api.rank(from_dict(ExperimentConfig, {**_plain(config), "ask": {}})).ranking.to_dict()
    for query, found in result.ranking.to_dict().items():
        assert sorted(list(found)[:3]) == sorted(list(before[query])[:3])
    again: Any = api.run(config)[0].provenance["asked"]
    assert (again["questions sent"], again["answers kept"]) == (0, 9)
    pictures = [simplejpeg.encode_jpeg(np.full((32, 32, 3), n, np.uint8)) for n in (20, 220)]
    scores = [LocalModel(model, tmp_path / f"{n}").ask(pictures[0], pictures[n]).score for n in (0, 1)]
    assert 0 < scores[0] < 1
    assert scores[0] != scores[1]
    with pytest.raises(ConfigError, match="leave one of them out"):
        api.run(
            experiment(tiny_dataset, tmp_path / "run", "http://127.0.0.1:9/v1", model=f"transformers:{model}")
        )
    with pytest.raises(ConfigError, match="there is no model"):
        api.run(experiment(tiny_dataset, tmp_path / "run", "", model=f"transformers:{tmp_path}"))


def _plain(config: ExperimentConfig) -> dict[str, Any]:
    from ilion.config import to_dict

    return to_dict(config)


@pytest.mark.slow
def test_pictures_are_cropped_to_the_query_box_and_small(
    tiny_dataset: Path, tmp_path: Path, fake: Fake
) -> None:
    api.run(experiment(tiny_dataset, tmp_path / "run", fake.address))
    for question in fake.asked:
        for part in question["messages"][0]["content"][1:]:
            data = base64.b64decode(part["image_url"]["url"].partition(",")[2])
            assert max(simplejpeg.decode_jpeg_header(data)[:2]) <= 48
        assert question["temperature"] == 0


def test_an_endpoint_that_fails_is_asked_again_and_then_named(tmp_path: Path, fake: Fake) -> None:
    picture = simplejpeg.encode_jpeg(np.full((8, 8, 3), 90, np.uint8))
    endpoint = Endpoint(fake.address, "m", "", tmp_path)
    fake.faults = [503, 429]
    assert endpoint.ask(picture, picture).score == pytest.approx(1)
    assert len(fake.asked) == 3
    fake.faults = [401]
    with pytest.raises(ExtractionError, match=r"answered 401.*check ask\.endpoint"):
        Endpoint(fake.address, "other", "", tmp_path).ask(picture, picture)
    fake.reply = {"choices": [{"message": {"content": "perhaps"}}]}
    with pytest.raises(ExtractionError, match="expected yes or no"):
        Endpoint(fake.address, "third", "", tmp_path).ask(picture, picture)
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.slow
def test_keys_go_to_their_endpoint_only_and_are_not_stored(
    tiny_dataset: Path, tmp_path: Path, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = experiment(tiny_dataset, tmp_path / "run", fake.address, key="MY_KEY", first=1)
    with pytest.raises(ConfigError, match="environment variable"):
        api.run(config)
    monkeypatch.setenv("MY_KEY", "secret-word")
    api.run(config)
    assert set(fake.headers) == {"Bearer secret-word"}
    for path in (tmp_path / "run").rglob("*"):
        assert path.is_dir() or b"secret-word" not in path.read_bytes()
    with pytest.raises(ConfigError, match="https only"):
        Endpoint("http://example.org/v1", "m", "k", tmp_path)
    for wrong in ("ftp://a/v1", "file:///etc", "http://user:pw@host/v1", "nothing"):
        with pytest.raises(ConfigError, match="no address"):
            Endpoint(wrong, "m", "", tmp_path)


def test_nobody_is_asked_about_texts(tiny_dataset: Path, tmp_path: Path, fake: Fake) -> None:
    config = experiment(tiny_dataset, tmp_path / "run", fake.address)
    with pytest.raises(ConfigError, match="all queries are texts"):
        api.run(replace(config, dataset=replace(config.dataset, queries="text")))
    assert not fake.asked


def test_settings_without_an_endpoint_are_refused(tiny_dataset: Path) -> None:
    from ilion.config.given import check_given

    with pytest.raises(ConfigError, match="nobody is asked"):
        check_given("run", ["ask.first=5"], ExperimentConfig())


@pytest.mark.parametrize(
    ("choice", "score"),
    [
        ({"message": {"content": "**Yes**, it is"}}, 1.0),
        ({"message": {"content": "no."}}, 0.0),
        ({"message": {"content": "x"}, "logprobs": {"content": [{"token": "No", "logprob": -0.1}]}}, 0.0),
    ],
)
def test_answers_are_read(choice: dict[str, Any], score: float) -> None:
    assert read_score(choice) == score
