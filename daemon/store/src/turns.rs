//! Turns: what many callers ask at the same time becomes few calls. A caller that finds no call under way is sent at
//! once. Those that come while one is under way gather, and the next call takes all of them, so nobody waits for a time
//! to pass, and the more callers there are, the more each call carries.
//!
//! A call never takes a question that came after the call was sent. Each call runs in a task of the runtime, so a caller
//! that gives up takes nothing from the others; one that gives up before its call is sent is left out of it. Where a call
//! fails as a whole, those that have waited for its end fail with it: they have waited as long as a call may take, and
//! another one would probably take as long.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard},
};

use futures_util::future::BoxFuture;
use tokio::{runtime::Handle, sync::oneshot};

/// How much a turn takes.
#[derive(Debug, Clone, Copy)]
pub struct TurnLimits {
    /// Calls of one key that are under way at a time.
    pub calls: usize,
    /// Questions that one call takes.
    pub questions: usize,
    /// Bytes of the questions that one call takes; a larger question has a call for itself.
    pub bytes: usize,
}

/// What a call has come to: the answer of each question, in the same order, or the answer of all where it has failed.
pub type TurnAnswers<A> = Result<Vec<A>, A>;

type TurnCall<K, Q, A> = dyn Fn(K, Vec<Q>) -> BoxFuture<'static, TurnAnswers<A>> + Send + Sync;

/// A question that waits for its call.
struct Waiting<Q, A> {
    question: Q,
    bytes: usize,
    answer: oneshot::Sender<A>,
}

/// What waits and what is under way of one key.
struct Lane<Q, A> {
    calls: usize,
    waiting: VecDeque<Waiting<Q, A>>,
}

impl<Q, A> Lane<Q, A> {
    /// Takes what the next call carries; nothing where none may begin or nobody waits.
    fn begin_call(&mut self, limits: TurnLimits) -> Vec<Waiting<Q, A>> {
        let mut members: Vec<Waiting<Q, A>> = Vec::new();
        if self.calls >= limits.calls {
            return members;
        }
        let mut bytes = 0;
        while members.len() < limits.questions
            && let Some(next) = self.waiting.pop_front()
        {
            if next.answer.is_closed() {
                continue;
            }
            bytes += next.bytes;
            if bytes > limits.bytes && !members.is_empty() {
                self.waiting.push_front(next);
                break;
            }
            members.push(next);
        }
        self.calls += usize::from(!members.is_empty());
        members
    }
}

struct TurnState<K, Q, A> {
    lanes: Mutex<HashMap<K, Lane<Q, A>>>,
    limits: TurnLimits,
    call: Box<TurnCall<K, Q, A>>,
}

/// Gathers questions into calls, those of each key for themselves. A clone shares them.
pub struct Turns<K, Q, A>(Arc<TurnState<K, Q, A>>);

impl<K, Q, A> Clone for Turns<K, Q, A> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K, Q, A> fmt::Debug for Turns<K, Q, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turns")
            .field("limits", &self.0.limits)
            .finish_non_exhaustive()
    }
}

