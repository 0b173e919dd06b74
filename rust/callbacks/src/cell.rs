//! The state of a cell and its owner, in one word that changes only as a whole.
//!
//! ```text
//! Empty --reserve--> Writing --commit--> Ready --begin--> Sending --finish--> Empty
//!                       |                  ^                 |
//!                       +--give up--> Empty +-----wait-------+
//! ```
//! If the owner dies, `Writing` becomes `Empty`: its request was never answered. `Ready` and
//! `Sending` become `Ready` of the process that takes over: the request may have been answered, and
//! the attempt may have failed.

use verve_core::Owner;

/// The state of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CellState {
    /// The cell holds no callback.
    Empty,
    /// A callback is being written; its request is not answered yet.
    Writing,
    /// A callback waits for its first or next attempt.
    Ready,
    /// A callback is being sent.
    Sending,
}

/// The state word of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cell {
    /// The state.
    pub state: CellState,
    /// The owner; of an empty cell, the last one.
    pub owner: Owner,
    /// How often the cell was used, modulo 2^32. It tells one use from another, and stays the same
    /// for all attempts of a callback.
    pub sequence: u32,
}

const SLOT_AT: u32 = 2;
const GENERATION_AT: u32 = 12;
const SEQUENCE_AT: u32 = 32;

impl Cell {
    /// The word in the segment. Zero is an empty cell.
    #[must_use]
    pub fn pack(self) -> u64 {
        self.state as u64
            | (self.owner.slot as u64) << SLOT_AT
            | u64::from(self.owner.generation) << GENERATION_AT
            | u64::from(self.sequence) << SEQUENCE_AT
    }

    /// Reads a word of the segment; every value is valid.
    #[must_use]
    pub fn unpack(bits: u64) -> Self {
        let part = |from: u32, to: u32| bits >> from & ((1 << (to - from)) - 1);
        Self {
            state: match part(0, SLOT_AT) {
                0 => CellState::Empty,
                1 => CellState::Writing,
                2 => CellState::Ready,
                _ => CellState::Sending,
            },
            owner: Owner {
                slot: part(SLOT_AT, GENERATION_AT) as usize,
                generation: part(GENERATION_AT, SEQUENCE_AT) as u32,
            },
            sequence: (bits >> SEQUENCE_AT) as u32,
        }
    }

    /// The word after `owner` has reserved the cell for a new callback.
    #[must_use]
    pub fn reserved(self, owner: Owner) -> Self {
        Self { state: CellState::Writing, owner, sequence: self.sequence.wrapping_add(1) }
    }

    /// The same cell in another state.
    #[must_use]
    pub fn with(self, state: CellState) -> Self {
        Self { state, ..self }
    }

    /// The cell of a dead owner after `heir` has taken it over.
    #[must_use]
    pub fn inherited(self, heir: Owner) -> Self {
        match self.state {
            CellState::Empty | CellState::Writing => self.with(CellState::Empty),
            CellState::Ready | CellState::Sending => {
                Self { state: CellState::Ready, owner: heir, sequence: self.sequence }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Cell, CellState};
    use std::collections::HashSet;
    use verve_core::Owner;

    #[test]
    fn a_word_is_what_was_packed() {
        for state in [CellState::Empty, CellState::Writing, CellState::Ready, CellState::Sending] {
            for slot in [0, 1, 255] {
                for generation in [0, 1, (1 << 20) - 1] {
                    for sequence in [0, 1, u32::MAX] {
                        let word = Cell { state, owner: Owner { slot, generation }, sequence };
                        assert_eq!(Cell::unpack(word.pack()), word);
                    }
                }
            }
        }
        assert_eq!(Cell::unpack(0).state, CellState::Empty);
    }

    /// One process: what it last read of the word, and how far it is with its callback.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    struct Process {
        owner: Owner,
        alive: bool,
        seen: Option<Cell>,
        held: Option<Cell>,
    }

    /// A cell, its processes, and the callbacks by sequence: answered, attempted, ended.
    #[derive(Clone, PartialEq, Eq, Hash, Debug)]
    struct World {
        cell: Cell,
        processes: Vec<Process>,
        answered: Vec<u32>,
        attempted: Vec<u32>,
        deaths: u8,
    }

    impl World {
        /// A compare-and-swap by process `at`, from what it knows.
        fn swap(&mut self, at: usize, from: Cell, to: Cell) -> bool {
            let swapped = self.cell == from;
            if swapped {
                self.cell = to;
                self.processes[at].held = (to.state != CellState::Empty).then_some(to);
            }
            swapped
        }

        /// All that process `at` may do next.
        fn steps(&self, at: usize) -> Vec<Self> {
            let its = self.processes[at];
            let mut after = Vec::new();
            let mut step = |change: &dyn Fn(&mut Self)| {
                let mut world = self.clone();
                change(&mut world);
                after.push(world);
            };
            if !its.alive {
                return after;
            }
            step(&|world| world.processes[at].seen = Some(world.cell));
            if self.deaths > 0 {
                step(&|world| {
                    world.deaths -= 1;
                    world.processes[at].alive = false;
                });
            }
            if let Some(seen) = its.seen {
                let dead = self.processes.iter().any(|one| one.owner == seen.owner && !one.alive);
                if its.held.is_none() && seen.state == CellState::Empty && seen.sequence < 2 {
                    step(&|world| {
                        world.swap(at, seen, seen.reserved(its.owner));
                    });
                }
                if its.held.is_none() && seen.state != CellState::Empty && dead {
                    step(&|world| {
                        world.swap(at, seen, seen.inherited(its.owner));
                    });
                }
            }
            if let Some(held) = its.held {
                let go = |world: &mut Self, state| {
                    assert!(world.swap(at, held, held.with(state)), "lost while alive: {world:?}");
                };
                match held.state {
                    CellState::Writing => {
                        step(&|world| {
                            go(world, CellState::Ready);
                            world.answered.push(held.sequence);
                        });
                        step(&|world| go(world, CellState::Empty));
                    }
                    CellState::Ready => step(&|world| go(world, CellState::Sending)),
                    CellState::Sending => {
                        step(&|world| {
                            world.attempted.push(held.sequence);
                            world.attempted.sort_unstable();
                            world.attempted.dedup();
                            go(world, CellState::Empty);
                        });
                        step(&|world| go(world, CellState::Ready));
                    }
                    CellState::Empty => unreachable!(),
                }
            }
            after
        }
    }

    /// Every interleaving of three processes, of which up to two die at any step: no live process
    /// loses its cell, and an answered callback is in the cell until it was attempted.
    #[test]
    fn what_was_answered_stays_until_it_was_attempted() {
        let owner = |slot| Owner { slot, generation: 1 };
        let process = |slot| Process { owner: owner(slot), alive: true, seen: None, held: None };
        let first = World {
            cell: Cell::unpack(0),
            processes: vec![process(1), process(2), process(3)],
            answered: Vec::new(),
            attempted: Vec::new(),
            deaths: 2,
        };
        let mut known = HashSet::from([first.clone()]);
        let mut rest = vec![first];
        while let Some(world) = rest.pop() {
            for &sequence in &world.answered {
                let kept = world.cell.sequence == sequence
                    && matches!(world.cell.state, CellState::Ready | CellState::Sending);
                assert!(kept || world.attempted.contains(&sequence), "{world:?}");
            }
            for next in (0..3).flat_map(|at| world.steps(at)) {
                if known.insert(next.clone()) {
                    rest.push(next);
                }
            }
        }
        assert!(known.len() > 1_000, "{}", known.len());
    }
}
