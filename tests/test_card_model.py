"""The card model obeys physics: more of a resource is never slower, more work never faster, queues fill by Little."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from infertune.targets.qaic.sim.card import CARDS, Card
from infertune.targets.qaic.sim.compiling import compile_seconds, crowding
from infertune.targets.qaic.sim.constants import fitted
from infertune.targets.qaic.sim.device import device_time
from infertune.targets.qaic.sim.encoders import EncoderShape, encoder_workload
from infertune.targets.qaic.sim.model import Prediction, noisy, predict
from infertune.targets.qaic.sim.setting import Options, Setting
from infertune.targets.qaic.sim.sheet import Point, sheet_of
from infertune.targets.qaic.sim.split import ROW_RUN, dealt, split_of, vector_share
from infertune.targets.qaic.sim.workload import BLOCK_ROWS, Workload, convolution, dense, product, vector

SHAPE = EncoderShape(layers=12, hidden=768, heads=12, intermediate=3072, head="answer")
BERT = encoder_workload("bert-base", SHAPE)
PRO, STANDARD = CARDS["pro"], CARDS["standard"]
ROUNDING = 1.002  # where the clock answers to load, or corners between limits are rounded


@st.composite
def points(draw: st.DrawFn) -> Setting:
    cores = draw(st.integers(1, 14))
    return Setting(
        cores=cores,
        batch=draw(st.integers(1, 24)),
        instances=draw(st.integers(1, 14 // cores)),
        set_size=draw(st.integers(1, 12)),
        mos=draw(st.integers(0, cores)),
        ols=draw(st.integers(0, 8)),
        multicast=draw(st.booleans()),
    )


def rate(setting: Setting, card: Card = STANDARD, workload: Workload = BERT) -> float:
    found = predict(workload, replace(card, ddr_bytes=1 << 50), setting)
    assert found.feasible, found.reason
    return found.throughput_per_s


def read_bytes(workload: Workload, setting: Setting, *, passes: bool = False) -> float:
    sheet = sheet_of([Point(workload=workload, card=STANDARD, setting=setting)])
    sheet = sheet if passes else replace(sheet, passes=None)
    return float(device_time(sheet, fitted()).read_bytes[0])


@given(points(), st.floats(1.0, 4.0))
def test_more_memory_bandwidth_is_never_slower(setting: Setting, factor: float) -> None:
    faster = replace(STANDARD, ddr_bytes_per_s=STANDARD.ddr_bytes_per_s * factor)
    assert rate(setting, faster) >= rate(setting) / ROUNDING


@given(points(), st.floats(1.0, 4.0))
def test_more_fast_memory_is_never_slower(setting: Setting, factor: float) -> None:
    larger = replace(STANDARD, fast_memory_bytes=round(STANDARD.fast_memory_bytes * factor))
    assert rate(setting, larger) >= rate(setting) / ROUNDING


@given(points(), st.floats(400.0, 1400.0))
def test_a_capped_clock_is_never_faster(setting: Setting, mhz: float) -> None:
    assert rate(setting, replace(STANDARD, capped_mhz=mhz)) <= rate(setting) * ROUNDING


@given(points(), st.integers(1, 5))
def test_more_requests_queued_are_never_slower(setting: Setting, more: int) -> None:
    assert rate(replace(setting, set_size=setting.set_size + more)) >= rate(setting) / ROUNDING


@given(points())
@example(Setting(cores=11, batch=8, mos=3))  # 9 samples could be cut 3 x 3, over channels
def test_a_larger_batch_takes_longer_as_a_whole(setting: Setting) -> None:
    larger = replace(setting, batch=setting.batch + 1)
    assert predict(BERT, STANDARD, larger).service_ns >= predict(BERT, STANDARD, setting).service_ns / ROUNDING


@given(points(), st.sampled_from(["layers", "intermediate", "sequence"]))
def test_a_larger_network_is_never_faster(setting: Setting, part: str) -> None:
    larger = encoder_workload("larger", replace(SHAPE, **{part: 2 * getattr(SHAPE, part)}))
    assert rate(setting, workload=larger) <= rate(setting) * ROUNDING


@given(points(), st.integers(1 << 20, 1 << 28))
def test_larger_outputs_are_never_faster(setting: Setting, more: int) -> None:
    assert rate(setting, workload=replace(BERT, output_bytes=BERT.output_bytes + more)) <= rate(setting) * ROUNDING


@given(points())
def test_reading_weights_once_is_never_much_slower_than_repeating_them(setting: Setting) -> None:
    # receivers of a multicast have to be ready, which may cost a little where memory is no limit
    once, repeated = replace(setting, multicast=True), replace(setting, multicast=False)
    assert rate(once) >= 0.9 * rate(repeated)


def test_without_multicast_cores_with_samples_of_their_own_read_weights_again() -> None:
    """Cores of one sample share what they read: published rows of one on 14 cores leave the bus no room for more."""
    alone = Setting(cores=8, batch=1, instances=1, multicast=False)
    assert read_bytes(BERT, alone) == read_bytes(BERT, replace(alone, multicast=True))
    eight = replace(alone, batch=8)
    more = read_bytes(BERT, eight) - read_bytes(BERT, replace(eight, multicast=True))
    assert more == pytest.approx(fitted().repeat_share * 7 * BERT.weight_bytes)
    assert fitted().repeat_share > 0.1


@given(points())
def test_the_link_and_the_memory_bus_are_never_exceeded(setting: Setting) -> None:
    wide = replace(BERT, output_bytes=64 << 20)
    moved = rate(setting, workload=wide) * (wide.input_bytes + wide.output_bytes)
    assert moved <= 16e9  # PCIe Gen4 x8
    assert rate(setting) / setting.batch * BERT.weight_bytes <= 137e9


@given(points())
def test_latency_follows_from_the_rate(setting: Setting) -> None:
    """Little's law; between two requests a slot waits for the host a moment, which no request's latency holds."""
    found = predict(BERT, STANDARD, setting)
    in_flight = setting.instances * setting.set_size
    cycle_ns = 1e9 * in_flight * setting.batch / found.throughput_per_s
    assert 0 <= cycle_ns - found.latency.total_ns <= 100e3


@given(points())
def test_predictions_are_pure_and_complete(setting: Setting) -> None:
    found = predict(BERT, STANDARD, setting)
    assert found == predict(BERT, STANDARD, setting)
    assert min(found.latency.application_ns, found.latency.device_ns, found.service_ns, found.device_bytes) > 0
    assert 0 < found.request_spread < 1
    assert found.compile_s > 3


@given(st.integers(1, 32), st.integers(1, 16), st.integers(1, 16), st.sampled_from([1, 128, 197, 384]))
def test_no_core_gets_less_than_its_even_share(batch: int, cores: int, limit: int, rows: int) -> None:
    for op in (dense(rows, 768, 768), product(12, rows, 64, rows)):
        cut = split_of(op, batch, cores, min(limit, cores))
        ways = cut.samples * cut.row_ways * cut.channel_ways
        real = op.rows / (op.blocks * BLOCK_ROWS) if op.rows else 1.0
        assert ways <= cores
        assert real / cores - 1e-12 <= cut.share <= 1
        assert split_of(op, batch, cores + 1, min(limit, cores)).share <= cut.share
    assert 1 / cores - 1e-12 <= vector_share(batch, cores) <= 1


@pytest.mark.parametrize(
    ("batch", "cores", "turns", "own"), [(16, 8, 2, 1), (16, 13, 2, 1), (16, 5, 4, 1), (8, 8, 1, 1), (4, 14, 1, 3)]
)
def test_samples_stay_whole_or_have_cores_of_their_own(batch: int, cores: int, turns: int, own: int) -> None:
    assert dealt(batch, cores) == (turns, own)
    cut = split_of(dense(128, 768, 768), batch, cores, 1)
    runs = 128 // ROW_RUN
    assert cut.share == pytest.approx(turns / batch * math.ceil(runs / own) / runs)
    assert vector_share(batch, cores) == turns / (batch * own)


def test_more_cores_than_whole_samples_can_use_do_not_help() -> None:
    """As published of both networks: 16 samples on 12 or 13 cores take as long as on 8."""
    eight, thirteen = (predict(BERT, PRO, Setting(cores=cores, batch=16)).service_ns for cores in (8, 13))
    assert eight <= thirteen <= 1.2 * eight


def test_samples_of_one_row_share_a_block_of_the_matrix_unit() -> None:
    layer = dense(1, 1024, 1024)
    work = {batch: batch * split_of(layer, batch, 1, 1).share for batch in (1, 32, 33)}
    assert work == pytest.approx({1: 1.0, 32: 1.0, 33: 2.0})


@given(st.integers(1, 64), st.integers(1, 14), st.sampled_from([64, 256, 1024]))
def test_no_more_is_spilled_than_operators_read_and_write(batch: int, cores: int, sequence: int) -> None:
    found = encoder_workload("long", replace(SHAPE, sequence=sequence))
    setting = Setting(cores=cores, batch=batch, instances=1, set_size=1)
    moved = sum(op.times * (op.in_bytes + op.out_bytes) for op in found.ops) * batch
    known = {"weights": found.weight_bytes, "looked up": batch * 2 * sequence * 768}
    read = read_bytes(found, setting)
    assert sum(known.values()) * 0.999 <= read <= (sum(known.values()) + moved) * 1.001


@given(st.integers(1, 64), st.integers(1, 13), st.sampled_from([64, 256, 1024]))
@example(16, 4, 256)
def test_more_cores_never_move_more_bytes_for_the_same_batch(batch: int, cores: int, sequence: int) -> None:
    found = encoder_workload("long", replace(SHAPE, sequence=sequence))
    fewer, more = (read_bytes(found, Setting(cores=n, batch=batch)) for n in (cores, cores + 1))
    assert more <= fewer * 1.000001


def test_every_core_spills_what_its_own_samples_leave_over() -> None:
    """Nine samples on eight cores: one core holds two of them, and the others do not spill for it."""
    wide = Workload(name="wide", ops=(vector("move", 3 << 20, live_bytes=6 << 20),), input_bytes=8, output_bytes=8)
    assert read_bytes(wide, Setting(cores=8, batch=8)) == 0
    two = read_bytes(wide, Setting(cores=1, batch=2))
    assert two > 0
    assert read_bytes(wide, Setting(cores=8, batch=9)) == pytest.approx(two)
    assert read_bytes(wide, Setting(cores=8, batch=16)) == pytest.approx(8 * two)


LONG = encoder_workload("long", replace(SHAPE, sequence=512))


@settings(deadline=None)  # the first look at a size is slow
@given(st.sampled_from([BERT, LONG]), points(), st.integers(2, 4))
@example(LONG, Setting(cores=2, batch=1, instances=7), 8)
def test_a_request_takes_no_longer_than_parts_of_it_in_turn(workload: Workload, part: Setting, parts: int) -> None:
    whole = replace(part, batch=parts * part.batch)
    room = replace(STANDARD, ddr_bytes=1 << 50)
    one, all_parts = (predict(workload, room, setting).service_ns for setting in (part, whole))
    assert all_parts <= parts * one * (1 + fitted().pass_loss) * ROUNDING


@settings(deadline=None)
@given(st.sampled_from([BERT, LONG]), points())
def test_a_larger_batch_in_passes_takes_longer_too(workload: Workload, setting: Setting) -> None:
    larger = replace(setting, batch=setting.batch + 1)
    room = replace(STANDARD, ddr_bytes=1 << 50)
    assert predict(workload, room, larger).service_ns >= predict(workload, room, setting).service_ns / ROUNDING


@pytest.mark.parametrize("cores", [6, 14, 16])
def test_the_sample_that_gives_every_core_its_own_is_not_free(cores: int) -> None:
    """Where no two cores can share a sample, heads of attention are not cut either."""
    fewer, full = (predict(BERT, PRO, Setting(cores=cores, batch=batch)).service_ns for batch in (cores - 1, cores))
    assert fewer <= full * (1 + 1e-6)


def test_batch_16_adds_about_nothing_to_8() -> None:
    """As the vendor's chart says; the published searches turned it down, and a published row is 11 % behind."""
    eight, sixteen = (rate(Setting(cores=2, batch=batch, instances=7)) for batch in (8, 16))
    assert 0.9 * eight <= sixteen <= eight


