//! The outbound queue: ids that this process found to be new and that are not yet in Redis.
//!
//! The queue belongs to one process: a forked child begins with an empty one, and an id that was
//! new is in one queue, once. Ids that a full queue leaves out, or that are lost with their
//! process, are still in the arena. The sum of the acknowledged ids lacks them, so that the arena
//! is sent again when the window ends.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::forks;
use crate::sync::{AtomicU64, Ordering};

/// Maximum ids per piece. Pieces are taken whole, and no larger block of memory is moved.
const PIECE: usize = 4_096;

/// Ids of one window, in the order of their inserts.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) window: u64,
    pub(crate) ids: Vec<i64>,
}

#[derive(Debug, Default)]
struct Queue {
    pieces: VecDeque<Piece>,
    waiting: usize,
    left_out: u64,
}

/// The new ids of one process that wait to be taken.
#[derive(Debug)]
pub(crate) struct OutboundQueue {
    /// Maximum ids in the queue; 0: no ids are queued.
    limit: AtomicU64,
    queue: Mutex<Queue>,
    /// Forks between the first process and the one that owns this queue.
    forks: u64,
}

impl OutboundQueue {
    pub(crate) fn new() -> Self {
        Self { limit: AtomicU64::new(0), queue: Mutex::default(), forks: forks::count() }
    }

    /// Whether new ids are queued.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.limit() != 0
    }

    /// Queues an id that was new in `window`, if the limit is not 0.
    #[inline]
    pub(crate) fn push(&self, window: u64, id: i64) {
        if self.is_on() {
            self.extend(window, &[id]);
        }
    }

    /// Queues ids that were new in `window`. Ids beyond the limit are left out.
    #[inline(never)]
    pub(crate) fn extend(&self, window: u64, ids: &[i64]) {
        let mut queue = self.lock();
        let limit = self.limit() as usize;
        if limit == 0 {
            return;
        }
        let room = limit.saturating_sub(queue.waiting);
        let (mut ids, left_out) = ids.split_at(ids.len().min(room));
        queue.left_out += left_out.len() as u64;
        queue.waiting += ids.len();
        while !ids.is_empty() {
            let space = match queue.pieces.back() {
                Some(piece) if piece.window == window => PIECE - piece.ids.len(),
                _ => 0,
            };
            if space == 0 {
                queue.pieces.push_back(Piece { window, ids: Vec::new() });
                continue;
            }
            let (now, rest) = ids.split_at(ids.len().min(space));
            if let Some(piece) = queue.pieces.back_mut() {
                piece.ids.extend_from_slice(now);
            }
            ids = rest;
        }
    }

    /// Sets the maximum of ids in the queue; 0: no ids are queued.
    pub(crate) fn set_limit(&self, limit: u64) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Ids that wait to be taken.
    pub(crate) fn waiting(&self) -> u64 {
        self.lock().waiting as u64
    }

    /// Ids that were left out because the queue was full.
    pub(crate) fn left_out(&self) -> u64 {
        self.lock().left_out
    }

    /// Takes at most `most` ids of the oldest piece; `None` when the queue is empty.
    pub(crate) fn take(&self, most: usize) -> Option<Piece> {
        let mut queue = self.lock();
        let mut piece = queue.pieces.pop_front()?;
        if piece.ids.len() > most {
            let rest = piece.ids.split_off(most);
            queue.pieces.push_front(Piece { window: piece.window, ids: rest });
        }
        queue.waiting -= piece.ids.len();
        Some(piece)
    }

    fn limit(&self) -> u64 {
        // Relaxed: a thread that sees a change later has queued, or left out, some ids more.
        self.limit.load(Ordering::Relaxed)
    }

    /// Locks the queue, for no longer than the copy of one piece takes.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("no panic while the queue is changed")
    }
}

impl Drop for OutboundQueue {
    fn drop(&mut self) {
        if self.forks != forks::count() {
            // A copy in a forked child: a thread of the parent may have been changing the queue
            // when the child was forked, so its memory must not be touched.
            let queue = self.queue.get_mut().unwrap_or_else(PoisonError::into_inner);
            mem::forget(mem::take(queue));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{OutboundQueue, PIECE};
    use crate::sync::Ordering;

    fn outbound(limit: u64) -> OutboundQueue {
        let outbound = OutboundQueue::new();
        outbound.limit.store(limit, Ordering::Relaxed);
        outbound
    }

    fn drain(outbound: &OutboundQueue, most: usize) -> Vec<(u64, Vec<i64>)> {
        std::iter::from_fn(|| outbound.take(most)).map(|piece| (piece.window, piece.ids)).collect()
    }

    #[test]
    fn nothing_is_kept_while_nobody_takes_it() {
        let outbound = outbound(0);
        outbound.push(1, 7);
        assert!(outbound.take(9).is_none());
        assert_eq!(outbound.lock().left_out, 0);
    }

    #[test]
    fn ids_come_in_their_order_and_with_their_window() {
        let outbound = outbound(100);
        outbound.push(1, 7);
        outbound.extend(1, &[8, 9]);
        outbound.extend(2, &[7]);
        outbound.push(1, 10);
        let found = drain(&outbound, 2);
        let wanted = [(1, vec![7, 8]), (1, vec![9]), (2, vec![7]), (1, vec![10])];
        assert_eq!(found, wanted);
        assert_eq!(outbound.lock().waiting, 0);
    }

    #[test]
    fn what_is_past_the_limit_is_left_out_and_counted() {
        let outbound = outbound(10_000);
        let ids: Vec<i64> = (0..9_999).collect();
        outbound.extend(1, &ids);
        outbound.extend(1, &[-1, -2, -3]);
        outbound.push(2, 4);
        let counts = |queue: &super::Queue| (queue.waiting, queue.left_out);
        assert_eq!(counts(&outbound.lock()), (10_000, 3));
        let found = drain(&outbound, usize::MAX);
        assert!(found.iter().all(|(window, ids)| *window == 1 && ids.len() <= PIECE));
        let found: Vec<i64> = found.into_iter().flat_map(|(_, ids)| ids).collect();
        assert_eq!(found, (0..9_999).chain([-1]).collect::<Vec<_>>());
        outbound.push(2, 4);
        assert_eq!(outbound.lock().waiting, 1);
    }
}
