//! What all builds of one `FORMAT` share: the bytes that a fixed sequence of calls leaves in a segment.
//!
//! They depend on the layout, the mix, the positions and the length of the probe, how a table grows, how
//! words are packed, and the order of shared indexes. Two builds that differ in one of these would count
//! an id twice in one segment, or one's rejection as another.

mod support;

use std::fs::OpenOptions;
use std::mem::offset_of;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use support::{EPOCH, Path, SECOND};
use verve_core::segment::layout::{self, ARENAS_AT, FORMAT, FRONT, Front, Header, ParticipantSlot};
use verve_core::table::mix::Mix;
use verve_core::table::{EXTENTS, PROBE_LENGTH, SLOTS_PER_BUCKET};
use verve_core::window::word::ARENAS;
use verve_core::{ManualClock, Noted, Rejection, SHARDS, shard_of};

/// The digest of what builds of this format share. When it changes, raise `FORMAT`, so that no two builds
/// that disagree attach to one segment, and pin both here.
const PINNED: (u32, u64) = (4, 0x17ff_56de_ea7e_530a);
/// Kinds of rejections that are pinned. One that is added at the end disagrees with no other build.
const REJECTIONS: usize = 27;
/// The key of the mix.
const KEY: [u64; 3] = [0x1234_5678_9abc_def1, 0xfedc_ba98_7654_3211, 0x0f1e_2d3c_4b5a];

/// FNV-1a over words.
fn digest(words: impl IntoIterator<Item = u64>) -> u64 {
    words.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, word| {
        (hash ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(29)
    })
}

/// Everything that a segment holds, but for what differs from run to run.
fn count_and_leave(path: &Path) -> (u64, Vec<(usize, u64)>) {
    let clock = Arc::new(ManualClock::new(EPOCH * SECOND));
    drop(path.open(60, &clock));
    let file = OpenOptions::new().read(true).write(true).open(&path.0).expect("a segment");
    let write = |at: usize, words: &[u64]| {
        for (index, word) in words.iter().enumerate() {
            file.write_all_at(&word.to_le_bytes(), (at + 8 * index) as u64).expect("a file");
        }
    };
    write(offset_of!(Header, identity), &[7]);
    write(offset_of!(Header, key), &KEY);

    let counter = path.open(60, &clock);
    let term = counter.lease().acquire().expect("a participant").expect("nobody leads");
    // Beyond the first extent, through one that takes over from it, into one that is cut off.
    let spread = |first: i64, count: i64| -> Vec<i64> {
        (first..first + count).map(|id| id.wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as i64)).collect()
    };
    counter.add_many(&spread(1, 120_000)).expect("a participant");
    // Those that cannot stand in a slot.
    let mix = Mix::new(KEY);
    for word in [0, u64::MAX] {
        assert!(counter.add(mix.backward(word)).expect("room").new);
    }
    for (times, rejection) in Rejection::ALL.into_iter().take(REJECTIONS).enumerate() {
        (0..=times).for_each(|_| counter.http().reject(rejection));
    }
    counter.retention().enable();
    clock.advance(60 * SECOND);
    counter.add_many(&spread(60_000, 1_000)).expect("a participant");
    counter.add(7).expect("room");
    assert_eq!(counter.closed(9).expect("records")[0].unique, 120_002);
    counter.retention().settle(EPOCH);
    counter.replication().note_cluster_count(EPOCH, 130_000, Noted::Final);
    counter.replication().note_cluster_count(EPOCH + 60, 5, Noted::SoFar);
    assert!(counter.replication().acknowledge(EPOCH + 60, 3).expect("a participant"));
    assert!(counter.ring().advance_cursor(2, EPOCH, term));
    counter.reference_clock().steer(-5);
    // Windows that were skipped, and a claim of an arena.
    clock.advance(200 * SECOND);
    counter.add(8).expect("room");
    counter.closed(9).expect("records");
    drop(counter);

    write(offset_of!(Header, boot), &[0]);
    let end = ARENAS_AT + 3 * header_word(&file, offset_of!(Header, arena_bytes));
    let parts = [(0, FRONT), (FRONT, ARENAS_AT), (ARENAS_AT, end)];
    let parts = parts.map(|(from, to)| (from as usize, part(&file, from, to)));
    (header_word(&file, offset_of!(Header, current)), parts.to_vec())
}

fn header_word(file: &std::fs::File, at: usize) -> u64 {
    let mut word = [0; 8];
    file.read_exact_at(&mut word, at as u64).expect("a word");
    u64::from_le_bytes(word)
}

fn part(file: &std::fs::File, from: u64, to: u64) -> u64 {
    let mut bytes = vec![0; (to - from) as usize];
    file.read_exact_at(&mut bytes, from).expect("a segment");
    digest(bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().expect("eight"))))
}

#[test]
fn what_builds_of_one_format_share_does_not_change() {
    let (current, parts) = count_and_leave(&Path::new());
    let sizes = [
        ARENAS,
        EXTENTS,
        PROBE_LENGTH,
        SLOTS_PER_BUCKET,
        SHARDS,
        layout::PARTICIPANTS,
        layout::REJECTIONS,
        layout::SINKS,
        layout::CLUSTER_COUNTS,
        layout::NAME,
        layout::CALLBACK_CELLS,
        layout::CALLBACK_CELL,
        layout::CALLBACK_RATES,
        layout::CALLBACK_FIGURES,
        size_of::<Front>(),
        size_of::<ParticipantSlot>(),
        layout::ARENAS_AT as usize,
        layout::LOCKS_AT as usize,
        offset_of!(layout::CallbackFront, figures),
        offset_of!(layout::CallbackFront, words),
        offset_of!(layout::CallbackFront, rates),
        offset_of!(layout::CallbackCell, url),
    ];
    let steps = (0..180).map(verve_core::window::word::buckets_of_step);
    let rejections =
        Rejection::ALL.iter().take(REJECTIONS).flat_map(|rejection| rejection.name().bytes());
    let shards = [0, 1, -1, i64::MIN, i64::MAX].map(shard_of);
    let found = [
        ("the current word", current),
        ("the front", parts[0].1),
        ("the callback cells", parts[1].1),
        ("the arenas", parts[2].1),
        ("sizes and offsets", digest(sizes.into_iter().chain(shards).map(|size| size as u64))),
        ("the order of rejections", digest(rejections.map(u64::from))),
        ("sizes of extents", digest(steps.map(|buckets| buckets as u64))),
    ];
    let whole = digest(found.map(|(_, digest)| digest));
    assert_eq!(
        (FORMAT, format!("{whole:#x}")),
        (PINNED.0, format!("{:#x}", PINNED.1)),
        "what builds share has changed; hint: raise `FORMAT` in layout.rs, then pin it here with the new \
         digest: {found:#x?}"
    );
}

#[test]
fn the_same_calls_leave_the_same_bytes() {
    assert_eq!(count_and_leave(&Path::new()), count_and_leave(&Path::new()));
}
