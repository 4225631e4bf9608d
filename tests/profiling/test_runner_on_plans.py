"""The runner on a whole plan: what a journal holds is not timed again."""


def test_runner_goes_on_from_the_journal(plan, run_fake, run_on):
    fake, bursts = run_fake(plan)
    before = fake.now_ns
    assert run_on(fake) == bursts
    assert fake.now_ns - before < 0.02 * before  # only the sentinel ran again