def test_passes_read_the_weights_again() -> None:
    setting = Setting(cores=1, batch=16, instances=1)
    assert 2 * BERT.weight_bytes <= read_bytes(BERT, setting, passes=True) < read_bytes(BERT, setting)
    assert read_bytes(BERT, replace(setting, cores=8), passes=True) < 1.1 * BERT.weight_bytes


def test_points_of_a_sheet_are_what_they_are_alone() -> None:
    ways = [Setting(cores=cores, batch=batch, instances=2) for cores in (1, 2, 5) for batch in (1, 8, 16, 13)]
    every = [Point(workload=work, card=STANDARD, setting=setting) for work in (BERT, LONG) for setting in ways]
    odd = np.arange(1, len(every), 2)
    alone = np.array([device_time(sheet_of([point]), fitted()).device[0] for point in every])
    together = device_time(sheet_of(every), fitted()).device
    taken = device_time(sheet_of(every).take(odd), fitted()).device
    assert together == pytest.approx(alone)
    assert taken == pytest.approx(alone[odd])


def test_what_changes_a_point_changes_its_passes() -> None:
    point = Point(workload=LONG, card=STANDARD, setting=Setting(cores=1, batch=8))
    slow = replace(STANDARD, capped_mhz=600.0)
    capped = sheet_of([point]).with_rows(cap=np.array([600.0 / STANDARD.loaded_mhz]))
    direct = device_time(sheet_of([replace(point, card=slow)]), fitted()).device
    assert device_time(capped, fitted()).device == pytest.approx(direct)