impl<K, Q, A> Turns<K, Q, A>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    Q: Send + 'static,
    A: Clone + Send + 'static,
{
    /// Makes turns whose calls are made by `call`.
    pub fn new(
        limits: TurnLimits,
        call: impl Fn(K, Vec<Q>) -> BoxFuture<'static, TurnAnswers<A>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(TurnState {
            lanes: Mutex::new(HashMap::new()),
            limits,
            call: Box::new(call),
        }))
    }

    /// Asks a question of so many bytes, alone or together with others of the same key. Returns `None` if its call was
    /// cut off: the runtime ends, or the call has panicked.
    pub async fn ask(&self, key: K, question: Q, bytes: usize) -> Option<A> {
        let (answer, answered) = oneshot::channel();
        let members = {
            let mut lanes = self.lanes();
            let lane = lanes.entry(key.clone()).or_insert_with(|| Lane {
                calls: 0,
                waiting: VecDeque::new(),
            });
            lane.waiting.push_back(Waiting {
                question,
                bytes,
                answer,
            });
            lane.begin_call(self.0.limits)
        };
        self.send(key, members);
        answered.await.ok()
    }

    fn lanes(&self) -> MutexGuard<'_, HashMap<K, Lane<Q, A>>> {
        self.0.lanes.lock().expect("no thread panics with the lanes of turns")
    }

    /// Sends a call with these members, if there are any.
    fn send(&self, key: K, members: Vec<Waiting<Q, A>>) {
        if members.is_empty() {
            return;
        }
        let mut under_way = CallUnderWay {
            turns: self.clone(),
            key,
            failure: None,
        };
        // Without a runtime nobody waits any more: the members are dropped, and the lane with them.
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        runtime.spawn(async move {
            let (mut questions, mut waiting) = (Vec::with_capacity(members.len()), Vec::with_capacity(members.len()));
            for member in members {
                questions.push(member.question);
                waiting.push(member.answer);
            }
            let call = (under_way.turns.0.call)(under_way.key.clone(), questions);
            let answers = call.await.unwrap_or_else(|failure| {
                under_way.failure = Some(failure.clone());
                vec![failure; waiting.len()]
            });
            // The next call need not wait until these answers are read.
            drop(under_way);
            for (waiting, answer) in waiting.into_iter().zip(answers) {
                // One that has given up meanwhile needs no answer.
                let _ = waiting.send(answer);
            }
        });
    }

    /// Ends a call of a key, and sends the next one. Those that wait are answered with the failure of the call, if it
    /// has failed.
    fn end_call(&self, key: &K, failure: Option<A>) {
        let (failed, members) = {
            let mut lanes = self.lanes();
            let Some(lane) = lanes.get_mut(key) else {
                return;
            };
            lane.calls = lane.calls.saturating_sub(1);
            let failed = failure.map(|failure| (failure, std::mem::take(&mut lane.waiting)));
            let members = lane.begin_call(self.0.limits);
            if lane.calls == 0 {
                lanes.remove(key);
            }
            (failed, members)
        };
        self.send(key.clone(), members);
        let Some((failure, waiting)) = failed else {
            return;
        };
        for member in waiting {
            // One that has given up meanwhile needs no answer.
            let _ = member.answer.send(failure.clone());
        }
    }
}

/// A call under way; as it is dropped, however it ended, the next one is sent.
struct CallUnderWay<K, Q, A>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    Q: Send + 'static,
    A: Clone + Send + 'static,
{
    turns: Turns<K, Q, A>,
    key: K,
    /// What all are answered where the call has failed.
    failure: Option<A>,
}

