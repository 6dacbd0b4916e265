//! Heap trimming: glibc's allocator gives back to the kernel what a large tree of small blocks has left in the arena of its thread.
//!
//! By itself it keeps it, for two reasons. The thread cache holds seven blocks of each small size, and one such block at the end of an arena keeps
//! everything below it resident. And the free top of an arena is only given back above the trim threshold, which is twice the largest block that
//! was mapped and freed. There is no safe call that trims; what is left are the allocator's own rules. Elsewhere than on glibc nothing is done.
//! Must not know what was in the heap.

use std::hint::black_box;

/// The sizes of which a thread cache keeps blocks, and how many of each.
const CACHED_BYTES_MAX: usize = 1032;
const CACHED_OF_A_SIZE: usize = 7;
/// Blocks of less than 128 KiB are never mapped alone. So many together are nearly the largest heap of an arena, 64 MiB, and so above any threshold
/// that trees set.
const TOP_BLOCK_BYTES: usize = 120 * 1024;
const TOP_BLOCKS: usize = 512;

/// What the thread cache held before something large was made, or took from below it.
#[derive(Debug)]
pub(crate) struct HeapTrim {
    cached: Vec<Vec<u8>>,
}

impl HeapTrim {
    pub(crate) fn new() -> Self {
        HeapTrim {
            cached: cache_of_the_thread(),
        }
    }

    /// Trims, on the same thread, when what was large has been dropped. Takes a millisecond.
    pub(crate) fn trim(self) {
        self.trim_after(cache_of_the_thread());
    }

    /// The cache takes the old blocks again, so that those which are left of the large thing go to the arena and join what is free there.
    fn trim_after(self, left: Vec<Vec<u8>>) {
        drop(self.cached);
        drop(left);
        trim_top();
    }
}

/// The same without having prepared for it, so less is sure to go: the cache gets blocks that fit into gaps.
pub(crate) fn trim() {
    let cached = cache_of_the_thread();
    HeapTrim::new().trim_after(cached);
}

fn trim_top() {
    // It grows over the threshold, untouched; with the last of these blocks all of it is given back, what was resident before included.
    drop(blocks([TOP_BLOCK_BYTES; TOP_BLOCKS].into_iter()));
}

/// As many blocks as the cache of this thread can hold.
fn cache_of_the_thread() -> Vec<Vec<u8>> {
    let sizes = (24..=CACHED_BYTES_MAX).step_by(16);
    blocks(sizes.flat_map(|bytes| [bytes; CACHED_OF_A_SIZE]))
}

/// Blocks of these sizes, untouched, as far as there is memory. Nothing else is allocated meanwhile that the cache could hold.
fn blocks(sizes: impl Iterator<Item = usize>) -> Vec<Vec<u8>> {
    let mut blocks = Vec::new();
    if !cfg!(all(target_os = "linux", target_env = "gnu")) {
        return blocks;
    }
    blocks.reserve_exact(TOP_BLOCKS);
    for bytes in sizes {
        let mut block = Vec::new();
        if block.try_reserve_exact(bytes).is_err() {
            break;
        }
        blocks.push(black_box(block)); // not optimised away
    }
    blocks
}