def test_rows_that_are_looked_up_cross_the_memory_bus() -> None:
    table = Workload(name="table", ops=(vector("lookup", 500 * 256),), input_bytes=8, output_bytes=8)
    per_s = rate(Setting(cores=2, batch=16, instances=7, set_size=4), workload=table)
    assert per_s * 500 * 256 * 2 <= STANDARD.ddr_bytes_per_s


def test_channels_are_split_only_as_far_as_allowed() -> None:
    op = dense(1, 768, 3072)
    assert split_of(op, 1, 12, 1).share > split_of(op, 1, 12, 12).share
    assert split_of(op, 1, 12, 4).channel_ways == 4


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (Setting(cores=8, batch=1, instances=3), "8 cores x 3 instances need 24 of 16 NSPs"),
        (Setting(cores=2, batch=1, mos=4), "mos 4 exceeds 2 cores"),
        (Setting(cores=1, batch=4096, instances=14, set_size=256), "bytes of device memory"),
    ],
)
def test_points_that_cannot_run_say_why(setting: Setting, words: str) -> None:
    outputs = replace(BERT, output_bytes=128 * 30522 * 4)
    found = predict(outputs, PRO, setting)
    assert not found.feasible
    assert words in found.reason
    assert found.throughput_per_s == 0


def test_int8_is_faster_and_float32_slower_than_float16() -> None:
    half = Setting(cores=2, batch=8, instances=7)
    quick = rate(replace(half, options=Options(precision="int8")))
    slow = rate(replace(half, options=Options(precision="f32")))
    assert quick > 1.3 * rate(half) > 2 * slow