impl<K, Q, A> Drop for CallUnderWay<K, Q, A>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    Q: Send + 'static,
    A: Clone + Send + 'static,
{
    fn drop(&mut self) {
        let failure = self.failure.take();
        self.turns.end_call(&self.key, failure);
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        sync::Semaphore,
        task::{JoinHandle, yield_now},
    };

    use super::*;

    const LIMITS: TurnLimits = TurnLimits {
        calls: 1,
        questions: 3,
        bytes: 100,
    };
    /// A question whose call panics, and one whose call fails.
    const BAD: u32 = 666;
    const UNANSWERED: u32 = 404;
    /// The answer of a call that fails.
    const FAILURE: u32 = 7;

    /// Turns whose calls wait until they are let go, and what each call has taken.
    struct Bench {
        turns: Turns<&'static str, u32, u32>,
        calls: Arc<Mutex<Vec<Vec<u32>>>>,
        gate: Arc<Semaphore>,
    }

    impl Bench {
        fn new(limits: TurnLimits) -> Self {
            let (calls, gate) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Semaphore::new(0)));
            let (noted, opened) = (Arc::clone(&calls), Arc::clone(&gate));
            let turns = Turns::new(limits, move |_, questions: Vec<u32>| {
                noted.lock().unwrap().push(questions.clone());
                let opened = Arc::clone(&opened);
                Box::pin(async move {
                    opened.acquire().await.unwrap().forget();
                    assert!(!questions.contains(&BAD), "this call is to end like that");
                    match questions.contains(&UNANSWERED) {
                        true => Err(FAILURE),
                        false => Ok(questions.iter().map(|question| question * 10).collect()),
                    }
                })
            });
            Self { turns, calls, gate }
        }

        fn ask(&self, key: &'static str, question: u32, bytes: usize) -> JoinHandle<Option<u32>> {
            let turns = self.turns.clone();
            tokio::spawn(async move { turns.ask(key, question, bytes).await })
        }

        fn calls(&self) -> Vec<Vec<u32>> {
            self.calls.lock().unwrap().clone()
        }

        fn waiting(&self, key: &str) -> usize {
            self.turns.lanes().get(key).map_or(0, |lane| lane.waiting.len())
        }

        async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
            for _ in 0..10_000 {
                if is_so(self) {
                    return;
                }
                yield_now().await;
            }
            panic!("{what} does not come about: {:?}", self.calls());
        }

        /// Lets the first question be sent, and others gather behind it.
        async fn gather(&self, questions: &[(u32, usize)]) -> Vec<JoinHandle<Option<u32>>> {
            let mut asked = vec![self.ask("a", 0, 1)];
            self.until("the first call", |bench| bench.calls().len() == 1).await;
            asked.extend(
                questions
                    .iter()
                    .map(|(question, bytes)| self.ask("a", *question, *bytes)),
            );
            self.until("all wait", |bench| bench.waiting("a") == questions.len())
                .await;
            asked
        }
    }

    #[tokio::test]
    async fn callers_that_come_during_a_call_share_the_next_one_and_each_gets_its_answer() {
        let bench = Bench::new(LIMITS);
        let asked = bench.gather(&[(1, 1), (2, 1), (3, 1), (4, 1)]).await;
        assert_eq!(bench.calls(), [vec![0]], "the first was sent at once, alone");
        bench.gate.add_permits(3);
        for (question, asked) in (0..).zip(asked) {
            assert_eq!(asked.await.unwrap(), Some(question * 10));
        }
        assert_eq!(bench.calls(), [vec![0], vec![1, 2, 3], vec![4]]);
        assert!(
            bench.turns.lanes().is_empty(),
            "nothing is kept of a key that nobody asks"
        );
    }

    #[tokio::test]
    async fn a_call_keeps_its_bytes_and_a_larger_question_has_one_for_itself() {
        let bench = Bench::new(LIMITS);
        let asked = bench.gather(&[(1, 60), (2, 40), (3, 60), (4, 500), (5, 1)]).await;
        bench.gate.add_permits(10);
        for asked in asked {
            assert!(asked.await.unwrap().is_some());
        }
        assert_eq!(bench.calls(), [vec![0], vec![1, 2], vec![3], vec![4], vec![5]]);
    }

    #[tokio::test]
    async fn callers_that_give_up_take_nothing_from_the_others() {
        let bench = Bench::new(LIMITS);
        let mut asked = bench.gather(&[(1, 1), (2, 1), (3, 1)]).await;
        // The one whose call is under way, and one that waits.
        for given_up in [asked.remove(2), asked.remove(0)] {
            given_up.abort();
            assert!(given_up.await.unwrap_err().is_cancelled());
        }
        bench.gate.add_permits(2);
        for (asked, answer) in asked.into_iter().zip([10, 30]) {
            assert_eq!(asked.await.unwrap(), Some(answer));
        }
        assert_eq!(bench.calls(), [vec![0], vec![1, 3]], "who gave up before was left out");
    }

    #[tokio::test]
    async fn a_call_that_panics_is_an_error_of_its_callers_alone() {
        let bench = Bench::new(LIMITS);
        let asked = bench.gather(&[(1, 1), (BAD, 1), (3, 1), (4, 1)]).await;
        bench.gate.add_permits(3);
        let mut answers = Vec::new();
        for asked in asked {
            answers.push(asked.await.unwrap());
        }
        assert_eq!(answers, [Some(0), None, None, None, Some(40)]);
    }

    #[tokio::test]
    async fn those_that_have_waited_for_a_call_that_fails_fail_with_it_and_later_ones_do_not() {
        let bench = Bench::new(LIMITS);
        let mut asked = bench.gather(&[(UNANSWERED, 1), (2, 1)]).await;
        bench.gate.add_permits(1);
        assert_eq!(asked.remove(0).await.unwrap(), Some(0));
        bench.until("the second call", |bench| bench.calls().len() == 2).await;
        asked.extend((3..9).map(|question| bench.ask("a", question, 1)));
        bench.until("all wait", |bench| bench.waiting("a") == 6).await;
        bench.gate.add_permits(1);
        for asked in asked {
            assert_eq!(asked.await.unwrap(), Some(FAILURE));
        }
        assert_eq!(bench.calls().len(), 2, "no call was made for those that waited");
        bench.gate.add_permits(1);
        assert_eq!(bench.ask("a", 9, 1).await.unwrap(), Some(90));
    }

    #[tokio::test]
    async fn no_more_calls_of_a_key_are_under_way_than_may_and_keys_do_not_wait_for_each_other() {
        let bench = Bench::new(TurnLimits { calls: 2, ..LIMITS });
        let mut asked: Vec<_> = (0..4).map(|question| bench.ask("a", question, 1)).collect();
        bench.until("two wait", |bench| bench.waiting("a") == 2).await;
        asked.push(bench.ask("b", 4, 1));
        bench.until("the other key", |bench| bench.calls().len() == 3).await;
        assert_eq!(bench.calls(), [vec![0], vec![1], vec![4]]);
        bench.gate.add_permits(10);
        for (question, asked) in (0..).zip(asked) {
            assert_eq!(asked.await.unwrap(), Some(question * 10));
        }
        assert_eq!(bench.calls()[3], [2, 3]);
    }
}
