//! Asks many things that may hang, each in its turn, and goes on without those that do.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long nothing may be answered before the next thing is asked beside it.
const PATIENCE: Duration = Duration::from_millis(100);
/// When nothing is left to ask: how long the last answers may take. A file that is being written is waited for a second.
const LAST_PATIENCE: Duration = Duration::from_secs(2);

/// The answers of all `items`, in their order; `None` for one that hangs. Its thread is left behind.
pub(crate) fn ask_each<I, T>(items: Vec<I>, ask: impl Fn(I) -> T + Send + Sync + 'static) -> Vec<Option<T>>
where
    I: Send + 'static,
    T: Send + 'static,
{
    let mut answers: Vec<Option<T>> = items.iter().map(|_| None).collect();
    let (tell, told) = channel();
    let ask = Arc::new(ask);
    let queue = Arc::new(Mutex::new(items.into_iter().enumerate()));
    let next = |queue: &Mutex<std::iter::Enumerate<std::vec::IntoIter<I>>>| {
        queue.lock().unwrap_or_else(PoisonError::into_inner).next()
    };
    let spawn = || {
        let (queue, ask, tell) = (Arc::clone(&queue), Arc::clone(&ask), tell.clone());
        std::thread::spawn(move || {
            while let Some((at, item)) = next(&queue) {
                let _ = tell.send((at, ask(item)));
            }
        })
    };
    spawn();
    let mut open = answers.len();
    while open > 0 {
        let is_asked = queue.lock().map_or(true, |queue| queue.len() == 0);
        match told.recv_timeout(if is_asked { LAST_PATIENCE } else { PATIENCE }) {
            Ok((at, answer)) => {
                answers[at] = Some(answer);
                open -= 1;
            }
            Err(RecvTimeoutError::Timeout) if !is_asked => drop(spawn()),
            Err(_) => break,
        }
    }
    answers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hangs_is_left_out_and_all_else_is_answered_in_order() {
        let (free, gate) = channel::<()>();
        let gate = Mutex::new(gate);
        let answers = ask_each(vec![1, 2, 3, 4], move |number| {
            if number % 2 == 0 {
                let _ = gate.lock().unwrap().recv();
            }
            number * 10
        });
        assert_eq!((answers[0], answers[1], answers[2]), (Some(10), None, Some(30)));
        drop(free);
        assert!(ask_each(Vec::<u8>::new(), |number| number).is_empty());
    }
}