def test_the_lesser_options_change_little() -> None:
    setting = Setting(cores=2, batch=8, instances=7)
    for options in (
        Options(dealloc_delay=6),
        Options(split_kib=2048),
        Options(producer_dma=True),
        Options(depth_first_mib=8),
        Options(combine_outputs=False),
    ):
        assert rate(replace(setting, options=options)) == pytest.approx(rate(setting), rel=0.05)


def test_a_smaller_share_of_fast_memory_spills() -> None:
    setting = Setting(cores=2, batch=8, instances=7)
    assert rate(replace(setting, options=Options(vtcm_percent=50))) < 0.95 * rate(setting)


def _again(seed: int) -> Prediction:
    return noisy(predict(BERT, PRO, Setting(cores=2, batch=8, instances=7)), np.random.default_rng(seed))


@settings(max_examples=30)
@given(st.integers(0, 2**32))
def test_noise_has_a_seed_and_stays_within_a_few_percent(seed: int) -> None:
    quiet = predict(BERT, PRO, Setting(cores=2, batch=8, instances=7))
    assert _again(seed) == _again(seed)
    assert _again(seed).throughput_per_s == pytest.approx(quiet.throughput_per_s, rel=0.05)
    assert len({_again(seed + i).throughput_per_s for i in range(3)}) == 3


