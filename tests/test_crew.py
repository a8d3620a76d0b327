"""Threads that do jobs side by side."""

import threading

from mailpipe.crew import Crew


def test_each_job_is_done_once_and_told_once():
    crew = Crew(lambda number: number * number, 4)
    for number in range(100):
        crew.give(number)
    ended = [crew.ended() for _ in range(100)]
    assert sorted((one.job, one.answer) for one in ended) == [(number, number * number) for number in range(100)]
    assert len(crew) == 0 and crew.ended() is None
    crew.close()


def test_so_many_are_done_at_a_time_and_no_more():
    together, most = threading.Barrier(3), []
    under_way = threading.Semaphore(3)

    def work(_):
        assert under_way.acquire(blocking=False)
        together.wait(30)
        most.append(1)
        under_way.release()

    crew = Crew(work, 3)
    for number in range(9):
        crew.give(number)
    assert all(crew.ended().error is None for _ in range(9)) and len(most) == 9
    crew.close()


def test_what_the_work_raises_is_told_with_its_job():
    crew = Crew(lambda number: 1 // number, 2)
    crew.give(0)
    ended = crew.ended()
    assert ended.job == 0 and isinstance(ended.error, ZeroDivisionError)
    crew.close()


def test_a_lane_that_is_full_holds_up_no_other():
    gate, begun = threading.Event(), []

    def work(job):
        begun.append(job)
        assert job[0] != "slow" or gate.wait(30)

    crew = Crew(work, 4, 2)
    for number in range(10):
        crew.give(("slow", number), "slow")
    for number in range(10):
        crew.give(("fast", number), "fast")
    assert [crew.ended().job[0] for _ in range(10)] == ["fast"] * 10
    assert sum(job[0] == "slow" for job in begun) == 2 and crew.has_hands
    assert crew.take_back() == ("slow", 9) and len(crew) == 9
    gate.set()
    assert {crew.ended().job for _ in range(9)} == {("slow", number) for number in range(9)}
    assert crew.take_back() is None
    crew.close()


def test_nobody_waits_for_what_is_not_there():
    gate = threading.Event()
    crew = Crew(lambda _: gate.wait(30), 1)
    crew.give(1)
    assert crew.ended(0) is None and crew.ended(0.001) is None and crew.jobs == (1,)
    gate.set()
    assert crew.ended().answer is True
    crew.close()
