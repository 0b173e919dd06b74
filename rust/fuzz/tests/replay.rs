//! The inputs of `corpus/` through their targets: what once failed, and what reaches much code.

use std::fs;
use std::path::Path;

use verve_fuzz::TARGETS;

#[test]
fn the_corpus_passes() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (name, target) in TARGETS {
        let mut inputs = 0;
        for entry in fs::read_dir(corpus.join(name)).expect("a folder per target") {
            let bytes = fs::read(entry.expect("an entry").path()).expect("an input");
            // And each input with one byte less, and with one byte changed.
            target(&bytes);
            target(&bytes[..bytes.len().saturating_sub(1)]);
            for place in 0..bytes.len().min(300) {
                let mut changed = bytes.clone();
                changed[place] ^= 1 << (place % 8);
                target(&changed);
            }
            inputs += 1;
        }
        assert!(inputs > 2, "{name}");
    }
}
