"""The page under load: what it keeps of its visitors is bounded, and one of them does not hold up the others."""

import random
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from gradio_client import Client
from gradio_client.utils import QueueError

from benchmarks.space_soak import Visitor, rush, serving, soak, unread
from tests.space.pages import Page, eventually

import calls  # isort: skip
import page  # isort: skip

FIND = ["captions_model", "a photo of a red star"]


@pytest.fixture
def visitor(served):
    return Visitor(Page(served), 0)


@pytest.fixture
def queue(served):
    """The queue of the page, without calls of other tests: a browser that closes leaves some that nobody reads."""
    queue = served.demo._queue
    give_up_all(queue)
    eventually(lambda: not len(queue) and not any(queue.active_jobs), 60)
    yield queue
    give_up_all(queue)


def give_up_all(queue):
    for each in queue.event_queue_per_concurrency_id.values():
        for event in list(each.queue):
            queue._give_up(event)


def join(visitor, served, session, name="find", data=FIND):
    """Put a call in a session, as a browser does; nobody reads its answer."""
    number = next(fn._id for fn in served.demo.fns.values() if fn.api_name == name)
    body = {"data": data, "fn_index": number, "session_hash": session}
    return visitor.client.post(f"{visitor.server.url}/queue/join", json=body)


def answered(visitor, seconds=5.0):
    start = time.monotonic()
    assert visitor.ask("find", FIND)[0] == "complete"
    return time.monotonic() - start < seconds


def test_a_page_leaves_the_random_numbers_of_its_process_alone(visitor, queue):
    visitor.submit("find", FIND)  # and nobody reads the answers
    visitor.submit("latent_map", ["captions_model", "pairs_model", "PCA", "modality", True])
    before = random.getstate()
    time.sleep(0.1)  # it looks through the calls that wait every 5 ms
    assert len(queue) == 2
    assert random.getstate() == before


@pytest.mark.slow
def test_what_is_kept_of_visitors_that_are_gone_is_bounded(served, visitor, queue, monkeypatch):
    state, messages = served.demo.app.state_holder, queue.pending_messages_per_session
    assert state.capacity == calls.SESSIONS
    monkeypatch.setattr(state, "capacity", 20)
    monkeypatch.setattr(messages, "max_size", 20)
    for kept in (state.session_data, state.time_last_used, messages, queue.pending_event_ids_session):
        kept.clear()  # of other tests
    for number in range(60):
        assert visitor.ask("find", ["captions_model", visitor.words(3)])[0] == "complete"
        assert visitor.ask("walk", ["captions_model", 10**6 + number, 0, ""])[0] == "error"
    assert len(state.session_data) == len(state.time_last_used) == 20 >= len(messages)
    assert queue.pending_event_ids_session.keys() <= messages.keys()
    # The last was answered just now.
    eventually(lambda: not any(queue.pending_event_ids_session.values()) and not queue.event_ids_to_events)
    assert not any(each.qsize() for each in messages.values()) and not served.demo.app.iterators


def test_pictures_of_visitors_are_not_kept(visitor):
    from PIL import Image

    kept = page._thumbnail_uri.cache_info
    before = kept().currsize
    for number in range(20):
        page.image_html(Image.new("RGB", (360, 200), (number, 0, 0)), "large")
    assert kept().currsize == before
    # A thumbnail has 3 bytes a pixel, and its address in Base64 hardly more.
    assert kept().maxsize * 2 * 3 * page.THUMBNAIL**2 < 60 * 2**20


def test_calls_that_nobody_reads_are_refused_or_given_up_and_never_computed(served, visitor, queue, monkeypatch):
    computed, process = [], queue.process_events
    monkeypatch.setattr(queue, "process_events", lambda each, *rest: computed.extend(each) or process(each, *rest))
    monkeypatch.setattr(calls, "UNREAD", 20)
    session = uuid.uuid4().hex
    responses = [join(visitor, served, session) for _ in range(calls.EACH + 5)]
    assert [response.status_code for response in responses] == [200] * calls.EACH + [503] * 5
    assert responses[-1].json()["detail"] == calls.TOO_MANY
    assert answered(visitor) and len(computed) == 1  # the other visitor's
    first = visitor.submit("find", FIND).json()["event_id"]
    for number in range(2 * calls.UNREAD):
        response = visitor.submit("find", FIND) if number % 2 else join(visitor, served, uuid.uuid4().hex)
        assert response.status_code == 200
    assert len(queue) <= calls.UNREAD and answered(visitor) and len(computed) == 2
    late = visitor.client.get(f"{visitor.server.url}/call/find/{first}").text
    assert "event: error" in late and "Nobody read the answer within 60 s" in late


def test_an_answer_that_is_read_late_is_computed_then(visitor, queue):
    event = visitor.submit("find", FIND).json()["event_id"]
    time.sleep(0.3)
    assert len(queue) == 1
    assert "event: complete" in visitor.client.get(f"{visitor.server.url}/call/find/{event}").text
    assert len(queue) == 0


def test_a_call_that_nobody_reads_is_given_up_after_a_while(visitor, queue, monkeypatch):
    monkeypatch.setattr(calls, "PATIENCE", 0.1)
    visitor.submit("find", FIND)
    eventually(lambda: len(queue) == 0)
    assert not queue.event_ids_to_events


def test_a_client_that_goes_away_leaves_nothing_behind(served, visitor, queue):
    session = uuid.uuid4().hex
    join(visitor, served, session, "latent_map", ["captions_model", "pairs_model", "PCA", "modality", True])
    join(visitor, served, session, "latent_map", ["captions_model", "pairs_model", "PCA", "modality", True])
    with visitor.client.stream("GET", f"{visitor.server.url}/queue/data?session_hash={session}") as stream:
        next(stream.iter_lines())
    eventually(lambda: session not in queue.pending_messages_per_session and not queue.event_ids_to_events)
    assert session not in queue.pending_event_ids_session


def test_many_calls_of_one_client_are_answered_or_refused_while_others_are_answered(served, visitor, queue):
    client = Client(served.url, verbose=False)
    jobs = [client.submit(*FIND, api_name="/find") for _ in range(3 * calls.EACH)]
    assert answered(visitor, 10)
    failures = [error for error in (job.exception(60) for job in jobs) if error is not None]
    assert len(failures) <= len(jobs) - calls.EACH
    assert all(isinstance(error, QueueError) for error in failures)
    client.close()


def test_no_call_is_put_where_too_many_wait(visitor, queue, monkeypatch):
    monkeypatch.setattr(calls, "WAITING", 0)
    outcome, told = visitor.ask("find", FIND)
    assert outcome == "refused" and told["detail"] == calls.BUSY


def test_visitors_at_the_same_time_are_all_answered(visitor):
    with ThreadPoolExecutor(8) as pool:
        crowd = [Visitor(visitor.server, seed) for seed in range(8)]
        outcomes = list(pool.map(lambda each: [each.ask("find", ["captions_model", each.words(3)])[0]] * 5, crowd))
    assert {outcome for part in outcomes for outcome in part} == {"complete"}


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_long_soak_does_not_grow_and_nobody_waits_long():
    with serving() as server:
        memory, outcomes = soak(server, 5000)
        assert set(outcomes.outcomes) == {"complete"}, outcomes.failures[:5]
        assert memory[5000] - memory[500] < 200, memory
        for session in ("one", "each", "none"):
            assert unread(server, 1400, session)[0] < 5, session
        waits, crowd = rush(server, visitors=20, seconds=30)
        assert set(crowd.outcomes) == {"complete"} and len(waits) >= 20, crowd.failures[:5]