def test_compiling_takes_longer_with_cores_batch_and_overlap_splits() -> None:
    def seconds(cores: int, ols: int, batch: int) -> float:
        return predict(BERT, PRO, Setting(cores=cores, ols=ols, batch=batch)).compile_s

    assert seconds(1, 1, 1) < seconds(8, 1, 1) < seconds(8, 1, 16) < seconds(8, 3, 16) < seconds(8, 8, 16)
    assert seconds(8, 8, 16) == pytest.approx(70.1, rel=0.25)


def test_compiles_at_once_slow_each_other_as_published() -> None:
    """On the published host one of BERT-base took 30 s in the median, and six at once 121 s."""
    assert crowding(0) == 1.0
    assert all(crowding(n) < crowding(n + 1) for n in range(20))
    six = [Setting(cores=11, mos=2, ols=1, batch=16), *(Setting(cores=12, mos=m, ols=1, batch=16) for m in (1, 3))]
    six += [Setting(cores=12, mos=2, ols=1, batch=8), Setting(cores=13, mos=2, ols=1, batch=16)]
    six += [Setting(cores=12, mos=2, ols=2, batch=16)]
    alone = [compile_seconds(BERT, setting) for setting in six]
    assert np.mean(alone) * crowding(5) == pytest.approx(120.6, rel=0.15)


def test_convolutions_take_longer_to_compile_than_products() -> None:
    ops = replace(convolution((28, 28), 64, 64, 9), times=53), dense(784, 576, 64, times=53)
    net, plain = (Workload(name=op.kind, ops=(op,), input_bytes=8, output_bytes=8) for op in ops)
    found = [compile_seconds(work, Setting(cores=5, batch=1, mos=2, ols=1)) for work in (net, plain)]
    assert found[0] == pytest.approx(61, rel=0.15)
    assert found[0] > 5 * found[1]


@given(points())
def test_starting_operators_takes_the_cores_clock(setting: Setting) -> None:
    """Starts and waits are instructions of the cores: at half the clock they take twice as long."""

    def syncing(mhz: float) -> float:
        sheet = sheet_of([Point(workload=BERT, card=replace(STANDARD, capped_mhz=mhz), setting=setting)])
        return float(device_time(replace(sheet, passes=None), fitted()).syncing[0])

    assert syncing(300.0) == pytest.approx(2 * syncing(600.0))
